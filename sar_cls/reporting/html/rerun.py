"""The commands that make a run again, from its record."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sar_cls.bounds import MOST_SEEDS
from sar_cls.suites.by_method import FOLDERS
from sar_cls.suites.places import CONFIGS
from sar_cls.suites.rows import Row, list_suites
from sar_cls.suites.seeds import seeds_up_to

ELSEWHERE = "DIR"  # stands for the folder of suites of one's own

# What the command line changed about a recipe -> the option that did it.
_OPTIONS = {
    "imbalance": "--imbalance",
    "val_fraction": "--val-fraction",
    "classes": "--classes",
    "backbone": "--backbone",
    "bn_batch": "--bn-batch",
    "hold": "--hold",
    "weights": "--weights",
    "size": "--image-size",
    "dataset": "--dataset",
}


@dataclass(frozen=True)
class Command:
    """A command and how many of the report's runs it makes again.

    Attributes:
        text: the command, to be given in the root of the repository.
        runs: how many.
    """

    text: str
    runs: int


def command_of(record: Mapping[str, Any], row: Row) -> str:
    """The command for one run: ``run.py`` up to its seed, or the script of its stage where ``run.py`` has no such option."""
    if _by_suite(record, row):
        seeds = seeds_up_to(record["seed"])
        return _text(
            _start(record), "benchmarks/run.py", *_suite(record["suite"]), "--only", row.name, "--seeds", seeds,
            *_settings(record),
        )  # fmt: skip
    if record["stage"] == 1:
        arguments = ("--method", row.name, "--seed", record["seed"], *_settings(record))
        return _text(_start(record), "longtail/stage1.py", *arguments)
    first = record["stage1"]
    return _text(
        _start(record), "longtail/stage2.py", "--stage1", f"work_dirs/{first['suite']}/{first['row']}/{first['run']}",
        "--method", row.method, *_settings(record),
    )  # fmt: skip


def commands(runs: Iterable[tuple[Mapping[str, Any], Row]]) -> list[Command]:
    """As few commands as make all of these runs again, in the order of the runs; rows and seeds of one setting are joined.

    Args:
        runs: record and row of each.
    """
    joined: dict[tuple[Any, ...], tuple[list[str], int, int]] = {}
    single: dict[str, int] = {}
    for record, row in runs:
        if not _by_suite(record, row):
            single[command_of(record, row)] = single.get(command_of(record, row), 0) + 1
            continue
        key = (_start(record), record["suite"], *map(str, _settings(record)))
        rows, seeds, number = joined.get(key, ([], 0, 0))
        rows += [] if row.name in rows else [row.name]
        joined[key] = rows, max(seeds, seeds_up_to(record["seed"])), number + 1
    found = [
        Command(_text(start, "benchmarks/run.py", *_suite(suite), "--only", *rows, "--seeds", seeds, *settings), number)
        for (start, suite, *settings), (rows, seeds, number) in joined.items()
    ]
    return found + [Command(text, number) for text, number in single.items()]


def _suite(name: str) -> tuple[str, ...]:
    """The options for a suite; where one lies that does not come along, a report that others read cannot say."""
    return ("--suite", name) if name in list_suites(CONFIGS) else ("--configs", ELSEWHERE, "--suite", name)


def _by_suite(record: Mapping[str, Any], row: Row) -> bool:
    """Whether ``run.py`` can make the run."""
    overrides = {*record["overrides"], *(record["stage1"] or {"overrides": {}})["overrides"]}
    # A row for a method that its suite has none for builds on another suite's, and run.py does not know it.
    unknown = record["suite"] == FOLDERS or row.source.title != f"{record['suite']}/{record['row']}"
    beyond = unknown or bool(overrides & {"dataset", "size", "full_epochs"})
    shortened = record["stage"] == 2 and record["epochs"] != record["epochs_recipe"]
    return not beyond and not shortened and seeds_up_to(record["seed"]) <= MOST_SEEDS


def _settings(record: Mapping[str, Any]) -> list[Any]:
    """The options that changed the recipe, or the way of computing."""
    first = record["stage1"]
    overrides = {**(first["overrides"] if first else {}), **record["overrides"]}
    whole = record if first is None or record["epochs"] != record["epochs_recipe"] else first
    found: list[Any] = [] if whole["epochs"] == whole["epochs_recipe"] else ["--epochs", whole["epochs"]]
    for name, value in overrides.items():
        if name in _OPTIONS:
            found += [_OPTIONS[name], f"{value:g}" if isinstance(value, float) else value]
    found += ["--full-epochs"] if "full_epochs" in overrides else []
    found += [] if record["precision"] == "fp32" else ["--precision", record["precision"]]
    extra, machine = record["extra"], record["machine"]
    for option, value, usual in (
        ("--mode", extra.get("mode"), "eager"),
        ("--memory-format", extra.get("memory_format"), "channels_last"),
    ):
        found += [] if value in (None, usual) else [option, value]
    shared = extra.get("distributed", {})
    found += ["--sync-bn"] if shared.get("sync_bn") else []
    found += ["--local-statistics"] if shared.get("local_statistics") else []
    if record["device"] == "cpu" and machine.get("threads"):
        found += ["--threads", machine["threads"]]
    return found


def _start(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """What starts the program: as many processes as have trained the run together."""
    processes = record["extra"].get("distributed", {}).get("processes", 1)
    return ("python",) if processes == 1 else ("torchrun", "--nproc-per-node", processes)


def _text(start: tuple[Any, ...], *words: Any) -> str:
    return shlex.join(map(str, (*start, *words)))
