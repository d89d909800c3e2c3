"""The printed commands do what the command line would have done, each line by itself."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import files_of

from sar_cls import cli
from sar_cls.cli import CONFIGS
from sar_cls.commands import run as command
from sar_cls.engine.options import Options
from sar_cls.errors import InputError
from sar_cls.launch import commands
from sar_cls.launch.commands import option_arguments, print_commands
from sar_cls.launch.outcome import Attempt
from sar_cls.launch.plans import plan_runs
from sar_cls.runs.record import is_finished
from sar_cls.suites.rows import load_suite, select_rows

# A value that is not the default for every option that the command line has.
VALUES: dict[str, Any] = {
    "data_root": "/a place/data",
    "download": True,
    "epochs": 3,
    "precision": "bf16",
    "val_fraction": 0.25,
    "imbalance": 12.5,
    "classes": 7,
    "backbone": "timm:resnet18",
    "bn_batch": 16,
    "hold": "frozen",
    "weights": "none",
    "image_size": 64,
    "tensorboard": True,
    "deterministic": True,
    "mode": "compile",
    "memory_format": "contiguous",
    "threads": 3,
    "sync_bn": True,
    "local_statistics": True,
    "features": False,
    "iterations": 40,
    "mlflow": "runs.db",
}


def parsed(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> Options:
    monkeypatch.setattr(sys, "argv", ["run", *arguments])
    monkeypatch.setattr(cli.importlib.util, "find_spec", lambda name: name)
    found = command.parse()
    return cli.run_options(
        found, imbalance=found.imbalance, epochs=found.epochs, iterations=found.iterations, classes=found.classes
    )


@pytest.mark.parametrize("name", [None, *VALUES, "all"])
def test_options_come_back_as_they_were(name: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = VALUES if name == "all" else {} if name is None else {name: VALUES[name]}
    options = Options(**chosen)
    data_root = ["--data-root", options.data_root] if options.data_root else []
    found = parsed([*data_root, *option_arguments(options)], monkeypatch)
    assert replace(found, device="cpu") == options


def test_every_option_is_covered() -> None:
    assert {field.name for field in fields(Options)} == {*VALUES, *commands._OTHERS}


def test_a_line_for_each_first_stage_and_seed__whole_in_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options, work_dir = Options(epochs=2, data_root=str(tmp_path / "my data")), tmp_path / "work dir"
    rows = select_rows(load_suite(CONFIGS, "digits_lt"))
    runs = plan_runs(rows, [1024, 5], options, work_dir)
    print_commands(runs, "digits_lt", CONFIGS, work_dir, device="cuda")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    planned = []
    for line in lines:
        words = shlex.split(line)
        assert words[:4] == [sys.executable, "-m", "sar_cls", "run"]
        monkeypatch.setattr(sys, "argv", words[3:])
        found = command.parse()
        assert (found.device, found.work_dir, found.launcher) == ("cuda", work_dir, "local")
        suite = load_suite(CONFIGS, found.suite)
        here = replace(cli.run_options(argument_on_cpu(found), epochs=found.epochs), device="cpu")
        planned += plan_runs(select_rows(suite, found.only), found.seed, here, found.work_dir)
    assert {(run.run_dir, run.stage1_dir, run.recipe) for run in planned} == {
        (run.run_dir, run.stage1_dir, run.recipe) for run in runs
    }
    assert len(planned) == len(runs)  # none is in two lines
    assert not work_dir.exists()


@pytest.mark.parametrize(
    ("own", "given", "expected"),
    [
        (None, None, "{here}/data"),
        ("images", None, "{here}/images"),
        ("images", "other", "{here}/other"),
        ("/somewhere", None, "/somewhere"),
        (None, "~/data", "{home}/data"),
    ],
)
def test_the_images_are_those_of_the_run(
    own: str | None,
    given: str | None,
    expected: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the command line says, else where the config does."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    suite = tmp_path / "mine" / "tails"
    suite.mkdir(parents=True)
    row = 'name = "plain"\nlabel = "Plain"\nconfig = "cifar100_lt/mixup.py"\n'
    row += f'set.train_dataloader.dataset.data_root = "{own}"\n' if own else ""
    (suite / "suite.toml").write_text(f'title = "Tails"\nmetric = "top1"\n\n[[rows]]\n{row}', encoding="utf-8")
    rows = select_rows(load_suite(tmp_path / "mine", "tails"))
    print_commands(plan_runs(rows, [1], Options(data_root=given), tmp_path), "tails", tmp_path / "mine", tmp_path)
    words = shlex.split(capsys.readouterr().out)
    assert words[words.index("--data-root") + 1] == expected.format(here=tmp_path, home=tmp_path / "home")


def test_hold_goes_with_second_stages_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line of a first stage alone would be refused with it."""
    rows = select_rows(load_suite(CONFIGS, "digits_lt"), ["mixup_sar", "mixup_mislas"])
    runs = plan_runs(rows, [1], Options(hold="frozen"), tmp_path)
    print_commands(runs, "digits_lt", CONFIGS, tmp_path)
    found = []
    for line in capsys.readouterr().out.splitlines():
        words = shlex.split(line)
        monkeypatch.setattr(sys, "argv", words[3:])
        arguments = command.parse()
        options = cli.run_options(argument_on_cpu(arguments))
        chosen = select_rows(load_suite(CONFIGS, arguments.suite), arguments.only)
        found += plan_runs(chosen, arguments.seed, options, arguments.work_dir)
    assert sorted(run.run_dir for run in found) == sorted(run.run_dir for run in runs)
    assert {run.row: run.options.hold for run in found if run.stage1_dir is not None} == {"mixup_mislas": "frozen"}


def argument_on_cpu(arguments: Any) -> Any:
    arguments.device = "cpu"
    return arguments


def test_finished_runs_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = plan_runs(select_rows(load_suite(CONFIGS, "digits_lt")), [1], Options(), tmp_path)

    def first_is_finished(planned: Any, _: Any) -> Attempt | None:
        return Attempt(planned.title, "done", "", before=True) if planned.row == "mixup" else None

    monkeypatch.setattr(commands, "finished_before", first_is_finished)
    print_commands(runs, "digits_lt", CONFIGS, tmp_path)
    out, err = capsys.readouterr()
    assert [shlex.split(line)[7] for line in out.splitlines()] == ["digits_lt/mixup_sar", "digits_lt/mixup_mislas"]
    assert err == "1 of 4 runs are finished\n"
    monkeypatch.setattr(commands, "finished_before", lambda *_: Attempt("", "failed", "", refused="another recipe"))
    with pytest.raises(InputError, match="another recipe"):
        print_commands(runs, "digits_lt", CONFIGS, tmp_path)


@pytest.mark.slow
def test_xargs_runs_them_as_the_guide_says(tmp_path: Path) -> None:
    """Two at a time, in a folder with a space in its name; given again there is nothing left to do."""
    guide = (cli.ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    (xargs,) = re.findall(r"--launcher print \| (xargs .*-P 4.*)$", guide, re.MULTILINE)
    work_dir = tmp_path / "work dir"
    arguments = ["--suite", "digits", "--only", "baseline", "sar", "--seeds", "1", "--epochs", "1", "--device", "cpu"]
    arguments += ["--launcher", "print", "--work-dir", str(work_dir)]
    lines = shlex.join([sys.executable, str(cli.ROOT / "benchmarks" / "run.py"), *arguments])

    def shell(command: str) -> subprocess.CompletedProcess[str]:
        environment = {"PYTHONPATH": str(cli.ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            command, shell=True, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment
        )

    done = shell(f"{lines} | {xargs.replace('-P 4', '-P 2')}")
    assert done.returncode == 0, done.stderr
    folders = sorted(work_dir.glob("digits/*/*/"))
    assert [folder.parent.name for folder in folders] == ["baseline", "sar"]
    assert all(is_finished(folder) for folder in folders)
    assert files_of(folders[0])
    again = shell(lines)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "2 of 2 runs are finished\n")
