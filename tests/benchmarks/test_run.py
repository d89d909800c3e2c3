"""``python benchmarks/run.py`` as its user meets it: lists, and a run from end to end."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import filelock
import pytest
from synthetic_runs import second_stage, write_run

from sar_cls import cli
from sar_cls.suites.rows import list_suites

from .run_calls import SCRIPT, Run, refused, with_own_sar


class TestList:
    def test_all_suites(self, run: Run, tmp_path: Path) -> None:
        result = run("--list")
        assert (result.code, result.err) == (0, "")
        heads = re.findall(r"^(\w+): ", result.out, flags=re.M)
        assert heads == list_suites(cli.CONFIGS)
        assert "mixup_sar_mislas" in result.out
        assert list(tmp_path.iterdir()) == []

    def test_one_suite(self, run: Run) -> None:
        result = run("--suite", "cifar100", "--list")
        assert result.code == 0
        assert result.out.startswith("cifar100: CIFAR-100 (paper Tab. 8)")
        assert "resnet50_sar" in result.out
        assert "digits" not in result.out

    def test_it_is_fast_because_it_leaves_torch_alone(self) -> None:
        code = f"""
import runpy, sys
sys.argv = ["run.py", "--list"]
try:
    runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
except SystemExit as end:
    code = end.code
heavy = ("torch", "mmengine", "mmpretrain", "numpy", "pandas", "sklearn")
print("HEAVY", code, [name for name in heavy if name in sys.modules])
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cli.ROOT, check=True)
        assert done.stdout.splitlines()[-1] == "HEAVY 0 []"

    def test_unknown_suite(self, run: Run) -> None:
        refused(run("--list", "--suite", "digitz"), "unknown suite 'digitz'", "did you mean digits")


class TestEndToEnd:
    ARGUMENTS = ("--suite", "digits", "--only", "baseline", "--epochs", "1", "--seeds", "1", "--device", "cpu")

    def test_a_short_run_its_table_and_the_same_command_again(self, run: Run, tmp_path: Path) -> None:
        result = run(*self.ARGUMENTS, "--work-dir", tmp_path / "work")
        assert (result.code, result.err) == (0, "")
        assert re.search(r"\[1/1\] digits/baseline seed 1270964153: top-1 \d+\.\d\d %", result.out)
        folder = tmp_path / "work" / "digits" / "baseline" / "seed1270964153-epochs1"
        names = {path.name for path in folder.iterdir()}
        assert {"record.json", "history.csv", "test_outputs.npz", "last.pth", "best.pth", "config.py"} <= names
        record = json.loads((folder / "record.json").read_text())
        assert (record["epochs"], record["epochs_recipe"], record["seed"]) == (1, 20, 1270964153)
        assert record["metrics"]["last"]["top1"] > 20  # chance is 10
        written = {path.name: path for path in (tmp_path / "work").rglob("table.*")}
        assert set(written) == {"table.md", "table.csv"}
        markdown = written["table.md"].read_text()
        assert markdown.strip() in result.out
        assert "1/20 epochs" in markdown or "1 of 20 epochs" in markdown  # marked as shortened
        with written["table.csv"].open() as file:
            assert len(list(csv.DictReader(file))) >= 1
        report = tmp_path / "work" / "digits" / "report.html"
        assert result.out.splitlines()[-1] == f"All of it in one file, for a browser: {report}"
        assert "1 of 20 epochs" in report.read_text(encoding="utf-8")
        again = run(*self.ARGUMENTS, "--work-dir", tmp_path / "work")
        assert (again.code, again.err) == (0, "")
        assert "[1/1] digits/baseline seed 1270964153: finished before" in again.out
        assert json.loads((folder / "record.json").read_text()) == record
        assert markdown.strip() in again.out

    def test_second_stages_that_the_suite_has_no_row_for_are_in_the_table(self, run: Run, tmp_path: Path) -> None:
        arguments = (*self.ARGUMENTS, "--work-dir", tmp_path)
        assert run(*arguments).code == 0
        first = json.loads((tmp_path / "digits" / "baseline" / "seed1270964153-epochs1" / "record.json").read_text())
        write_run(tmp_path, second_stage("digits", "baseline_tau", 43.21, first, method="tau"))
        again = run(*arguments)
        assert (again.code, again.err) == (0, "")
        assert "43.21" in again.out
        assert "43.21" in (tmp_path / "digits" / "report.html").read_text(encoding="utf-8")

    def test_without_jinja2_a_line_says_so(self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "jinja2", None)
        result = run(*self.ARGUMENTS, "--work-dir", tmp_path / "work")
        assert (result.code, result.err.splitlines()[-1]) == (
            0,
            "no HTML report: the HTML report needs jinja2; install it with: pip install 'sar-cls[bench]'",
        )
        assert (tmp_path / "work" / "digits" / "table.md").is_file()

    def test_a_failed_run_gives_exit_code_1(self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with_own_sar(tmp_path, monkeypatch, '_base_ = "./baseline.py"\noptim_wrapper = dict(optimizer=dict(lr=1e30))\n')
        arguments = ["--only", "baseline", "sar", "--epochs", "1", "--seeds", "1", "--device", "cpu"]
        result = run(*arguments, "--work-dir", tmp_path / "work")
        assert result.code == 1
        assert re.search(r"digits/sar seed 1270964153: failed, \w+: .*diverged", result.out)
        assert "[1/2] digits/baseline seed 1270964153: top-1" in result.out
        assert (tmp_path / "work" / "digits" / "sar" / "seed1270964153-epochs1" / "error.log").is_file()

    def test_a_full_disk_fails_a_run_and_not_the_others__and_what_it_left_goes_when_it_succeeds(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import os

        work_dir, fsync = tmp_path / "work", os.fsync

        def full(descriptor: int) -> None:
            if "/digits/baseline/" in os.readlink(f"/proc/self/fd/{descriptor}"):
                raise OSError(28, "No space left on device")
            fsync(descriptor)

        arguments = (
            "--only",
            "baseline",
            "sar",
            "--epochs",
            "1",
            "--seeds",
            "1",
            "--device",
            "cpu",
            "--work-dir",
            work_dir,
        )
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            result = run(*arguments)
        assert result.code == 1
        assert re.search(r"\[1/2\] digits/baseline .*: failed, /.*/digits/baseline/.*: the disk is full", result.out)
        assert "[2/2] digits/sar seed 1270964153: top-1" in result.out
        assert "Traceback" not in result.out + result.err
        folder = work_dir / "digits" / "baseline" / "seed1270964153-epochs1"
        assert "Traceback" in (folder / "error.log").read_text()
        assert run(*arguments).code == 0
        assert not (folder / "error.log").exists()

    def test_a_table_that_cannot_be_written_is_printed(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from sar_cls.reporting.tables import suite_tables as table

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device", "work/digits/table.md")

        monkeypatch.setattr(table, "replacing", full)
        result = run(*self.ARGUMENTS, "--work-dir", tmp_path / "work")
        assert (result.code, len(result.err.splitlines())) == (1, 1)
        assert result.err.startswith("run.py: the table is not written, work/digits/table.md: the disk is full")
        assert "| Baseline (1 of 20 epochs)" in result.out

    @pytest.mark.parametrize(
        "change", [{"seed": "x"}, {"metrics": "none"}, {"overrides": {"imbalance": "many"}}, {"run": "../x"}]
    )
    def test_an_odd_record_beside_the_runs_is_left_out_with_a_warning(
        self, run: Run, tmp_path: Path, change: dict
    ) -> None:
        kept = next((cli.ROOT / "results" / "digits").glob("digits/sar/*/record.json"))
        odd = tmp_path / "work" / "digits" / "sar" / "odd"
        odd.mkdir(parents=True)
        (odd / "record.json").write_text(json.dumps(json.loads(kept.read_text()) | change))
        result = run(*self.ARGUMENTS, "--work-dir", tmp_path / "work")
        assert (result.code, len(result.err.splitlines())) == (0, 1)
        assert result.err.startswith(f"run.py: warning: a run is left out: {odd / 'record.json'} is not a run record")
        assert "| Baseline (1 of 20 epochs)" in result.out

    def test_a_locked_run_is_passed_over_and_said(self, run: Run, tmp_path: Path) -> None:
        folder = tmp_path / "work" / "digits" / "baseline" / "seed1270964153-epochs1"
        folder.mkdir(parents=True)
        with filelock.FileLock(folder / ".lock"):
            result = run(*self.ARGUMENTS, "--work-dir", tmp_path / "work")
        assert result.code == 3
        assert "digits/baseline seed 1270964153: another process is at this run, passed over" in result.out
        last = "Not all is done: 1 run was passed over because another process is at it; give the same command again."
        assert result.out.splitlines()[-1] == last
        assert [path.name for path in folder.iterdir()] in ([".lock"], [])


def test_a_device_of_another_machine(run: Run, tmp_path: Path) -> None:
    only = ("--suite", "digits", "--only", "baseline", "--seeds", "1", "--work-dir", tmp_path / "work")
    result = run(*only, "--launcher", "print", "--device", "cuda:7")
    assert (result.code, result.err) == (0, "")
    assert result.out.rstrip().endswith("--device cuda:7")
    refused(run(*only, "--launcher", "print", "--device", "tpu"), "unknown device 'tpu'")
    refused(run(*only, "--launcher", "print", "--device", "meta"), "only cpu and cuda are supported")


def test_a_list_that_is_given_in_parts_is_one_list(run: Run, tmp_path: Path) -> None:
    parts = ("--only", "baseline", "--only", "sar", "--seed", "1", "--seed", "2", "3")
    result = run("--suite", "digits", *parts, "--launcher", "print", "--work-dir", tmp_path / "work")
    found = re.findall(r"--only digits/(\w+) --seed (\d)", result.out)
    assert found == [(row, seed) for seed in "123" for row in ("baseline", "sar")]


class TestDryRun:
    def test_it_says_what_would_run_and_what_is_missing(self, run: Run, tmp_path: Path) -> None:
        only = (
            "--suite",
            "cifar100_lt_16",
            "--only",
            "mixup",
            "mixup_mislas",
            "--seed",
            "1",
            "--device",
            "cpu",
            "--dry-run",
        )
        result = run(*only, "--work-dir", tmp_path / "work", "--data-root", tmp_path)
        assert result.code == 2
        assert result.out.splitlines()[-1].startswith("2 runs: 0 finished, 0 at work, 2 to run")
        assert result.err.startswith(f"run.py: CIFAR-100 is not under {tmp_path}")
        assert result.err.count("\n") == 1
        (tmp_path / "cifar-100-python").mkdir()
        result = run(*only, "--work-dir", tmp_path / "work", "--data-root", tmp_path)
        assert (result.code, result.err) == (0, "")
