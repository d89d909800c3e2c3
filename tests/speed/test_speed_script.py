"""benchmarks/speed.py: arguments, tables, JSON, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sar_cls import exit_codes
from sar_cls.cli import ROOT
from sar_cls.commands import speed
from sar_cls.errors import InputError, RunFailed
from sar_cls.mm.loaders import DataSplits
from sar_cls.speed import contenders, cost, evaluation, report, setting

SCRIPT = ROOT / "benchmarks" / "speed.py"


def parsed(monkeypatch: pytest.MonkeyPatch, *arguments: str):
    monkeypatch.setattr(sys, "argv", ["speed.py", *arguments])
    return speed.parse()


def test_names_in_the_script_are_those_of_the_package() -> None:
    """They are repeated there so that a wrong argument is refused before torch is imported."""
    assert speed.CONTENDERS == contenders.NAMES
    assert tuple(setting.NETS) == speed.NETS


def test_a_list_that_is_given_in_parts_is_one_list(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parsed(monkeypatch).net == ["resnet32"]
    assert parsed(monkeypatch).wait == ["sleep"]
    parts = parsed(
        monkeypatch, "--precision", "fp32", "--precision", "bf16", "--wait", "spin", "--jobs", "1", "--jobs", "2", "4"
    )
    assert (parts.precision, parts.wait, parts.jobs) == (["fp32", "bf16"], ["spin"], [1, 2, 4])


@pytest.mark.slow
def test_tables_and_json(
    splits: DataSplits, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(evaluation, "BATCH_SIZES", (20,))
    file = tmp_path / "results" / "speed.json"
    arguments = parsed(
        monkeypatch, "--rounds", "2", "--steps", "2", "--batch-size", "8", "--workers", "1", "--threads", "1", "--all",
        "--only", "bare", "loop", "--json", str(file), "--precision", "fp32", "bf16", "--profile", str(tmp_path / "p"),
    )  # fmt: skip
    assert report.run(arguments, "cpu", splits) == 0
    output = capsys.readouterr().out
    for kind in ("training step", "data path", "evaluation", "cost", "profile"):
        assert output.count(f"### {kind}: resnet32, batch 8, ") == 2
    assert "ratio to (a)" in output
    data = json.loads(file.read_text())
    assert data["device"] == "cpu"
    assert data["versions"]["torch"] == torch.__version__
    assert [(result["kind"], result["setting"]["precision"]) for result in data["results"]] == [
        (kind, precision)
        for precision in ("fp32", "bf16")
        for kind in ("training step", "data path", "evaluation", "cost", "profile")
    ]
    bare, loop = data["results"][0]["figures"]
    assert len(bare["seconds"]) == 2
    rates = [first / second for first, second in zip(bare["seconds"], loop["seconds"], strict=True)]
    assert loop["ratio_to"]["bare"]["median"] == pytest.approx(sum(rates) / 2)
    assert str(tmp_path) not in json.dumps(data)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--net", "resnet33"], "invalid choice: 'resnet33'"),
        (["--only", "protoseg"], "--only protoseg is of segmentation nets: add --dense segformer"),
        (["--workers", "-1"], "--workers must be 0 or more"),
        (["--rounds", "0"], "must be a whole number of at least 1"),
        (["--json", f"{SCRIPT}/speed.json"], "is a file"),
        (["--json", f"{SCRIPT.parent}"], "is a folder, and a file is to be written there: give another --json"),
        (["--profile", f"{SCRIPT}"], "is a file: give another --profile"),
        (["--profile", "x" * 300], "too long for the file system"),
        (["--data-root", "/nowhere"], "/nowhere"),
    ],
)
def test_bad_arguments_end_with_one_line_and_code_2(arguments: list[str], message: str) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, *arguments], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_nothing_to_time_and_batches_larger_than_the_set_are_refused(
    splits: DataSplits, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    arguments = parsed(monkeypatch, "--batch-size", "8", "--only", "stock_fp32")
    with pytest.raises(InputError, match=r"--only stock_fp32 leaves nothing to time in fp32: .* --precision bf16"):
        report.run(arguments, "cpu", splits)
    arguments = parsed(monkeypatch, "--batch-size", "61", "--only", "bare")
    with pytest.raises(InputError, match="--batch-size 61 is more than the 60 training images: choose a smaller one"):
        report.run(arguments, "cpu", splits)
    monkeypatch.setattr(report.dense, "load_masked_images", lambda _: (splits, "images: given"))
    arguments = parsed(monkeypatch, "--batch-size", "61", "--dense", "segformer")
    with pytest.raises(InputError, match="--batch-size 61 is more than the 60"):
        report.run(arguments, "cpu")
    assert "###" not in capsys.readouterr().out


def test_too_little_memory_is_one_sentence(splits: DataSplits, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*_: object) -> None:
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 1 GiB"
        )

    monkeypatch.setattr(contenders, "build", build)
    arguments = parsed(monkeypatch, "--batch-size", "8", "--only", "bare")
    with pytest.raises(
        RunFailed, match=r"out of .* while measuring resnet32, batch 8, .*: choose a smaller --batch-size"
    ):
        report.run(arguments, "cpu", splits)


def test_an_interrupted_measurement_does_not_promise_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def run(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "run", run)
    monkeypatch.setattr(sys, "argv", ["speed.py"])
    assert exit_codes.code_of(speed.main) == 130
    assert capsys.readouterr().err.strip() == (
        "interrupted; of a measurement nothing is kept: the same command begins anew"
    )


def test_headings_name_what_was_timed(
    splits: DataSplits, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Start-up and runs at a time are of a row as it is; the cost is counted in eager steps."""
    monkeypatch.setattr(report, "measure_start_up", lambda *_: {})
    monkeypatch.setattr(report, "measure_jobs", lambda *_, **__: [])
    monkeypatch.setattr(cost, "measure_costs", lambda *_: [])
    for of_tables in ("start_up_table", "jobs_table", "cost_table"):
        monkeypatch.setattr(report.table, of_tables, lambda *_: "")
    file = tmp_path / "speed.json"
    arguments = parsed(
        monkeypatch, "--start-up", "--jobs", "1", "--cost", "--batch-size", "16", "--memory-format", "contiguous",
        "--mode", "compile", "--optimizer", "fused", "--json", str(file),
    )  # fmt: skip
    assert report.run(arguments, "cpu", splits) == 0
    output = capsys.readouterr().out
    assert "### start-up: resnet32, batch 128, fp32, channels_last, eager on cpu\n" in output
    assert "### runs at a time: resnet32, batch 128, fp32, contiguous, compile on cpu\n" in output
    assert "### cost: resnet32, batch 16, fp32, contiguous, eager on cpu\n" in output
    found = {result["kind"]: result["setting"] for result in json.loads(file.read_text())["results"]}
    assert (found["start-up"]["mode"], found["start-up"]["batch_size"]) == ("eager", 128)


def test_figures_that_cannot_be_written_are_said_and_were_printed(
    splits: DataSplits, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = parsed(
        monkeypatch, "--rounds", "2", "--steps", "2", "--batch-size", "8", "--threads", "1", "--only", "bare",
        "--json", str(tmp_path / "speed.json"),
    )  # fmt: skip
    (tmp_path / "speed.json").mkdir()  # since the arguments were checked
    with pytest.raises(RunFailed, match=r"the figures above are not written, .*speed\.json: a folder is where a file"):
        report.run(arguments, "cpu", splits)
    assert "### training step: resnet32" in capsys.readouterr().out


def test_images_are_random_where_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    splits, note = setting.load_images(None)
    assert note.startswith("images: random")
    assert splits.train.images.shape == (50_000, 32, 32, 3)
    assert (len(splits.test), len(splits.test.classes)) == (10_000, 100)
