"""A finished run counts only for what it was asked to be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sar_cls import ranks
from sar_cls.data import ImageSet
from sar_cls.engine.options import Options
from sar_cls.engine.planned import plan
from sar_cls.engine.recipe import resolve, run_name
from sar_cls.engine.run import Job, finished, run
from sar_cls.errors import InputError
from sar_cls.mm.loaders import DataSplits, _check_complete
from sar_cls.models.library_backbones import build_backbone
from sar_cls.runs.record import RECORD_FILE
from sar_cls.suites.rows import Source

CONFIGS = Path(__file__).parents[2] / "configs"
SHORT = Options(epochs=1, stage2_epochs=1)


def image_set(counts: list[int], split: str) -> ImageSet:
    """Images of one pixel, so many of each class."""
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    images = torch.zeros(len(labels), 1, 1, 3, dtype=torch.uint8)
    return ImageSet(images, labels, tuple(str(c) for c in range(len(counts))), "cifar100", split)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("finished")
    config = shutil.copy(CONFIGS / "digits" / "baseline.py", folder / "baseline.py")
    job = Job("digits", "baseline", Source(Path(config)), 0, folder / "run")
    run(job, SHORT)
    return job


def test_the_same_again_is_finished(first: Job) -> None:
    done = finished(plan(first, SHORT))
    assert done is not None
    assert done["epochs"] == 1


def test_another_folder_is_not(first: Job, tmp_path: Path) -> None:
    assert finished(plan(replace(first, run_dir=tmp_path), SHORT)) is None


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (Options(epochs=2), "epochs"),
        (Options(epochs=1, precision="bf16"), "precision"),
        (Options(epochs=1, val_fraction=0.1), "overrides"),
    ],
)
def test_a_run_of_other_options_is_refused(first: Job, options: Options, what: str) -> None:
    with pytest.raises(InputError, match=f"another {what} than is asked for"):
        run(first, options)


def test_a_run_of_an_edited_config_is_refused(first: Job, tmp_path: Path) -> None:
    edited = tmp_path / "baseline.py"
    edited.write_text(first.source.config.read_text(encoding="utf-8").replace("lr=0.05", "lr=0.06"), encoding="utf-8")
    with pytest.raises(InputError, match="another config hash"):
        run(replace(first, source=Source(edited)), SHORT)


def of_processes(number: int, **how: Any) -> dict[str, Any]:
    """What a record says of several processes; the batch has 64 images."""
    parts = {"processes": number, "batch_per_process": 64 // number, "batch_norm_images": 64 // number}
    return {**parts, "sync_bn": False, "local_statistics": False, **how}


SYNC = of_processes(4, sync_bn=True, batch_norm_images=64)


class TestPartsOfABatch:
    """What several processes have had a part of each is compared with what is asked for."""

    @pytest.fixture
    def ask(self, first: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
        def ask(said: dict[str, Any] | None, processes: int, **options: bool) -> Any:
            job = replace(first, run_dir=tmp_path / "run")
            shutil.copytree(first.run_dir, job.run_dir)
            file = job.run_dir / RECORD_FILE
            record = json.loads(file.read_text(encoding="utf-8"))
            record["extra"] |= {} if said is None else {"distributed": said}
            file.write_text(json.dumps(record), encoding="utf-8")
            monkeypatch.setattr(ranks, "processes", lambda: processes)
            return finished(plan(job, replace(SHORT, **options)))

        return ask

    @pytest.mark.parametrize(
        ("said", "processes", "options", "words"),
        [
            (of_processes(4), 1, {}, "batch norm saw 16 images at a time, and now it would see 64"),
            (of_processes(4), 2, {}, "batch norm saw 16 images at a time, and now it would see 32"),
            (of_processes(4), 4, {"sync_bn": True}, "batch norm saw 16 images at a time, and now it would see 64"),
            (SYNC, 4, {}, "batch norm saw 64 images at a time, and now it would see 16"),
            ({**SYNC, "local_statistics": True}, 4, {"sync_bn": True}, "over 1/4 of a batch, and now it would be 1/1"),
            ({**SYNC, "local_statistics": True}, 1, {}, "over 1/4 of a batch, and now it would be 1/1"),
            (SYNC, 4, {"sync_bn": True, "local_statistics": True}, "over 1/1 of a batch, and now it would be 1/4"),
            (None, 2, {"sync_bn": True, "local_statistics": True}, "over 1/1 of a batch, and now it would be 1/2"),
        ],
    )
    def test_others_are_refused(
        self, said: Any, processes: int, options: dict[str, bool], words: str, ask: Callable[..., Any]
    ) -> None:
        with pytest.raises(InputError, match=words):
            ask(said, processes, **options)

    @pytest.mark.parametrize(
        ("said", "processes", "options"),
        [
            (of_processes(4), 4, {}),
            (SYNC, 1, {}),
            (SYNC, 2, {"sync_bn": True}),
            (None, 2, {"sync_bn": True}),
            (None, 1, {"local_statistics": True}),
            (of_processes(4, local_statistics=True), 4, {"local_statistics": True}),
            (of_processes(4, batch_norm_images=None), 1, {}),  # a net without
            (of_processes(4, batch_norm_images=64), 2, {}),  # one whose recipe synchronises them
        ],
    )
    def test_the_same_are_finished(
        self, said: Any, processes: int, options: dict[str, bool], ask: Callable[..., Any]
    ) -> None:
        assert ask(said, processes, **options)["epochs"] == 1


def test_a_second_stage_of_a_first_one_that_was_trained_again_is_refused(first: Job, tmp_path: Path) -> None:
    second = Job("digits", "cRT", Source(CONFIGS / "cifar100_lt" / "crt.py"), 0, tmp_path / "second", first.run_dir)
    run(second, SHORT)
    assert finished(plan(second, SHORT)) is not None
    again = replace(first, run_dir=tmp_path / "again")
    run(again, SHORT)
    with pytest.raises(InputError, match="another first stage"):
        run(replace(second, stage1_dir=again.run_dir), SHORT)


def test_weights_are_told_apart_by_content(tmp_path: Path) -> None:
    names = []
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        torch.manual_seed(seed)
        file = tmp_path / str(seed) / "weights.pth"
        torch.save(build_backbone("timm:resnet18", num_classes=2).model.state_dict(), file)
        options = Options(backbone="timm:resnet18", weights=str(file))
        names.append(run_name(0, options, resolve(Source(CONFIGS / "digits" / "baseline.py"), options)))
    assert names[0] != names[1]


def test_the_published_file_given_by_hand_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "mine.pth"
    file.write_bytes(b"published")
    digest = "b3f6d1a5"
    config = tmp_path / "row.py"
    text = (CONFIGS / "digits" / "baseline.py").read_text(encoding="utf-8")
    options = Options(weights=str(file))
    config.write_text(f'{text}\nweights = "somewhere/net-{digest}.pth"\n', encoding="utf-8")
    assert resolve(Source(config), options).overrides["weights"].startswith("mine-")
    label = resolve(Source(config), options).overrides["weights"].removeprefix("mine-")
    config.write_text(f'{text}\nweights = "somewhere/net-{label}.pth"\n', encoding="utf-8")
    assert resolve(Source(config), options).overrides == {}


def test_an_incomplete_cifar_is_refused() -> None:
    train, test = image_set([500] * 99 + [499], "train"), image_set([100] * 100, "test")
    with pytest.raises(InputError, match="has 499 images of class '99' and not 500"):
        _check_complete("cifar100", train, test)
    _check_complete("cifar100", image_set([500] * 100, "train"), test)
    _check_complete("folder", train, test)
    assert DataSplits(train, test).val is None


class TestKeptRuns:
    """Of a run that ``report.py --keep`` has copied the record is left, and no net."""

    @pytest.fixture
    def kept(self, first: Job, tmp_path: Path) -> tuple[Job, Job]:
        """A first and a second stage, both finished, of which the record alone is left."""
        one = replace(first, run_dir=tmp_path / "one")
        shutil.copytree(first.run_dir, one.run_dir)
        source = Source(CONFIGS / "digits_lt" / "mislas.py")
        two = Job("digits", "mislas", source, 0, tmp_path / "two", one.run_dir)
        run(two, SHORT)
        for job in (one, two):
            for file in job.run_dir.iterdir():
                if file.name != RECORD_FILE:
                    shutil.rmtree(file) if file.is_dir() else file.unlink()
        return one, two

    def test_a_finished_second_stage_is_finished(self, kept: tuple[Job, Job]) -> None:
        for job in kept:
            assert finished(plan(job, SHORT)) is not None

    def test_one_that_started_from_another_run_is_refused(self, kept: tuple[Job, Job]) -> None:
        one, two = kept
        file = one.run_dir / RECORD_FILE
        file.write_text(file.read_text(encoding="utf-8").replace('"run_id": "', '"run_id": "0'), encoding="utf-8")
        with pytest.raises(InputError, match="started from another first stage"):
            finished(plan(two, SHORT))

    def test_another_second_stage_cannot_start_from_it(self, kept: tuple[Job, Job], tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"one is a kept run, without its net and weights, .* leave such rows out"):
            run(replace(kept[1], run_dir=tmp_path / "three"), SHORT)
        assert not (tmp_path / "three").exists()
