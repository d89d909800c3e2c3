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
        configs = Path(shutil.copytree(cli.CONFIGS, tmp_path / "configs"))
        monkeypatch.setattr(cli, "CONFIGS", configs)
        (configs / "digits" / "sar.py").write_text(text)
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
        configs = Path(shutil.copytree(cli.CONFIGS, tmp_path / "configs"))
        monkeypatch.setattr(cli, "CONFIGS", configs)
        (configs / "digits" / "sar.py").write_text(text)
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
        again = run(*self.ARGUMENTS, "--work-dir", tmp_path / "work")
        assert (again.code, again.err) == (0, "")
        assert "[1/1] digits/baseline seed 1270964153: finished before" in again.out
        assert json.loads((folder / "record.json").read_text()) == record
        assert markdown.strip() in again.out

    def test_a_failed_run_gives_exit_code_1(self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        configs = Path(shutil.copytree(cli.CONFIGS, tmp_path / "configs"))
        monkeypatch.setattr(cli, "CONFIGS", configs)
        (configs / "digits" / "sar.py").write_text(
            '_base_ = "./baseline.py"\noptim_wrapper = dict(optimizer=dict(lr=1e30))\n'
        )
        arguments = ["--only", "baseline", "sar", "--epochs", "1", "--seeds", "1", "--device", "cpu"]
        result = run(*arguments, "--work-dir", tmp_path / "work")
        assert result.code == 1
        assert re.search(r"digits/sar seed 1270964153: failed, \w+: .*diverged", result.out)
        assert "[1/2] digits/baseline seed 1270964153: top-1" in result.out
        assert (tmp_path / "work" / "digits" / "sar" / "seed1270964153-epochs1" / "error.log").is_file()

    def test_a_locked_run_is_passed_over_and_said(self, run: Run, tmp_path: Path) -> None:
        folder = tmp_path / "work" / "digits" / "baseline" / "seed1270964153-epochs1"
        folder.mkdir(parents=True)
        with filelock.FileLock(folder / ".lock"):
            result = run(*self.ARGUMENTS, "--work-dir", tmp_path / "work")
        assert result.code == 3
        assert "digits/baseline seed 1270964153: another process is at this run, passed over" in result.out
        assert result.out.splitlines()[-1].startswith("Not all is done: 1 run was passed over because another process")
        assert [path.name for path in folder.iterdir()] in ([".lock"], [])
