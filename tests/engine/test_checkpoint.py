"""Checkpoints under every accident: killed at any moment, half written, foreign."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import TINY, TINY_SAR, files_of

from sar_cls.cli import ROOT
from sar_cls.engine import run as engine
from sar_cls.engine.options import Options
from sar_cls.engine.run import DataCache, Job
from sar_cls.errors import InputError
from sar_cls.files import why
from sar_cls.mm import checkpoint
from sar_cls.runs.checkpoint import FORMAT, read_checkpoint, write_atomically
from sar_cls.runs.folder import BEST, LAST
from sar_cls.runs.record import RECORD_FILE, is_finished, read_record
from sar_cls.suites.rows import Source

MakeJob = Callable[..., Job]


def outputs(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "test_outputs.npz") as file:
        return {name: file[name] for name in file.files}


def history(folder: Path) -> list[dict[str, str]]:
    """The rows of history.csv without times."""
    with (folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{key: value for key, value in row.items() if not key.startswith("seconds")} for row in rows]


def assert_same(first: Any, second: Any, where: str = "state") -> None:
    """Bitwise the same nest of containers and tensors."""
    assert type(first) is type(second), where
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), where
    elif isinstance(first, dict):
        assert list(first) == list(second), where
        for key in first:
            if not str(key).startswith("seconds") and key != "run_id":
                assert_same(first[key], second[key], f"{where}.{key}")
    elif isinstance(first, list):
        assert len(first) == len(second), where
        for index, pair in enumerate(zip(first, second, strict=True)):
            assert_same(*pair, f"{where}[{index}]")
    else:
        assert first == second or (first != first and second != second), where


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory, cache: DataCache) -> Path:
    """A run folder that lacks only its record."""
    folder = tmp_path_factory.mktemp("unfinished")
    (folder / "row.py").write_text(TINY)
    engine.run(Job("tiny", "row", Source(folder / "row.py"), 1, folder / "run"), Options(), cache)
    (folder / "run" / RECORD_FILE).unlink()
    return folder / "run"


class TestKilled:
    @pytest.mark.slow
    @pytest.mark.timeout(600)
    def test_a_killed_run_ends_like_an_uninterrupted_one(self, tmp_path: Path) -> None:
        seed = random.SystemRandom().randrange(10**6)
        print(f"to see this again: python tests/engine/killed_runs.py FOLDER {seed}")
        script = Path(__file__).with_name("killed_runs.py")
        environment = dict(os.environ, PYTHONPATH=str(ROOT))
        done = subprocess.run(
            [sys.executable, str(script), str(tmp_path), str(seed)], capture_output=True, text=True, env=environment
        )
        print(done.stdout, done.stderr)
        assert done.returncode == 0
        whole, *starts = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
        assert whole["code"] == 0
        # Sure to be hit are the first ones; the timed one may come late on a busy machine.
        assert [start["code"] for start in starts[:6]] == [-9] * 6, starts
        assert {start["code"] for start in starts[6:-1]} <= {0, -9}
        assert starts[-1]["code"] == 0
        one, other = tmp_path / "whole", tmp_path / "killed"
        expected, got = outputs(one), outputs(other)
        assert sorted(expected) == ["classes", "labels", "logits", "logits_best"]
        for name in expected:
            assert np.array_equal(expected[name], got[name]), name
        assert (one / "per_class.csv").read_bytes() == (other / "per_class.csv").read_bytes()
        assert history(one) == history(other)
        assert [row["epoch"] for row in history(one)] == ["1", "2", "3", "4", "5"]
        for name in (LAST, BEST):
            first, second = read_checkpoint(one / name), read_checkpoint(other / name)
            assert_same(first, second)
        metrics = [read_record(folder)["metrics"] for folder in (one, other)]
        assert metrics[0] == metrics[1]
        assert [path.name for path in other.glob(".*.tmp")] == []

    @pytest.mark.parametrize("text", [TINY, TINY_SAR], ids=["plain", "SAR"])
    def test_only_the_record_was_missing(self, text: str, make_job: MakeJob, cache: DataCache) -> None:
        job = make_job(text)
        first = engine.run(job, Options(), cache)
        before, weights = outputs(job.run_dir), (job.run_dir / LAST).read_bytes()
        (job.run_dir / RECORD_FILE).unlink()
        (job.run_dir / "test_outputs.npz").unlink()
        again = engine.run(job, Options(), cache)
        after = outputs(job.run_dir)
        assert all(np.array_equal(before[name], after[name]) for name in before)
        assert (job.run_dir / LAST).read_bytes() == weights  # nothing was trained again
        assert again["metrics"] == first["metrics"]

    def test_leftovers_of_a_killed_writer_go(self, make_job: MakeJob, cache: DataCache) -> None:
        job = make_job()
        job.run_dir.mkdir(parents=True)
        for name in (f".{LAST}.123.tmp", ".history.csv.tmp", ".record.json.abc.tmp"):
            (job.run_dir / name).write_bytes(b"half")
        engine.run(job, Options(), cache)
        assert [path.name for path in job.run_dir.glob(".*.tmp")] == []

    def test_a_shortened_run_resumes_in_the_middle_of_its_schedule(
        self, make_job: MakeJob, cache: DataCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        text = TINY.replace("max_epochs=2", "max_epochs=8").replace("T_max=2", "T_max=8")
        text += "param_scheduler = [dict(type='LinearLR', start_factor=0.1, begin=0, end=2), "
        text += "dict(type='MultiStepLR', milestones=[4, 6], gamma=0.1)]\n"
        whole, broken = make_job(text, row="whole"), make_job(text, row="broken")
        engine.run(whole, Options(epochs=4), cache)

        def stop(self: object, runner: Any, row: dict) -> None:
            after_epoch(self, runner, row)
            if row["epoch"] == 2:
                raise KeyboardInterrupt

        after_epoch = checkpoint.AtomicCheckpointHook.after_epoch
        monkeypatch.setattr(checkpoint.AtomicCheckpointHook, "after_epoch", stop)
        with pytest.raises(KeyboardInterrupt):
            engine.run(broken, Options(epochs=4), cache)
        monkeypatch.undo()
        assert not is_finished(broken.run_dir)
        engine.run(broken, Options(epochs=4), cache)
        rates = [float(row["lr"]) for row in history(whole.run_dir)]
        assert rates[2] < rates[1]
        assert history(whole.run_dir) == history(broken.run_dir)
        for name in (LAST, BEST):
            pair = [read_checkpoint(job.run_dir / name) for job in (whole, broken)]
            for state in pair:
                state["meta"].pop("recipe", None)
            assert_same(*pair)


class TestWriting:
    STATE = {"format": FORMAT, "meta": {"epoch": 1, "iter": 3}, "state_dict": {"w": torch.arange(3.0)}}

    def test_round_trip(self, tmp_path: Path) -> None:
        write_atomically(self.STATE, tmp_path / LAST)
        assert_same(read_checkpoint(tmp_path / LAST), self.STATE)
        assert [path.name for path in tmp_path.iterdir()] == [LAST]

    @pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
    def test_a_failing_write_leaves_the_old_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
    ) -> None:
        write_atomically(self.STATE, tmp_path / LAST)
        before = (tmp_path / LAST).read_bytes()

        def half(state: object, file: Any) -> None:
            file.write(before[: len(before) // 2])
            raise error

        monkeypatch.setattr(torch, "save", half)
        with pytest.raises(type(error)):
            write_atomically({"format": FORMAT}, tmp_path / LAST)
        assert files_of(tmp_path) == {LAST: before}

    def test_a_full_disk_fails_the_run_and_keeps_the_checkpoint(
        self, make_job: MakeJob, cache: DataCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job, save, calls = make_job(), torch.save, []

        def full(state: object, file: Any) -> None:
            calls.append(1)
            if len(calls) > 2:
                file.write(b"half")
                raise OSError(28, "No space left on device")
            save(state, file)

        monkeypatch.setattr(torch, "save", full)
        with pytest.raises(OSError, match="No space left"):
            engine.run(job, Options(), cache)
        monkeypatch.undo()
        assert read_checkpoint(job.run_dir / LAST)["meta"]["epoch"] == 1
        assert [path.name for path in job.run_dir.glob(".*.tmp")] == []
        assert not is_finished(job.run_dir)
        engine.run(job, Options(), cache)
        assert is_finished(job.run_dir)


class TestReading:
    def test_damage_at_any_place_is_one_sentence(self, tmp_path: Path) -> None:
        path = tmp_path / LAST
        write_atomically(TestWriting.STATE, path)
        good, draw = path.read_bytes(), random.Random(0)
        damaged = [b"", b"\0", b"PK\3\4", b"not a checkpoint\n", good[:-1], good[: len(good) // 2], good[:10], good[7:]]
        damaged += [bytes([byte]) * 5 for byte in range(256)]  # as old pickles: every opcode
        for _ in range(100):
            copy = bytearray(good)
            for position in draw.sample(range(len(copy)), 20):
                copy[position] ^= draw.randrange(1, 256)
            damaged.append(bytes(copy))
        messages: list[str] = []
        for content in damaged:
            path.write_bytes(content)
            try:
                read_checkpoint(path)
            except InputError as error:
                messages.append(str(error))
            assert path.read_bytes() == content
        assert len(messages) > len(damaged) * 0.9  # a flipped bit may hit padding
        for message in messages:
            assert str(path) in message
            assert f"move the folder {tmp_path} away to start this run over" in message
            assert len(message.splitlines()) == 1

    @pytest.mark.parametrize(
        "state",
        [
            {"w": torch.zeros(2)},
            torch.zeros(2),
            [1, 2],
            {"format": "sar_cls checkpoint 0", "meta": {}, "state_dict": {}},
            {"format": FORMAT},
            {"format": FORMAT, "meta": {}},
        ],
    )
    def test_foreign_files(self, tmp_path: Path, state: object) -> None:
        torch.save(state, tmp_path / LAST)
        with pytest.raises(InputError, match="not written by this project"):
            read_checkpoint(tmp_path / LAST)

    def test_no_code_is_run(self, tmp_path: Path) -> None:
        class Bomb:
            def __reduce__(self) -> tuple:
                return os.system, (f"touch {tmp_path / 'boom'}",)

        torch.save({"format": FORMAT, "meta": {}, "state_dict": {}, "bomb": Bomb()}, tmp_path / LAST)
        with pytest.raises(InputError, match="damaged or no checkpoint"):
            read_checkpoint(tmp_path / LAST)
        assert not (tmp_path / "boom").exists()

    def test_missing(self, tmp_path: Path) -> None:
        for path in (tmp_path / LAST, tmp_path):
            with pytest.raises(InputError, match="no checkpoint at"):
                read_checkpoint(path)


class TestResuming:
    """What is not this run's own checkpoint is refused before anything is touched."""

    @pytest.fixture
    def job(self, unfinished: Path, make_job: MakeJob, tmp_path: Path) -> Job:
        folder = tmp_path / "run"
        shutil.copytree(unfinished, folder)
        return make_job(run_dir=folder)

    def refused(self, job: Job, cache: DataCache, match: str, options: Options | None = None) -> None:
        before = files_of(job.run_dir)
        with pytest.raises(InputError, match=match) as error:
            engine.run(job, options or Options(), cache)
        assert len(str(error.value).splitlines()) == 1
        assert files_of(job.run_dir) == before

    def test_its_own_is_taken(self, job: Job, cache: DataCache) -> None:
        engine.run(job, Options(), cache)
        assert is_finished(job.run_dir)

    def test_another_recipe(self, job: Job, cache: DataCache) -> None:
        job.source.config.write_text(TINY + "optim_wrapper = dict(optimizer=dict(lr=0.06))\n")
        self.refused(job, cache, "another recipe")

    def test_another_seed(self, job: Job, cache: DataCache) -> None:
        self.refused(replace(job, seed=2), cache, r"another seed \(1\) than this run \(2\)")

    def test_another_number_of_epochs(self, job: Job, cache: DataCache) -> None:
        self.refused(job, cache, "another epochs", Options(epochs=3))

    def test_another_precision(self, job: Job, cache: DataCache) -> None:
        self.refused(job, cache, "another precision", Options(precision="bf16"))

    @pytest.mark.parametrize("options", [Options(imbalance=5), Options(val_fraction=0.2)])
    def test_other_data(self, job: Job, cache: DataCache, options: Options) -> None:
        self.refused(job, cache, "another training images", options)

    @pytest.mark.parametrize("content", [b"", b"PK\3\4 half", b"text"])
    def test_a_damaged_one(self, job: Job, cache: DataCache, content: bytes) -> None:
        (job.run_dir / LAST).write_bytes(content)
        self.refused(job, cache, "damaged or no checkpoint")

    def test_a_half_written_one(self, job: Job, cache: DataCache) -> None:
        good = (job.run_dir / LAST).read_bytes()
        (job.run_dir / LAST).write_bytes(good[: len(good) * 2 // 3])
        self.refused(job, cache, "damaged or no checkpoint")

    def test_a_foreign_one(self, job: Job, cache: DataCache) -> None:
        torch.save({"state_dict": {}}, job.run_dir / LAST)
        self.refused(job, cache, "not written by this project")

    def test_the_best_weights_in_place_of_the_last_state(self, job: Job, cache: DataCache) -> None:
        shutil.copy(job.run_dir / BEST, job.run_dir / LAST)
        self.refused(job, cache, "weights alone")


class TestContent:
    def test_best_and_last(self, make_job: MakeJob, cache: DataCache) -> None:
        job = make_job(TINY_SAR)
        record = engine.run(job, Options(epochs=3), cache)
        last, best = read_checkpoint(job.run_dir / LAST), read_checkpoint(job.run_dir / BEST)
        rows = last["history"]
        assert [row["epoch"] for row in rows] == [1, 2, 3]
        accuracies = [row["test_top1"] for row in rows]
        assert best["meta"]["epoch"] == record["best_epoch"] == accuracies.index(max(accuracies)) + 1
        assert last["meta"]["epoch"] == 3
        assert last["meta"]["iter"] == 3 * len(range(0, sum(record["train_counts"]), 64))
        assert list(last["state_dict"]) == list(best["state_dict"])
        assert "head.regularizer.semantic_anchors" in last["state_dict"]
        assert "optimizer" not in best
        stored = outputs(job.run_dir)
        top1 = {
            name: 100 * (stored[key].argmax(axis=1) == stored["labels"]).mean()
            for name, key in (("last", "logits"), ("best", "logits_best"))
        }
        assert top1["last"] == pytest.approx(record["metrics"]["last"]["top1"])
        assert top1["best"] == pytest.approx(record["metrics"]["best"]["top1"])
        assert top1["best"] == pytest.approx(max(accuracies), abs=1e-4)


def test_a_full_disk_while_a_checkpoint_is_written(tmp_path: Path) -> None:
    """torch's writer turns what the file says into a RuntimeError of its own."""

    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / LAST
    write_atomically({"old": torch.zeros(3)}, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", lambda self, mode: Full(self, mode))
        with pytest.raises(OSError, match="No space left") as caught:
            write_atomically({"new": torch.zeros(30_000)}, path)
    assert why(caught.value) == f"{path}: the disk is full: free some space, then give the same command again"
    assert list(torch.load(path, weights_only=True)) == ["old"]
    assert [file.name for file in tmp_path.iterdir()] == [LAST]
