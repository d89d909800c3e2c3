"""``python benchmarks/run.py`` as its user meets it: arguments, mistakes, a run from end to end."""

from __future__ import annotations

import csv
import json
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import filelock
import pytest

from sar_cls import cli
from sar_cls.suites.rows import list_suites

SCRIPT = cli.ROOT / "benchmarks" / "run.py"


def with_own_sar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Path:
    """A copy of the configs in which the last row of the digits runs a config of its own, ``sar.py``."""
    configs = Path(shutil.copytree(cli.CONFIGS, tmp_path / "configs"))
    monkeypatch.setattr(cli, "CONFIGS", configs)
    suite = configs / "digits" / "suite.toml"
    head, row = suite.read_text(encoding="utf-8").split('name = "sar"\n')
    kept = [line for line in row.splitlines() if not line.startswith(("config", "set."))]
    suite.write_text("\n".join([f'{head}name = "sar"', *kept, ""]), encoding="utf-8")
    (configs / "digits" / "sar.py").write_text(text)
    return configs


class Result(NamedTuple):
    """What a call of the script left: its exit code and what it printed."""

    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Calls the script in this process, from an empty folder."""

    def call(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
        monkeypatch.chdir(tmp_path)
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        printed = capsys.readouterr()
        return Result(int(end.value.code or 0), printed.out, printed.err)

    return call


def refused(result: Result, *words: str) -> None:
    """Exit code 2 and one line that says what was wrong."""
    assert result.code == 2
    assert len(result.err.splitlines()) == 1, result.err
    assert result.err.startswith("run.py: ")
    assert "Traceback" not in result.out + result.err
    for word in words:
        assert word in result.err


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


class TestMistakes:
    """Each: exit code 2, one line, nothing written."""

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--suite", "cifar10"], ["unknown suite 'cifar10'", "cifar100"]),
            (["--suite", "nothing_like_it"], ["unknown suite", "digits"]),
            (["--suite", "../digits"], ["unknown suite"]),
            (["--suite", ""], ["unknown suite"]),
            (["--only", "baselin"], ["unknown row 'baselin'", "did you mean baseline"]),
            (["--only", "baseline", "zzz"], ["unknown row 'zzz'", "known are"]),
            (["--only"], ["--only"]),
            (["--epochs", "0"], ["--epochs", "'0' must be a whole number of at least 1"]),
            (["--epochs", "-3"], ["--epochs"]),
            (["--epochs", "1.5"], ["--epochs"]),
            (["--seeds", "-1"], ["--seeds", "'-1' must be a whole number of at least 1"]),
            (["--seeds", "0"], ["--seeds"]),
            (["--seeds", "three"], ["--seeds"]),
            (["--seeds", "1000000000"], ["--seeds", "at most 10000"]),
            (["--epochs", "1" + 30 * "0"], ["--epochs", "at most 1000000"]),
            (["--threads", "1000000"], ["--threads", "at most 1024"]),
            (["--threads", "0"], ["--threads", "at least 1"]),
            (["--jobs-per-device", "1000000"], ["--jobs-per-device", "at most 256"]),
            (["--device", "cpu:1"], ["--device cpu:1", "use --device cpu"]),
            (["--imbalance", "0.5"], ["--imbalance", "at least 1"]),
            (["--imbalance", "nan"], ["--imbalance"]),
            (["--imbalance", "inf"], ["--imbalance"]),
            (["--suite", "digits", "--only", "baseline", "--imbalance", "10"], ["no long-tailed row"]),
            (["--suite", "digits_lt", "--imbalance", "100000"], ["leaves a class without images"]),
            (["--val-fraction", "1"], ["--val-fraction", "between 0 and 1"]),
            (["--precision", "fp16"], ["--precision", "bf16"]),
            (["--device", "gpu"], ["unknown device 'gpu'"]),
            (["--device", "meta"], ["only cpu and cuda"]),
            (["--no-such-option"], ["--no-such-option"]),
            (["baseline"], ["baseline"]),
        ],
        ids=" ".join,
    )
    def test_arguments(self, run: Run, tmp_path: Path, arguments: list[str], words: list[str]) -> None:
        refused(run(*arguments, "--work-dir", tmp_path / "work"), *words)
        assert list(tmp_path.iterdir()) == []

    def test_cuda_that_is_not_there(self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        for name in ("cuda", "cuda:1"):
            result = run("--device", name, "--work-dir", tmp_path / "work")
            refused(result, f"--device {name}", "use --device cpu")
            assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("below", ["", "deep/er"])
    def test_a_work_directory_that_is_a_file(self, run: Run, tmp_path: Path, below: str) -> None:
        (tmp_path / "file").write_text("mine")
        refused(run("--work-dir", tmp_path / "file" / below), "is a file", "--work-dir")
        assert (tmp_path / "file").read_text() == "mine"

    def test_a_work_directory_that_is_not_writable(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("os.access", lambda *_: False)  # permissions do not hold for root
        refused(run("--work-dir", tmp_path / "work"), "not writable", "--work-dir")
        assert list(tmp_path.iterdir()) == []

    def test_missing_data(self, run: Run, tmp_path: Path) -> None:
        arguments = ["--suite", "cifar100", "--only", "resnet18", "--device", "cpu", "--work-dir", tmp_path / "work"]
        result = run(*arguments, "--data-root", tmp_path / "nowhere")
        refused(result, str(tmp_path / "nowhere"), "--download")
        assert list(tmp_path.iterdir()) == []
        refused(run(*arguments), "data")  # the default, below the current folder
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("text", "line", "word"),
        [
            ("a = 1\nmodel = dict(\n", 2, "never closed"),
            ('_base_ = "./baseline.py"\n\nmodel = dict(head=HEAD)\n', 3, "HEAD"),
            ('_base_ = "./base_line.py"\n', 1, "base_line.py"),
        ],
    )
    def test_a_config_that_does_not_parse(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, line: int, word: str
    ) -> None:
        configs = with_own_sar(tmp_path, monkeypatch, text)
        # The last row of the suite: the others must not have been run before it is found.
        result = run("--work-dir", tmp_path / "work", "--device", "cpu")
        refused(result, f"{configs / 'digits' / 'sar.py'}, line {line}: ", word)
        assert not (tmp_path / "work").exists()

    @pytest.mark.parametrize(
        ("text", "word"),
        [
            ('_base_ = "./baseline.py"\nmodel = dict(head=dict(regularizer=dict(type="SARR")))\n', "SARR"),
            ('_base_ = "./baseline.py"\nmodel = dict(head=dict(regularizer=dict(type="SAR", tau=1.5)))\n', "tau"),
            ("model = dict()\n", "data_preprocessor"),
        ],
    )
    def test_a_config_that_makes_no_sense(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, word: str
    ) -> None:
        configs = with_own_sar(tmp_path, monkeypatch, text)
        result = run("--work-dir", tmp_path / "work", "--device", "cpu")
        refused(result, str(configs / "digits" / "sar.py"), word)
        assert not (tmp_path / "work").exists()

    def test_a_suite_that_does_not_parse(self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        configs = Path(shutil.copytree(cli.CONFIGS, tmp_path / "configs"))
        monkeypatch.setattr(cli, "CONFIGS", configs)
        (configs / "digits" / "suite.toml").write_text('title = "Digits"\nmetric = \n')
        refused(run("--work-dir", tmp_path / "work"), "suite.toml:2")
        assert not (tmp_path / "work").exists()

    def test_a_checkpoint_of_another_run_is_kept(self, run: Run, tmp_path: Path) -> None:
        folder = tmp_path / "work" / "digits" / "baseline" / "seed1270964153-epochs1"
        folder.mkdir(parents=True)
        (folder / "last.pth").write_bytes(b"something else")
        arguments = ["--only", "baseline", "--epochs", "1", "--seeds", "1", "--device", "cpu"]
        refused(
            run(*arguments, "--work-dir", tmp_path / "work"), str(folder / "last.pth"), f"move the folder {folder} away"
        )
        assert [path.name for path in folder.iterdir() if path.name != ".lock"] == ["last.pth"]
        assert (folder / "last.pth").read_bytes() == b"something else"


class TestFileSystem:
    """Exit code 2 and one line before any run begins; the same for the first row and for the last one."""

    NAME = "seed1270964153-epochs1"
    ARGUMENTS = ("--only", "baseline", "sar", "--epochs", "1", "--seeds", "1", "--device", "cpu")

    def refused(self, run: Run, work_dir: Path, *words: str) -> None:
        before = sorted(work_dir.rglob("*"))
        refused(run(*self.ARGUMENTS, "--work-dir", work_dir), *words)
        assert sorted(work_dir.rglob("*")) == before

    @pytest.mark.parametrize("row", ["baseline", "sar"])
    @pytest.mark.parametrize(
        "name",
        [
            "record.json",
            "last.pth",
            "best.pth",
            "config.py",
            "history.csv",
            "test_outputs.npz",
            "per_class.csv",
            ".lock",
        ],
    )
    def test_a_folder_where_a_file_should_be(self, run: Run, tmp_path: Path, row: str, name: str) -> None:
        path = tmp_path / "work" / "digits" / row / self.NAME / name
        path.mkdir(parents=True)
        self.refused(run, tmp_path / "work", str(path), "move it away")

    @pytest.mark.parametrize("name", ["table.md", "table.csv", "report.html"])
    def test_a_folder_in_the_place_of_the_table(self, run: Run, tmp_path: Path, name: str) -> None:
        (tmp_path / "work" / "digits" / name).mkdir(parents=True)
        self.refused(run, tmp_path / "work", name, "is a folder")

    @pytest.mark.parametrize("place", ["digits", "digits/sar", f"digits/sar/{NAME}"])
    @pytest.mark.parametrize("what", ["file", "dangling", "loop"])
    def test_something_in_the_place_of_a_folder(self, run: Run, tmp_path: Path, place: str, what: str) -> None:
        path = tmp_path / "work" / place
        path.parent.mkdir(parents=True)
        if what == "file":
            path.write_text("mine")
        else:
            path.symlink_to(path if what == "loop" else tmp_path / "nowhere" / "else")
        words = {"file": "is a file", "dangling": "leads nowhere", "loop": "lead in a circle"}
        self.refused(run, tmp_path / "work", str(path), words[what])

    def test_too_long_a_name(self, run: Run, tmp_path: Path) -> None:
        refused(run(*self.ARGUMENTS, "--work-dir", tmp_path / ("x" * 300)), "too long for the file system")

    def test_a_record_of_a_newer_version_stays(self, run: Run, tmp_path: Path) -> None:
        folder = tmp_path / "work" / "digits" / "baseline" / self.NAME
        folder.mkdir(parents=True)
        (folder / "record.json").write_text('{"schema": 99}')
        (folder / "history.csv").write_text("epoch\n200\n")
        self.refused(run, tmp_path / "work", str(folder / "record.json"), "newer version", "update the project")
        assert (folder / "record.json").read_text() == '{"schema": 99}'
        assert (folder / "history.csv").read_text() == "epoch\n200\n"


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
        assert result.out.splitlines()[-1].startswith("Not all is done: 1 run was passed over because another process")
        assert [path.name for path in folder.iterdir()] in ([".lock"], [])
