"""The training step of CamVid's nets, as a run has it, does not wait for its device: on torch's meta device, and on CUDA."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_scenes import DENSE, DENSE_SAR, write_camvid
from torch import Tensor
from torch.overrides import TorchFunctionMode

pytest.importorskip("mmseg", reason="mmsegmentation is not installed: pip install 'sar-cls[seg]'")

from steps.test_no_host_sync import OneDeviceOnly, _to_meta, no_autocast_on_meta, sgd  # noqa: F401 (a fixture)

from sar_cls.engine.options import Options
from sar_cls.engine.planned import fit, plan
from sar_cls.engine.training import build_runner
from sar_cls.mm.loaders import load_splits
from sar_cls.mm.runner import DeviceRunner
from sar_cls.steps.step import EagerStep

CASES = {
    "plain": DENSE,
    "SAR": DENSE_SAR,
    "ProtoSeg": DENSE + 'model["decode_head"]["classifier"] = dict(type="protoseg")\n',
    "windows of several classes": DENSE + 'data_preprocessor["cat_max_ratio"] = 0.75\n',
}
Ready = Callable[..., Any]


class NothingFromTheHost(TorchFunctionMode):
    """Refuses to make a tensor of Python's numbers: CUDA waits for the copy, which the meta device does not make."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.tensor, torch.as_tensor, torch.from_numpy, Tensor.new_tensor):
            raise AssertionError(f"{func} copies from the host")
        return func(*args, **(kwargs or {}))


@pytest.fixture
def ready(make_job: Callable[..., Any], tmp_path: Path) -> Ready:
    """Builds the runner of a run on a tiny CamVid."""
    write_camvid(tmp_path, n=6, size=(40, 48))

    @contextmanager
    def build(text: str, device: str = "cpu") -> Iterator[DeviceRunner]:
        planned = plan(make_job(text), Options(data_root=str(tmp_path), device=device))
        splits = load_splits(planned.data, str(tmp_path))
        runner, _ = build_runner(fit(planned, splits), splits)
        try:
            runner.model.train()
            runner.train_dataloader.draw = runner.model.data_preprocessor.draw  # as the loop does
            yield runner
        finally:
            runner.close()

    return build


@pytest.mark.parametrize("case", CASES)
def test_no_step_reads_a_value_or_touches_the_host(case: str, ready: Ready) -> None:
    with ready(CASES[case]) as runner:
        batches = [_to_meta(batch) for batch in runner.train_dataloader]
        model = runner.model.to("meta")
        step = EagerStep(model, sgd(model))
        step.begin_epoch()
        step(batches[0])  # the optimizer makes its buffers
        with OneDeviceOnly("meta") as watched, NothingFromTheHost():
            for batch in batches[1:]:
                step(batch)
    assert watched.operations > 100


@pytest.mark.parametrize("make", [lambda x: x.new_tensor(255), lambda x: torch.tensor([5.0], device=x.device)])
def test_the_watch_sees_what_comes_from_the_host(make: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(AssertionError, match="copies from the host"), NothingFromTheHost():
        make(torch.empty(2, device="meta"))


@pytest.mark.cuda
@pytest.mark.parametrize("case", CASES)
def test_no_step_waits_for_the_device(case: str, ready: Ready) -> None:
    with ready(CASES[case], "cuda") as runner:
        step, batches = EagerStep(runner.model, sgd(runner.model)), list(runner.train_dataloader)
        step.begin_epoch()
        for batch in batches:  # kernels chosen
            step(batch)
        torch.cuda.set_sync_debug_mode("error")
        try:
            for batch in batches:
                step(batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")
