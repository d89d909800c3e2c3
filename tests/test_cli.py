"""What all scripts share: terminals of any encoding, Ctrl-C, and how an error becomes one line and an exit code."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sar_cls import cli
from sar_cls.errors import InputError, RunFailed
from sar_cls.suites.rows import list_suites

Main = Callable[[], int]


def ended(main: Main, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["/somewhere/script.py"])
    with pytest.raises(SystemExit) as end:
        cli.main_with_exit_code(main)
    return int(end.value.code or 0)


def raising(error: BaseException) -> Main:
    def main() -> int:
        raise error

    return main


class TestTerminals:
    @pytest.mark.parametrize(
        ("encoding", "shown"),
        [
            ("utf-8", "78.1 ± 0.2 – 3 × Δ τ é 語"),
            ("ascii", "78.1 +/- 0.2 - 3 x diff tau e ?"),
            ("latin-1", "78.1 ± 0.2 - 3 × diff tau é ?"),
            ("cp1252", "78.1 ± 0.2 – 3 × diff tau é ?"),
            ("cp437", "78.1 ± 0.2 - 3 x diff τ é ?"),
        ],
    )
    def test_what_each_can_show(self, encoding: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n") for _ in range(2))
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        cli.show_what_the_terminal_can()
        for stream in (out, err):
            print("78.1 ± 0.2 – 3 × Δ τ é 語", file=stream, flush=True)
            assert stream.buffer.getvalue().decode(encoding) == f"{shown}\n"  # type: ignore[attr-defined]

    def test_a_file_name_that_is_no_text(self, monkeypatch: pytest.MonkeyPatch) -> None:
        out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="\n")
        monkeypatch.setattr(sys, "stdout", out)
        cli.show_what_the_terminal_can()
        print(os.fsdecode(b"caf\xe9"), flush=True)
        assert out.buffer.getvalue() == b"caf\\xe9\n"  # type: ignore[attr-defined]

    @pytest.mark.parametrize(
        "environment",
        [
            {"LC_ALL": "POSIX"},
            {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
            {"PYTHONIOENCODING": "latin-1"},
            {"PYTHONIOENCODING": "cp437"},
        ],
        ids=str,
    )
    def test_a_table_is_printed_and_written(self, environment: dict[str, str], tmp_path: Path) -> None:
        script, runs = cli.ROOT / "benchmarks" / "report.py", cli.ROOT / "results" / "digits"
        done = subprocess.run(
            [sys.executable, script, "--work-dir", runs, "--keep", tmp_path / "kept"],
            env={**os.environ, "PYTHONPATH": str(cli.ROOT), **environment}, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert b"Traceback" not in done.stderr
        assert b"last epoch: mean " in done.stdout
        written = (tmp_path / "kept" / "digits" / "table.md").read_bytes().decode("utf-8")
        assert "mean ± std" in written


class TestExitCodes:
    @pytest.mark.parametrize(
        ("error", "code", "line"),
        [
            (InputError("bad seed"), 2, "script.py: bad seed"),
            (RunFailed("it failed"), 1, "script.py: it failed"),
            (
                OSError(errno.EACCES, "denied", "a/b"),
                2,
                "script.py: a/b: permission denied: give this user the right to it",
            ),
            (
                IsADirectoryError(errno.EISDIR, "is a folder", "x.json"),
                2,
                "script.py: x.json: a folder is where a file",
            ),
            (KeyboardInterrupt(), 130, "interrupted; the same command goes on from the last whole epoch"),
        ],
        ids=repr,
    )
    def test_of_each_error(
        self, error: BaseException, code: int, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
    ) -> None:
        assert ended(raising(error), monkeypatch) == code
        out, err = capsys.readouterr()
        assert out == ""
        assert err.strip().startswith(line)
        assert len(err.strip().splitlines()) == 1

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
    def test_output_that_cannot_be_written(self, tmp_path: Path) -> None:
        script = cli.ROOT / "benchmarks" / "run.py"
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, script, "--list"],
                env={**os.environ, "PYTHONPATH": str(cli.ROOT)}, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
            )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr.startswith("run.py: the output: the disk is full")
        assert len(done.stderr.splitlines()) == 1


class TestCtrlC:
    def swallowing(self, how: str) -> Main:
        """A ``main`` in which Ctrl-C is pressed where a library catches everything, as optional imports do."""

        def main() -> int:
            with cli.interruptible():
                try:
                    signal.raise_signal(signal.SIGINT)
                except BaseException:
                    if how == "turned into another error":
                        raise ImportError("no such library") from None
            pytest.fail("it went on")

        return main

    @pytest.mark.parametrize("how", ["swallowed", "turned into another error"])
    def test_in_an_import(self, how: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
        before = signal.getsignal(signal.SIGINT)
        assert ended(self.swallowing(how), monkeypatch) == 130
        assert capsys.readouterr().err.strip().startswith("interrupted")
        assert signal.getsignal(signal.SIGINT) is before

    def test_anywhere_else_it_is_said_at_the_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def main() -> int:
            with contextlib.suppress(BaseException):
                signal.raise_signal(signal.SIGINT)
            return 0

        assert ended(main, monkeypatch) == 130

    def test_other_errors_are_what_they_are(self) -> None:
        with pytest.raises(ImportError, match="no such library"), cli.interruptible():
            raise ImportError("no such library")

    def test_where_it_is_ignored_it_stays_so(self) -> None:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as nohup does
        try:
            with cli.interruptible():
                signal.raise_signal(signal.SIGINT)
        finally:
            signal.signal(signal.SIGINT, before)


class TestWithoutConfigs:
    """Outside a checkout, say: a sentence and exit code 2, and no empty list or table."""

    def test_no_suites(self, tmp_path: Path) -> None:
        for folder in (tmp_path, tmp_path / "nowhere"):
            with pytest.raises(InputError, match=r"no suites in .*: it should hold"):
                list_suites(folder)

    @pytest.mark.parametrize(
        "arguments",
        [
            "benchmarks/run.py --list",
            "benchmarks/run.py",
            "benchmarks/report.py",
            "benchmarks/report.py --work-dir {results}",
            "longtail/stage1.py --dataset digits",
        ],
    )
    def test_scripts(
        self, arguments: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
    ) -> None:
        import runpy

        script, *rest = arguments.format(results=cli.ROOT / "results" / "cpu-20-epochs").split()
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(cli, "CONFIGS", tmp_path / "configs")
        monkeypatch.setattr(sys, "argv", [script, *rest])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(cli.ROOT / script), run_name="__main__")
        out, err = capsys.readouterr()
        assert (end.value.code, out) == (2, "")
        assert err.startswith(f"{Path(script).name}: no suites in {tmp_path / 'configs'}")
        assert len(err.splitlines()) == 1
        assert list(tmp_path.iterdir()) == []
