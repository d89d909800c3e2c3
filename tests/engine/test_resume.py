"""Going on with one of the two checkpoints lost or odd."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stopped_runs import stop_after
from tiny_runs import TINY, files_of

from sar_cls.engine import run as engine
from sar_cls.engine.options import Options
from sar_cls.engine.run import DataCache, Job
from sar_cls.errors import InputError
from sar_cls.mm import loops
from sar_cls.runs.checkpoint import read_checkpoint
from sar_cls.runs.folder import BEST, LAST
from sar_cls.runs.record import is_finished
from sar_cls.suites.rows import Source

MakeJob = Callable[..., Job]
FOUR = TINY.replace("max_epochs=2", "max_epochs=4").replace("T_max=2", "T_max=4")


@pytest.fixture
def accuracies(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The test accuracy that is found after each epoch; the test fills it in."""
    values: list[float] = []

    def found(self: loops.DeviceValLoop) -> dict[str, float]:
        return {"test_top1": values[self.runner.epoch - 1], "test_top5": 99.0}

    monkeypatch.setattr(loops.DeviceValLoop, "run", found)
    return values


def kept(job: Job) -> dict[str, bytes]:
    """The files of a run but for mmengine's log, which gets a few lines at every start."""
    return {name: content for name, content in files_of(job.run_dir).items() if not name.startswith("log")}


def best_outputs(job: Job) -> np.ndarray:
    with np.load(job.run_dir / "test_outputs.npz") as file:
        return file["logits_best"]


def missing(path: Path) -> None:
    path.unlink()


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def of_another_run(path: Path) -> None:
    state = torch.load(path, weights_only=True)
    state["meta"]["seed"] = "7"
    state["state_dict"]["head.fc.bias"] += 1000.0
    torch.save(state, path)


LOST = pytest.mark.parametrize("lose", [missing, damaged, of_another_run])


class TestLostBest:
    @LOST
    def test_the_best_is_looked_for_from_the_present_epoch_on(
        self,
        lose: Callable[[Path], None],
        make_job: MakeJob,
        cache: DataCache,
        accuracies: list[float],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        accuracies += [50.0, 40.0, 45.0, 30.0]
        job = make_job(FOUR)
        stop_after(2, job, cache)
        lose(job.run_dir / BEST)
        record = engine.run(job, Options(), cache)
        assert record["best_epoch"] == 3
        assert record["extra"]["lost_best_epoch"] == 1
        assert record["extra"]["best_searched_from"] == 2
        assert read_checkpoint(job.run_dir / BEST)["meta"]["epoch"] == 3
        assert np.abs(best_outputs(job)).max() < 500  # nothing of a foreign classifier
        assert "the best epoch so far (1) are unknown" in capsys.readouterr().err.replace("\n", " ")
        assert (job.run_dir / f"{BEST}.unusable").exists() == (lose is not missing)

    def test_it_stays_known_over_a_further_interruption(
        self, make_job: MakeJob, cache: DataCache, accuracies: list[float]
    ) -> None:
        accuracies += [50.0, 40.0, 35.0, 30.0]
        job = make_job(FOUR)
        stop_after(2, job, cache)
        (job.run_dir / BEST).unlink()
        stop_after(3, job, cache)
        record = engine.run(job, Options(), cache)
        assert (record["best_epoch"], record["extra"]["lost_best_epoch"]) == (2, 1)

    def test_a_later_epoch_that_is_better_makes_up_for_it(
        self, make_job: MakeJob, cache: DataCache, accuracies: list[float]
    ) -> None:
        accuracies += [50.0, 40.0, 60.0, 30.0]
        job = make_job(FOUR)
        stop_after(2, job, cache)
        (job.run_dir / BEST).unlink()
        record = engine.run(job, Options(), cache)
        assert record["best_epoch"] == 3
        assert "lost_best_epoch" not in record["extra"]

    @LOST
    def test_nothing_is_lost_where_the_last_epoch_is_the_best(
        self,
        lose: Callable[[Path], None],
        make_job: MakeJob,
        cache: DataCache,
        accuracies: list[float],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        accuracies += [40.0, 50.0, 45.0, 30.0]
        whole, job = make_job(FOUR, row="whole"), make_job(FOUR)
        first = engine.run(whole, Options(), cache)
        stop_after(2, job, cache)
        lose(job.run_dir / BEST)
        record = engine.run(job, Options(), cache)
        assert f"written anew from {LAST}" in capsys.readouterr().err
        assert record["metrics"] == first["metrics"]
        assert "lost_best_epoch" not in record["extra"]
        assert np.array_equal(best_outputs(job), best_outputs(whole))

    def test_a_best_of_an_earlier_epoch_of_the_same_run(
        self, make_job: MakeJob, cache: DataCache, accuracies: list[float], tmp_path: Path
    ) -> None:
        accuracies += [40.0, 50.0, 45.0, 30.0]
        job = make_job(FOUR)
        stop_after(1, job, cache)
        shutil.copy(job.run_dir / BEST, tmp_path / "old")
        stop_after(3, job, cache)
        shutil.copy(tmp_path / "old", job.run_dir / BEST)
        record = engine.run(job, Options(), cache)
        assert (record["best_epoch"], record["extra"]["lost_best_epoch"]) == (3, 2)

    def test_all_was_trained_and_only_the_record_is_missing(
        self, make_job: MakeJob, cache: DataCache, accuracies: list[float]
    ) -> None:
        accuracies += [50.0, 40.0]
        job = make_job()
        stop_after(2, job, cache)
        damaged(job.run_dir / BEST)
        record = engine.run(job, Options(), cache)
        assert (record["best_epoch"], record["extra"]["lost_best_epoch"]) == (2, 1)
        assert record["metrics"]["best"] == record["metrics"]["last"]

    def test_an_epoch_that_is_repeated_with_another_outcome(
        self, make_job: MakeJob, cache: DataCache, accuracies: list[float], tmp_path: Path
    ) -> None:
        """Killed between best.pth and last.pth of epoch 2, which is not the best when it comes again (on another device, say)."""
        accuracies += [40.0, 50.0, 45.0, 30.0]
        job = make_job(FOUR)
        stop_after(1, job, cache)
        shutil.copy(job.run_dir / LAST, tmp_path / "old")
        stop_after(2, job, cache)
        shutil.copy(tmp_path / "old", job.run_dir / LAST)
        accuracies[1] = 35.0
        record = engine.run(job, Options(), cache)
        assert record["best_epoch"] == 3
        accuracies[:] = [40.0, 35.0, 30.0, 20.0]
        again = make_job(FOUR, row="again")
        stop_after(1, again, cache)
        shutil.copy(again.run_dir / LAST, tmp_path / "old")
        accuracies[1] = 50.0
        stop_after(2, again, cache)
        shutil.copy(tmp_path / "old", again.run_dir / LAST)
        accuracies[1] = 35.0
        record = engine.run(again, Options(), cache)
        assert (record["best_epoch"], record["extra"]["lost_best_epoch"]) == (2, 1)
        assert read_checkpoint(again.run_dir / BEST)["meta"]["epoch"] == 2

    def test_one_that_cannot_be_read_is_not_called_damaged(
        self, make_job: MakeJob, cache: DataCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = make_job()
        stop_after(1, job, cache)
        before, opened = kept(job), Path.open

        def refuse(self: Path, *arguments: Any, **more: Any) -> Any:
            if self.name == BEST:
                raise PermissionError(13, "Permission denied", str(self))
            return opened(self, *arguments, **more)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", refuse)
            with pytest.raises(InputError, match=r"best\.pth cannot be read \(Permission denied\)") as error:
                engine.run(job, Options(), cache)
        assert "damaged" not in str(error.value)
        assert kept(job) == before
        engine.run(job, Options(), cache)
        assert is_finished(job.run_dir)


def change(path: Sequence[Any], value: Any) -> Callable[[dict], None]:
    """Puts ``value`` at a place in a nest of containers; "gone" takes the place away."""

    def apply(state: dict) -> None:
        inside: Any = state
        for key in path[:-1]:
            inside = inside[key]
        if value == "gone":
            del inside[path[-1]]
        else:
            inside[path[-1]] = value

    return apply


def wrong_weight(state: dict) -> None:
    state["state_dict"]["head.fc.weight"] = torch.zeros(3, 3)


def wrong_momentum(state: dict) -> None:
    state["optimizer"]["state"][0]["momentum_buffer"] = torch.zeros(2)


ODD = {
    "no meta": (change(["meta"], "gone"), "was not written by this project"),
    "meta is a list": (change(["meta"], [1]), "its meta is list"),
    "no epoch": (change(["meta", "epoch"], "gone"), "its epoch is None"),
    "negative epoch": (change(["meta", "epoch"], -1), "its epoch is -1"),
    "epoch 0": (change(["meta", "epoch"], 0), "its epoch is 0"),
    "epoch as text": (change(["meta", "epoch"], "1"), "its epoch is '1'"),
    "epoch beyond the end": (change(["meta", "epoch"], 10**30), "of 2"),
    "no iteration": (change(["meta", "iter"], "gone"), "its iter is None"),
    "another iteration": (change(["meta", "iter"], 3), "step 3 after 1 epochs"),
    "best from the future": (change(["meta", "best_from"], 2), "from epoch 2 on"),
    "threads as text": (change(["meta", "threads"], "1"), "its threads are '1'"),
    "instructions as text": (change(["meta", "cpu_capabilities"], "AVX2"), "its cpu_capabilities are 'AVX2'"),
    "statistics of parts": (
        change(["meta", "statistics_parts"], 4),
        "over each of 4 parts of a batch so far and would take them over the whole batch",
    ),
    "no optimizer": (change(["optimizer"], "gone"), "weights alone"),
    "empty optimizer": (change(["optimizer"], {}), "does not fit this run"),
    "optimizer is a list": (change(["optimizer"], []), "does not fit this run"),
    "rate as text": (change(["optimizer", "param_groups", 0, "lr"], "fast"), "lr is of type str, not float"),
    "no rate": (change(["optimizer", "param_groups", 0, "lr"], "gone"), "has no lr"),
    "no groups": (change(["optimizer", "param_groups"], []), "has 0 entries, not 1"),
    "momentum of another net": (wrong_momentum, "a momentum_buffer is"),
    "no schedule": (change(["param_schedulers"], []), "does not fit this run"),
    "schedule as text": (change(["param_schedulers", 0, "last_step"], "x"), "last_step is of type str"),
    "schedule of another kind": (change(["param_schedulers", 0], {"colour": 1}), "does not fit this run"),
    "no history": (change(["history"], []), "its history is not that of 1 epochs"),
    "history is a number": (change(["history"], 3), "its history is not that of 1 epochs"),
    "no accuracy": (change(["history", 0, "test_top1"], "gone"), "its history has no test_top1"),
    "weights of another shape": (wrong_weight, r"size mismatch for head\.fc\.weight"),
    "no weights": (change(["state_dict"], {}), r"Missing key"),
    "weights are numbers": (change(["state_dict", "head.fc.weight"], 1.0), "no dict of tensors"),
}


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, cache: DataCache) -> Path:
    """A run after the first of its two epochs."""
    folder = tmp_path_factory.mktemp("begun")
    (folder / "row.py").write_text(TINY)
    stop_after(1, Job("tiny", "row", Source(folder / "row.py"), 1, folder / "run"), cache)
    return folder / "run"


class TestOddLast:
    @pytest.mark.parametrize("name", ODD)
    def test_one_sentence_and_nothing_changed(
        self, name: str, begun: Path, make_job: MakeJob, cache: DataCache, tmp_path: Path
    ) -> None:
        spoil, words = ODD[name]
        job = make_job(run_dir=tmp_path / "run")
        shutil.copytree(begun, job.run_dir)
        state = torch.load(job.run_dir / LAST, weights_only=True)
        spoil(state)
        torch.save(state, job.run_dir / LAST)
        before = kept(job)
        with pytest.raises(InputError, match=words) as error:
            engine.run(job, Options(), cache)
        message = str(error.value)
        assert len(message.splitlines()) == 1
        assert str(job.run_dir / LAST) in message
        assert "away to start this run over" in message
        assert kept(job) == before

    def test_checkpoints_of_version_0_1_go_on(
        self, begun: Path, make_job: MakeJob, cache: DataCache, tmp_path: Path
    ) -> None:
        job = make_job(run_dir=tmp_path / "run")
        shutil.copytree(begun, job.run_dir)
        for name in (LAST, BEST):
            state = torch.load(job.run_dir / name, weights_only=True)
            for later in ("best_from", "threads", "cpu_capabilities", "statistics_parts"):
                del state["meta"][later]
            torch.save(state, job.run_dir / name)
        record = engine.run(job, Options(), cache)
        assert not {"threads_used", "cpu_capabilities_used"} & set(record["machine"])
