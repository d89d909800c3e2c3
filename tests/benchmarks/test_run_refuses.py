"""``python benchmarks/run.py`` refuses in one line: wrong arguments, data, configs, and files where no such ones should be."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sar_cls import cli

from .run_calls import Run, refused, with_own_sar


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
            (["--only", "baseline", "--all"], ["--only", "--all", "leave one of them out"]),
            (["--seed", "1", "--seeds", "2"], ["--seed", "--seeds", "leave one of them out"]),
            (["--sync-bn"], ["--sync-bn is for several processes of one run: leave it out, or start them by torchrun"]),
            (["--dry-run", "--local-statistics"], ["--local-statistics is for several processes of one run"]),
            (["--work-dir", ""], ["--work-dir", "the path is empty: name one"]),
            (["--data-root", ""], ["--data-root", "the path is empty: name one"]),
            (["--configs", ""], ["--configs", "the path is empty: name one"]),
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
