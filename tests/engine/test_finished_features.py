"""``sar-cls features``: what a run would have written itself, or a sentence and nothing written."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import TINY, TINY_SAR, files_of

from sar_cls import cli
from sar_cls.commands import features as command
from sar_cls.engine import run as engine
from sar_cls.engine.options import Options
from sar_cls.runs import folder
from sar_cls.runs.features import Features, read_features
from sar_cls.runs.outputs import read_outputs
from sar_cls.runs.record import read_record

SECOND = f"""
_base_ = "{cli.CONFIGS}/digits_lt/mislas.py"
train_cfg = dict(max_epochs=1)
"""


CLOSED_FORM = f"""
_base_ = "{cli.CONFIGS}/digits_lt/mixup.py"
posthoc = dict(type="tau_norm", tau=0.7)
train_cfg = dict(max_epochs=0)
"""


@pytest.fixture
def run(make_job: Callable[..., Any], cache: engine.DataCache) -> Callable[..., Path]:
    """Runs a config without features and returns the folder."""

    def make(text: str = TINY_SAR, row: str = "row", options: Any = None, **arguments: Any) -> Path:
        job = make_job(text, row=row, **arguments)
        engine.run(job, options or Options(features=False), cache)
        return Path(job.run_dir)

    return make


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[..., tuple[int, str, str]]:
    """``sar-cls features ARGUMENTS``: exit code, output, errors."""

    def main(*arguments: Any) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sar-cls features", *map(str, arguments), "--device", "cpu"])
        capsys.readouterr()
        code = command.main()
        return code, *capsys.readouterr()

    return main


def assert_same(found: Features, expected: Features) -> None:
    for field in fields(Features):
        if field.name != "run_id":
            ours, theirs = getattr(found, field.name), getattr(expected, field.name)
            if isinstance(theirs, np.ndarray) and theirs.dtype.kind == "f":
                np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=1e-4, err_msg=field.name)
            else:
                np.testing.assert_array_equal(ours, theirs, err_msg=field.name)


def test_what_the_run_would_have_written(
    run: Callable[..., Path], call: Callable[..., tuple[int, str, str]], make_job: Callable[..., Any], cache: Any
) -> None:
    first = run()
    second = run(SECOND, row="second", stage1_dir=first)
    expected = make_job(TINY_SAR, row="with", seed=1)
    engine.run(expected, Options(), cache)
    before, records = {**files_of(first)}, [read_record(folder) for folder in (first, second)]
    code, out, err = call(first, second)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == f"{first}: 445 x 64 test features, 10 classes"
    assert_same(read_features(first, records[0]), read_features(expected.run_dir))
    assert read_features(second, records[1]).semantic_anchors is None
    record, theirs = read_record(first), read_record(expected.run_dir)
    assert record["extra"].pop("geometry")["test"]["all"] == pytest.approx(
        theirs["extra"]["geometry"]["test"]["all"], rel=2e-3
    )
    assert record == records[0]
    after = files_of(first)
    assert {name for name in after if after[name] != before.get(name)} == {"features.npz", "record.json"}
    # A finished run stays finished, and what is there is not made again.
    written = files_of(first)
    assert call(first) == (0, f"{first}: has features\n", "")
    assert files_of(first) == written
    assert call(first, "--again")[0] == 0


def refused(call: Callable[..., tuple[int, str, str]], run_dir: Path, message: str, *arguments: str) -> None:
    before = files_of(run_dir)
    code, out, err = call(run_dir, *arguments)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("sar-cls features: ")
    assert message in err
    assert files_of(run_dir) == before


class TestRefused:
    def test_a_folder_without_a_run(self, call: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
        refused(call, tmp_path, "the run is not finished")

    def test_what_is_damaged_or_mixed(self, run: Callable[..., Path], call: Any, tmp_path: Path) -> None:
        first = run()
        whole = tmp_path / "whole"
        shutil.copytree(first, whole)

        (first / "last.pth").unlink()
        refused(call, first, "has no last.pth")

        state = torch.load(whole / "last.pth", weights_only=True)
        for name, value in state["state_dict"].items():
            if name == "head.fc.weight":
                value.copy_(value.flip(0))
        torch.save(state, first / "last.pth")
        refused(call, first, "decides otherwise than the saved test outputs on")

        shutil.copy(whole / "last.pth", first / "last.pth")
        (first / "test_outputs.npz").unlink()
        refused(call, first, "test_outputs.npz is missing")

        outputs = read_outputs(whole)
        np.savez(first / "test_outputs.npz", logits=outputs.logits[:, :9], labels=np.minimum(outputs.labels, 8))
        refused(call, first, "")  # 9 names or logits for a net of 10

    def test_other_images(self, run: Callable[..., Path], call: Any) -> None:
        first = run()
        text = (first / "record.json").read_text()
        fingerprint = read_record(first)["data_fingerprint"]["train"]
        (first / "record.json").write_text(text.replace(fingerprint, "0" * 64))
        refused(call, first, "had other training images than those that are there now")

    def test_a_closed_form_stage(self, run: Callable[..., Path], call: Any) -> None:
        first = run(TINY)
        closed = run(CLOSED_FORM, row="tau", stage1_dir=first)
        refused(call, closed, "has no net of its own")

    def test_a_run_that_another_process_is_at(self, run: Callable[..., Path], call: Any) -> None:
        first = run()
        with folder.lock(first):
            code, _, err = call(first)
        assert code == 3
        assert "another process is at this run" in err
        assert not (first / "features.npz").exists()

    def test_the_others_are_still_made(self, run: Callable[..., Path], call: Any, tmp_path: Path) -> None:
        first = run()
        code, out, err = call(tmp_path / "nowhere", first)
        assert code == 2
        assert len(err.splitlines()) == 1
        assert out.startswith(f"{first}: 445 x 64")


def test_a_validation_split_and_bfloat16(run: Callable[..., Path], call: Any, make_job: Callable[..., Any]) -> None:
    job = make_job(TINY_SAR, row="val")
    options = Options(features=False, val_fraction=0.2, precision="bf16")
    engine.run(job, options, engine.DataCache())
    assert call(job.run_dir)[::2] == (0, "")
    assert read_features(job.run_dir).train_class_counts.tolist() == read_record(job.run_dir)["train_counts"]


def test_logits_that_are_equal_but_for_rounding_may_go_either_way(run: Callable[..., Path], call: Any) -> None:
    first = run()
    outputs = read_outputs(first)
    logits = outputs.logits.copy()
    best, second = np.argsort(-logits[0])[:2]
    logits[0, second] = logits[0, best] * (1 + 1e-6)  # now the first, by less than another thread number moves it
    arrays = {"logits": logits, "labels": outputs.labels}
    np.savez(first / "test_outputs.npz", **arrays)
    assert call(first)[0] == 0
    assert read_features(first).test_predictions[0] == logits[0].argmax()


def test_a_folder_that_is_not_there(call: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, _, errors = call(tmp_path / "nope")
    assert code == 2
    assert errors.endswith(f": no run at {tmp_path / 'nope'}: give the folder of a finished run\n")
