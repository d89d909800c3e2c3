"""Terminals of any encoding, Ctrl-C, how an error becomes one line and an exit code, and what is set before torch is imported."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from sar_cls import exit_codes
from sar_cls.cli import ROOT
from sar_cls.errors import InputError, RunFailed, RunLocked

Main = Callable[[], int]


def ended(main: Main, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["/somewhere/script.py"])
    with pytest.raises(SystemExit) as end:
        exit_codes.main_with_exit_code(main)
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
        exit_codes.show_what_the_terminal_can()
        for stream in (out, err):
            print("78.1 ± 0.2 – 3 × Δ τ é 語", file=stream, flush=True)
            assert stream.buffer.getvalue().decode(encoding) == f"{shown}\n"  # type: ignore[attr-defined]

    def test_a_file_name_that_is_no_text(self, monkeypatch: pytest.MonkeyPatch) -> None:
        out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="\n")
        monkeypatch.setattr(sys, "stdout", out)
        exit_codes.show_what_the_terminal_can()
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
        script, runs = ROOT / "benchmarks" / "report.py", ROOT / "results" / "digits"
        done = subprocess.run(
            [sys.executable, script, "--work-dir", runs, "--keep", tmp_path / "kept"],
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment}, capture_output=True, check=False,
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
            (
                ModuleNotFoundError("No module named 'mmengine.x'", name="mmengine.x"),
                2,
                "script.py: mmengine.x is not installed: pip install 'sar-cls[bench]' brings what suites need",
            ),
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

    @pytest.mark.parametrize("name", ["sar_cls.gone", None])
    def test_a_part_of_ours_that_is_missing_is_a_defect(
        self, name: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["/somewhere/script.py"])
        with pytest.raises(ModuleNotFoundError):
            exit_codes.main_with_exit_code(raising(ModuleNotFoundError("No module", name=name)))

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
    def test_output_that_cannot_be_written(self, tmp_path: Path) -> None:
        script = ROOT / "benchmarks" / "run.py"
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, script, "--list"],
                env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
            )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr.startswith("run.py: the output: the disk is full")
        assert len(done.stderr.splitlines()) == 1


class TestCtrlC:
    def swallowing(self, how: str) -> Main:
        """A ``main`` in which Ctrl-C is pressed where a library catches everything, as optional imports do."""

        def main() -> int:
            with exit_codes.interruptible():
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

    @pytest.mark.parametrize("swallow", [True, False])
    def test_what_the_command_does_the_next_time(self, swallow: bool, capsys: pytest.CaptureFixture[str]) -> None:
        def main() -> int:
            exit_codes.when_interrupted("the same command begins anew")
            with contextlib.suppress(KeyboardInterrupt if swallow else ()):
                signal.raise_signal(signal.SIGINT)
            return 0

        assert exit_codes.code_of(main) == 130
        assert capsys.readouterr().err == "\ninterrupted; the same command begins anew\n"
        assert exit_codes.code_of(raising(KeyboardInterrupt())) == 130  # and of a command that says nothing
        assert capsys.readouterr().err == "\ninterrupted; the same command goes on from the last whole epoch\n"

    @pytest.mark.parametrize(
        ("command", "arguments", "place", "sentence"),
        [
            (
                "run",
                ["--suite", "cost"],
                "sar_cls.speed.cost_suite.measure_suite",
                "figures that were written stay: the same command measures all anew",
            ),
            ("report", [], "sar_cls.runs.ledger.scan", "what was written is whole: the same command begins anew"),
            (
                "features",
                ["RUN"],
                "sar_cls.runs.record.read_record",
                "runs whose features are made keep them, and the same command goes on with the others",
            ),
            (
                "features",
                ["RUN", "--again"],
                "sar_cls.engine.finished_features.make_features",
                "the same command makes all of them again",
            ),
            (
                "export",
                ["RUN"],
                "sar_cls.engine.trained.load_model",
                "what was written is whole: the same command begins anew",
            ),
        ],
    )
    def test_each_command_says_what_is_so(
        self,
        command: str,
        arguments: list[str],
        place: str,
        sentence: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def pressed(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.chdir(tmp_path)
        (tmp_path / "RUN").mkdir()
        monkeypatch.setattr(place, pressed)
        monkeypatch.setattr(sys, "argv", [f"sar-cls {command}", *arguments])
        assert exit_codes.code_of(import_module(f"sar_cls.commands.{command}").main) == 130
        assert capsys.readouterr().err == f"\ninterrupted; {sentence}\n"

    def test_other_errors_are_what_they_are(self) -> None:
        with pytest.raises(ImportError, match="no such library"), exit_codes.interruptible():
            raise ImportError("no such library")

    def test_where_it_is_ignored_it_stays_so(self) -> None:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as nohup does
        try:
            with exit_codes.interruptible():
                signal.raise_signal(signal.SIGINT)
        finally:
            signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("error", "code"),
    [(RunLocked("another process is at it"), 3), (InputError("wrong"), 2), (KeyboardInterrupt(), 130)],
)
def test_exit_codes(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> int:
        raise error

    with pytest.raises(SystemExit) as end:
        exit_codes.main_with_exit_code(main)
    assert end.value.code == code
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"GOMP_SPINCOUNT": "10000"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
        ({"GOMP_SPINCOUNT": "9"}, {"GOMP_SPINCOUNT": "9"}),
        ({"KMP_BLOCKTIME": "9"}, {"KMP_BLOCKTIME": "9"}),
    ],
)
def test_threads_wait_asleep_unless_the_user_says_otherwise(given: dict[str, str], expected: dict[str, str]) -> None:
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
    code = f"""
import os, sys
from sar_cls import exit_codes
def main():
    print({{name: os.environ[name] for name in {names} if name in os.environ}}, "torch" in sys.modules)
    return 0
exit_codes.main_with_exit_code(main)
"""
    environment = {name: value for name, value in os.environ.items() if name not in names} | given
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == f"{expected} False"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nonsense"], "sar-cls: unknown command 'nonsense': choose one of run, report"),
        (["run", "--suite", "nonsense"], "sar-cls run: unknown suite 'nonsense'; known are "),
        (["stage1", "--seed", "-1"], "sar-cls stage1: argument --seed: '-1' must be"),
        (["report", "--work-dir", "nowhere"], "sar-cls report: --work-dir nowhere is not a folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_messages_name_the_command_also_of_the_module(arguments: list[str], says: str) -> None:
    done = subprocess.run([sys.executable, "-m", "sar_cls", *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(says)
    assert len(done.stderr.splitlines()) == 1
