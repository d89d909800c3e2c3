"""The commands that make runs again, given back to the very parsers that read them."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from typing import Any

import pytest
from synthetic_runs import make_record

from sar_cls.commands import run as run_command
from sar_cls.commands import stage1 as stage1_command
from sar_cls.commands import stage2 as stage2_command
from sar_cls.reporting.html.rerun import command_of, commands
from sar_cls.runs.record import stage1_reference
from sar_cls.suites.places import CONFIGS
from sar_cls.suites.rows import load_suite
from sar_cls.suites.seeds import first_seeds

SUITE = load_suite(CONFIGS, "cifar100_lt")


def record(row: str = "mixup_sar", seed: int = 1024, **changes: Any) -> dict[str, Any]:
    full = make_record("cifar100_lt", row, seed, 40.0, **changes)
    return {
        "stage": 2 if full.get("stage1") else 1,
        "overrides": {},
        "stage1": None,
        "run_id": "a",
        "run": f"seed{seed}",
    } | full


def parsed(command: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    python, script, *arguments = shlex.split(command)
    assert python == "python"
    known = {
        "benchmarks/run.py": run_command,
        "longtail/stage1.py": stage1_command,
        "longtail/stage2.py": stage2_command,
    }
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    return known[script].parse()


def test_a_plain_run(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = parsed(command_of(record(), SUITE.row("mixup_sar")), monkeypatch)
    assert (arguments.suite, arguments.only) == ("cifar100_lt", ["mixup_sar"])
    assert 1024 in first_seeds(arguments.seeds)


def test_what_the_command_line_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = record(
        epochs=20,
        precision="bf16",
        overrides={"imbalance": 50.0, "val_fraction": 0.1, "backbone": "timm:resnet18", "bn_batch": 16},
        machine={"threads": 2},
        extra={"mode": "compile", "memory_format": "contiguous"},
    )
    arguments = parsed(command_of(changed, SUITE.row("mixup_sar")), monkeypatch)
    assert (arguments.epochs, arguments.imbalance, arguments.val_fraction) == (20, 50.0, 0.1)
    assert (arguments.backbone, arguments.bn_batch, arguments.precision) == ("timm:resnet18", 16, "bf16")
    assert (arguments.threads, arguments.mode, arguments.memory_format) == (2, "compile", "contiguous")


@pytest.mark.parametrize("change", [{"dataset": "cifar10"}, {"size": 32}])
def test_what_run_py_has_no_option_for_is_the_first_stages_script(
    change: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = parsed(command_of(record(seed=77, overrides=change), SUITE.row("mixup_sar")), monkeypatch)
    assert (arguments.method, arguments.seed) == ("mixup_sar", 77)


def test_a_seed_beyond_all_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = parsed(command_of(record(seed=2**31), SUITE.row("mixup_sar")), monkeypatch)
    assert arguments.seed == 2**31


def test_a_second_stage_by_suite_and_by_script(monkeypatch: pytest.MonkeyPatch) -> None:
    first = stage1_reference(record("mixup_sar", epochs=20))
    row = SUITE.row("mixup_sar_mislas")
    whole = record("mixup_sar_mislas", stage1=first, epochs=10, epochs_recipe=10)
    arguments = parsed(command_of(whole, row), monkeypatch)
    assert (arguments.suite, arguments.only, arguments.epochs) == ("cifar100_lt", [row.name], 20)
    short = record("mixup_sar_mislas", stage1=first, epochs=3, epochs_recipe=10)
    arguments = parsed(command_of(short, row), monkeypatch)
    assert str(arguments.stage1) == "work_dirs/cifar100_lt/mixup_sar/seed1024"
    assert (arguments.method, arguments.epochs) == ("mislas", 3)


def test_runs_of_one_setting_are_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [(record(row, seed), SUITE.row(row)) for row in ("mixup", "mixup_sar") for seed in first_seeds(4)]
    runs.append((record("mixup", epochs=20), SUITE.row("mixup")))
    found = commands(runs)
    assert [command.runs for command in found] == [8, 1]
    arguments = parsed(found[0].text, monkeypatch)
    assert (arguments.only, arguments.seeds, arguments.epochs) == (["mixup", "mixup_sar"], 4, None)
    assert parsed(found[1].text, monkeypatch).epochs == 20


def test_a_method_that_its_suite_has_no_row_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from sar_cls.suites.by_method import with_methods

    row = with_methods(load_suite(CONFIGS, "cifar10_lt"), CONFIGS).row("focal")
    arguments = parsed(
        command_of({**record("focal"), "suite": "cifar10_lt", "overrides": {"dataset": "cifar10"}}, row), monkeypatch
    )
    assert (arguments.method, arguments.dataset, arguments.seed) == ("focal", "cifar10", 1024)
    assert "stage1.py" in command_of({**record("focal"), "suite": "cifar10_lt"}, row)


def test_a_run_of_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Together with one process's of the same settings it is two commands."""
    shared = {
        "processes": 4,
        "batch_per_process": 32,
        "sync_bn": True,
        "batch_norm_images": 128,
        "local_statistics": True,
    }
    several, single = record(extra={"distributed": shared}), record(seed=5555)
    row = SUITE.row("mixup_sar")
    start, _, python = command_of(several, row).partition(" benchmarks/run.py ")
    assert start == "torchrun --nproc-per-node 4"
    arguments = parsed(f"python benchmarks/run.py {python}", monkeypatch)
    assert arguments.sync_bn
    assert arguments.local_statistics
    assert [command.text.split()[0] for command in commands([(several, row), (single, row)])] == ["torchrun", "python"]


def test_a_suite_that_does_not_come_along(monkeypatch: pytest.MonkeyPatch) -> None:
    row = dataclasses.replace(
        SUITE.row("mixup"), source=dataclasses.replace(SUITE.row("mixup").source, name="tails/mixup")
    )
    run = {**record("mixup"), "suite": "tails"}
    for command in (command_of(run, row), *(joined.text for joined in commands([(run, row)]))):
        assert command.startswith("python benchmarks/run.py --configs DIR --suite tails --only mixup ")
