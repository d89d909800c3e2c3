"""What a node does with a run that comes as a parcel, without a cluster round it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_runs import TINY, files_of

from sar_cls.engine.job import Job
from sar_cls.engine.options import Options
from sar_cls.engine.planned import PlannedRun, plan
from sar_cls.engine.run import DataCache, run_planned
from sar_cls.launch.ray_node import Desk, Parcel, elsewhere, pack, run_parcel, snapshot, unpack
from sar_cls.runs import folder
from sar_cls.runs.folder import BEST, HISTORY_FILE, LAST, OUTPUTS_FILE
from sar_cls.runs.record import is_finished

MakeJob = Callable[..., Job]


@pytest.fixture
def planned(make_job: MakeJob, tmp_path: Path) -> PlannedRun:
    return plan(make_job(TINY, run_dir=tmp_path / "work" / "tiny" / "row" / "seed1"), Options(threads=1))


def test_a_parcel_is_run_elsewhere_and_comes_back_as_if_it_had_been_run_here(
    planned: PlannedRun, cache: DataCache, tmp_path: Path
) -> None:
    work_dir, node = tmp_path / "work", tmp_path / "node"
    dataset = planned.config.train_dataloader.dataset.to_dict()
    splits = cache.get(dataset, planned.options)
    parcel = Parcel(work_dir, dataset, None, run={}, first={})
    nowhere = planned.on(data_root=str(tmp_path / "nowhere"))  # the images come with it
    attempt, files = run_parcel(nowhere, parcel, splits, node, lambda _: None, seconds=60)
    assert attempt.end == "done", attempt.line
    assert not work_dir.exists()
    unpack(files, planned.run_dir)
    assert is_finished(planned.run_dir)
    assert folder.LOCK not in files
    other = elsewhere(planned, work_dir, tmp_path / "alone")
    run_planned(other, cache)
    assert (planned.run_dir / OUTPUTS_FILE).read_bytes() == (other.run_dir / OUTPUTS_FILE).read_bytes()


def test_messages_speak_of_the_driver_s_folder(planned: PlannedRun, cache: DataCache, tmp_path: Path) -> None:
    dataset = planned.config.train_dataloader.dataset.to_dict()
    parcel = Parcel(tmp_path / "work", dataset, None, run={LAST: b"something else"}, first={})
    attempt, _ = run_parcel(
        planned, parcel, cache.get(dataset, planned.options), tmp_path / "node", lambda _: None, seconds=60
    )
    assert attempt.refused
    assert str(planned.run_dir / LAST) in attempt.line
    assert "node" not in attempt.line


def test_files_of_a_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert pack(run) == {}
    files = {LAST: b"1", BEST: b"2", folder.ERROR_LOG: b"3"}
    unpack(files, run)
    (run / folder.LOCK).touch()
    (run / "notes.txt").touch()
    assert pack(run) == files
    assert set(files_of(run)) == {*files, "notes.txt"}


class TestSnapshot:
    def write(self, run: Path, epoch: int, *names: str) -> None:
        """As a run does: each file is replaced as a whole."""
        for name in names:
            (run / "new").write_bytes(str(epoch).encode())
            (run / "new").replace(run / name)

    def test_nothing_yet(self, tmp_path: Path) -> None:
        assert snapshot(tmp_path) == {}

    def test_last_and_best_are_of_one_moment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """An epoch that ends while the files are read: what was read so far is thrown away."""
        self.write(tmp_path, 1, BEST, LAST, HISTORY_FILE)
        read, ends = Path.read_bytes, [2, 3]

        def slow(path: Path) -> bytes:
            content = read(path)
            if path.name == BEST and ends:
                self.write(tmp_path, ends.pop(0), BEST, LAST, HISTORY_FILE)
            return content

        monkeypatch.setattr(Path, "read_bytes", slow)
        assert snapshot(tmp_path) == {LAST: b"3", BEST: b"3", HISTORY_FILE: b"3"}

    def test_it_gives_up_where_it_never_holds_still(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.write(tmp_path, 1, BEST, LAST, HISTORY_FILE)
        read, number = Path.read_bytes, iter(range(2, 1000))

        def restless(path: Path) -> bytes:
            self.write(tmp_path, next(number), LAST)
            time.sleep(0.002)
            return read(path)

        monkeypatch.setattr(Path, "read_bytes", restless)
        assert snapshot(tmp_path, tries=3) == {}


def test_a_desk_gives_everything_once_and_the_newest_files() -> None:
    desk = Desk()
    desk.say("a", "a: one")
    desk.keep("a", {LAST: b"1"})
    desk.keep("a", {LAST: b"2"})
    desk.say("b", "b: two")
    assert desk.take() == ([("a", "a: one"), ("b", "b: two")], {"a": {LAST: b"2"}})
    assert desk.take() == ([], {})
