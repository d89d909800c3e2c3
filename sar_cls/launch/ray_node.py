"""What a node of a Ray cluster does with a run: runs it, and where it shares no folder with the driver, sends back what it left."""

from __future__ import annotations

import functools
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sar_cls.engine.planned import PlannedRun
from sar_cls.engine.run import DataCache
from sar_cls.launch.attempt import try_run
from sar_cls.launch.lines import Lines
from sar_cls.launch.outcome import Attempt
from sar_cls.launch.ray_cluster import mismatch, own_versions
from sar_cls.mm.loaders import DataSplits
from sar_cls.runs.folder import BEST, ERROR_LOG, FILES, HISTORY_FILE, LAST, LOCK

Files = dict[str, bytes]


@dataclass(frozen=True)
class Parcel:
    """What a run needs on a node that sees no folder of the driver's.

    Attributes:
        work_dir: the driver's.
        dataset: the config's name for the images, and
        options_fraction: the share of the validation split, by which the run looks for them.
        run: files of the run so far.
        first: files of its first stage.
    """

    work_dir: Path
    dataset: dict[str, Any]
    val_fraction: float | None
    run: Files
    first: Files


class Desk:
    """An actor beside the driver where the nodes leave what they have to say and their checkpoints; the driver fetches both."""

    def __init__(self) -> None:
        self.lines: deque[tuple[str, str]] = deque(maxlen=10_000)
        self.files: dict[str, Files] = {}

    def say(self, title: str, line: str) -> None:
        self.lines.append((title, line))

    def keep(self, title: str, files: Files) -> None:
        self.files[title] = files

    def take(self) -> tuple[list[tuple[str, str]], dict[str, Files]]:
        taken = list(self.lines), self.files
        self.lines.clear()
        self.files = {}
        return taken


def run_on_node(
    planned: PlannedRun,
    parcel: Parcel | None,
    splits: DataSplits | None,
    desk: Any,
    expected: Mapping[str, str | None],
    patience: float = 0.0,
    seconds: float = 30.0,
) -> tuple[Attempt, Files]:
    """Runs it; returns how it ended and, where there is a parcel, what it left.

    Args:
        planned: the run.
        parcel: what it needs where no folder is shared.
        splits: its images, likewise; Ray brings them to each node once.
        desk: where lines and checkpoints go.
        expected: versions of the driver; a node that joined later may have others.
        patience: seconds to wait for a lock that a process on a dead node may still hold.
        seconds: between two checkpoints that are sent back.
    """
    problem = mismatch(dict(expected), own_versions())
    if problem is not None:
        reason = f"a node {problem}: install the same on all nodes"
        return Attempt(planned.title, "failed", f"{planned.title}: {reason}", refused=reason), {}
    lines = Lines(lambda line: desk.say.remote(planned.title, line))
    with redirect_stdout(lines), redirect_stderr(lines):
        if parcel is None:
            return _try_until(planned, _cache(), patience), {}
        assert splits is not None
        with tempfile.TemporaryDirectory(prefix="sar_cls-ray-") as folder:
            return run_parcel(
                planned, parcel, splits, Path(folder), lambda files: desk.keep.remote(planned.title, files), seconds
            )


def run_parcel(
    planned: PlannedRun,
    parcel: Parcel,
    splits: DataSplits,
    folder: Path,
    keep: Callable[[Files], object],
    seconds: float,
) -> tuple[Attempt, Files]:
    """Runs it in a folder of this node's; ``keep`` is given the checkpoints now and then."""
    here = elsewhere(planned, parcel.work_dir, folder)
    unpack(parcel.run, here.run_dir)
    if here.stage1_dir is not None:
        unpack(parcel.first, here.stage1_dir)
    cache = DataCache()
    cache.put(parcel.dataset, replace(here.options, val_fraction=parcel.val_fraction), splits)
    with _sending(here.run_dir, keep, seconds):
        attempt = try_run(here, cache)
    line = attempt.line.replace(str(folder), str(parcel.work_dir))
    return replace(attempt, line=line, refused=attempt.refused.replace(str(folder), str(parcel.work_dir))), pack(
        here.run_dir
    )


@functools.cache
def _cache() -> DataCache:
    """The data of this process, which Ray gives one run after the other."""
    return DataCache()


def _try_until(planned: PlannedRun, cache: DataCache, patience: float) -> Attempt:
    end = time.monotonic() + patience
    while True:
        attempt = try_run(planned, cache)
        if attempt.end != "locked" or time.monotonic() >= end:
            return attempt
        time.sleep(1)


def elsewhere(planned: PlannedRun, work_dir: Path, folder: Path) -> PlannedRun:
    """The same run below another folder than the work directory."""
    stage1 = planned.stage1_dir
    return replace(
        planned,
        run_dir=folder / planned.run_dir.relative_to(work_dir),
        stage1_dir=None if stage1 is None else folder / stage1.relative_to(work_dir),
    )


def pack(run_dir: Path) -> Files:
    """All files of a run but its lock; empty where there is none."""
    names = [name for name in (*FILES, ERROR_LOG) if name != LOCK]
    return {name: (run_dir / name).read_bytes() for name in names if (run_dir / name).is_file()}


def unpack(files: Files, run_dir: Path) -> None:
    """Writes files of a run into a folder that is this process's alone."""
    run_dir.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (run_dir / name).write_bytes(content)


def snapshot(run_dir: Path, tries: int = 10) -> Files:
    """The last checkpoint and the best one that belongs to it, of a run that goes on meanwhile; empty where there is none.

    Each is replaced as a whole, the best one first. Read between two looks at the same last one, the best is that of this epoch or
    of the next, and from both a run goes on to the same end (:mod:`sar_cls.mm.resume`).
    """
    for _ in range(tries):
        try:
            before = (run_dir / LAST).stat().st_ino, (run_dir / LAST).stat().st_mtime_ns
            files = {name: (run_dir / name).read_bytes() for name in (LAST, BEST, HISTORY_FILE)}
            if before == ((run_dir / LAST).stat().st_ino, (run_dir / LAST).stat().st_mtime_ns):
                return files
        except FileNotFoundError:
            return {}
    return {}


@contextmanager
def _sending(run_dir: Path, keep: Callable[[Files], object], seconds: float) -> Iterator[None]:
    """Sends a new checkpoint at most every so many seconds, in the background."""
    stop = threading.Event()

    def send() -> None:
        sent = None
        while not stop.wait(seconds):
            files = snapshot(run_dir)
            if files and files[LAST] != sent:
                sent = files[LAST]
                keep(files)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
