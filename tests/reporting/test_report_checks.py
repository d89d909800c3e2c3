"""What ``report.py`` refuses before it reads, prints or writes anything."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
from synthetic_runs import make_record, write_run

from sar_cls.commands.report import parse

from .report_command import ROOT, report


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--format", "csv", "--geometry"),
            "--format csv prints one table, and --geometry has others: leave one of them out",
        ),
        (("--format", "csv", "--against", "."), "--format csv prints one table, and --against adds one in Markdown"),
        (("--format", "csv", "--precisions"), "--format csv prints one table, and --precisions adds one in Markdown"),
    ],
)
def test_csv_is_one_table(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    write_run(tmp_path / "work_dirs", make_record("digits", "sar", 1, 90.0))
    done = report(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"report.py: {message}")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("option", ["--keep", "--figures"])
class TestFoldersToWriteTo:
    """Exit code 2, one sentence, nothing written, also where no line of a table was printed yet."""

    @pytest.mark.parametrize("below", ["", "deep/er"])
    def test_that_are_files(self, tmp_path: Path, option: str, below: str) -> None:
        write_run(tmp_path / "work_dirs", make_record("digits", "sar", 1, 90.0))
        (tmp_path / "file").write_text("mine")
        done = report(option, str(Path("file") / below), cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.splitlines() == [
            f"report.py: {Path('file') / below} cannot be a folder, {tmp_path / 'file'} is a file: give another {option}"
        ]
        assert (tmp_path / "file").read_text() == "mine"

    def test_that_are_not_writable(
        self, tmp_path: Path, option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("os.access", lambda *_: False)  # permissions do not hold for root
        monkeypatch.setattr(sys, "argv", ["report.py", option, "new"])
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(ROOT / "benchmarks" / "report.py"), run_name="__main__")
        assert end.value.code == 2
        assert capsys.readouterr() == ("", f"report.py: new is not writable: give another {option}\n")
        assert list(tmp_path.iterdir()) == []


def test_runs_are_not_kept_where_they_are(tmp_path: Path) -> None:
    write_run(tmp_path / "work_dirs", make_record("digits", "sar", 1, 90.0))
    before = sorted(tmp_path.rglob("*"))
    done = report("--keep", str(tmp_path / "work_dirs"), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == f"report.py: --keep {tmp_path / 'work_dirs'} is the folder of the runs themselves; name another\n"
    )
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("option", ["--html", "--export"])
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("folder", "folder is a folder, and a file is to be written there: give another {option}"),
        ("file/r", "file/r cannot be"),
    ],
)
def test_files_that_cannot_be_written(tmp_path: Path, option: str, name: str, sentence: str) -> None:
    write_run(tmp_path / "work_dirs", make_record("digits", "sar", 1, 90.0))
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    done = report(option, name, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    if name == "file/r":
        assert "is a file" in done.stderr or "a file" in done.stderr
    else:
        assert done.stderr == f"report.py: {sentence.format(option=option)}\n"
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("folder", "sentence"),
    [
        ("nowhere", "--against nowhere is not a folder; name one with runs, for example a folder of results/"),
        ("here", "--against here is the folder of the runs themselves; name another"),
    ],
)
def test_against_what_cannot_be_compared(folder: str, sentence: str, tmp_path: Path) -> None:
    write_run(tmp_path / "here", make_record("digits", "sar", 1, 90.0))
    done = report("--work-dir", "here", "--against", folder, "--keep", "kept", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert sentence in done.stderr
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("option", ["--work-dir", "--against", "--figures", "--keep", "--html", "--export"])
def test_empty_paths(option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["report.py", option, ""])
    with pytest.raises(SystemExit) as end:
        parse()
    assert end.value.code == 2
    assert "the path is empty: name one" in capsys.readouterr().err
