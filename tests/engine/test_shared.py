"""What several processes cannot train together is refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config

from sar_cls import ranks
from sar_cls.cli import CONFIGS
from sar_cls.engine import options as engine_options
from sar_cls.engine import run as engine
from sar_cls.engine.options import Options, usable_device, visible_devices
from sar_cls.engine.run import DataCache, Job
from sar_cls.engine.shared import check_shared, check_started
from sar_cls.errors import InputError
from sar_cls.runs.folder import LAST

Planned = Callable[..., Any]
SECOND = f"""
_base_ = "{CONFIGS}/digits_lt/mixup.py"
data_preprocessor = dict(mixup_alpha=None)
model = dict(type="SecondStageClassifier", hold="frozen", head=dict(loss=dict(use_soft=False)))
"""


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def set_number(number: int, rank: int = 0) -> None:
        monkeypatch.setattr(ranks, "processes", lambda: number)
        monkeypatch.setattr(ranks, "local_processes", lambda: number)
        monkeypatch.setattr(ranks, "local_rank", lambda: rank)

    return set_number


def planned(*, batch: int = 128, options: Options | None = None, **config: Any) -> Any:
    """As much of a planned run as is looked at."""
    resolved = Config(dict(train_dataloader=dict(batch_size=batch), **config))
    return SimpleNamespace(suite="s", row="r", config=resolved, options=options or Options())


@pytest.mark.parametrize(
    ("run", "number", "words"),
    [
        (planned(options=Options(mode="cudagraph")), 2, "--mode cudagraph is for one process"),
        (planned(options=Options(mode="compile")), 2, "--mode compile is for one process"),
        (planned(batch=10), 4, "s/r trains on batches of 10 images, which 4 processes cannot share evenly"),
        (planned(bn_batch=16, options=Options(sync_bn=True)), 2, "leave --sync-bn or bn_batch out"),
        (planned(bn_batch=48), 2, "the 64 images of a process cannot be cut into virtual batches of 48"),
    ],
)
def test_refused(run: Any, number: int, words: str, processes: Callable[..., None]) -> None:
    processes(number)
    with pytest.raises(InputError, match=words):
        check_shared(run)
    processes(1)
    check_shared(run)


@pytest.mark.parametrize(
    "run",
    [
        planned(),
        planned(batch=10, posthoc=dict(type="tau_norm")),
        planned(bn_batch=16),
        planned(options=Options(mode="eager", sync_bn=True)),
    ],
)
def test_taken(run: Any, processes: Callable[..., None]) -> None:
    processes(4)
    check_shared(run)


def test_a_second_stage_is_asked_with_the_batch_norm_of_its_first(
    make_job: Callable[..., Job], cache: DataCache, processes: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command line of the second stage does not say it, only the folder of the first one does."""
    first = make_job(row="first")
    engine.run(first, Options(epochs=1, bn_batch=48), cache)
    second = make_job(SECOND, stage1_dir=first.run_dir)
    processes(2)
    monkeypatch.setattr(engine, "team", lambda: None)
    with pytest.raises(InputError, match="the 32 images of a process cannot be cut into virtual batches of 48"):
        engine.run(second, Options(stage2_epochs=1), cache)
    assert not second.run_dir.exists()


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of them, as far as this test goes."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.usefixtures("gpus")
def test_each_process_has_a_gpu(processes: Callable[..., None]) -> None:
    processes(2, rank=1)
    assert usable_device(None) == usable_device("cuda") == usable_device("cuda:1") == "cuda:1"
    assert visible_devices(None) == ["cuda:1"]
    assert usable_device("cpu") == "cpu"
    with pytest.raises(InputError, match="each has a CUDA device of its own, use --device cuda"):
        usable_device("cuda:0")


@pytest.mark.usefixtures("gpus")
def test_fewer_gpus_than_processes(processes: Callable[..., None]) -> None:
    processes(3)
    for name in (None, "cuda"):
        with pytest.raises(InputError, match="3 processes and 2 CUDA devices: each process needs one of its own"):
            usable_device(name)
    assert usable_device("cpu") == "cpu"
    assert engine_options.visible_devices("cpu") == ["cpu"]


def test_options_of_several_processes_in_a_single_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They change nothing there, but that a run which was begun with them goes on with them."""
    monkeypatch.setattr(ranks, "by_torchrun", lambda: False)
    for name in ("sync_bn", "local_statistics"):
        run = planned(options=Options(**{name: True}))
        run.run_dir = tmp_path
        option = f"--{name.replace('_', '-')}"
        with pytest.raises(InputError, match=f"^{option} is for several processes of one run: leave it out, or"):
            check_started([run])
        with monkeypatch.context() as patch:
            patch.setattr(ranks, "by_torchrun", lambda: True)
            check_started([run])
    (tmp_path / LAST).touch()
    check_started([run])
