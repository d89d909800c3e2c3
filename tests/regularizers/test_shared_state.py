"""Two processes that draw different anchors hold the same ones after the first training step, however they are wrapped."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor, nn

import sar_cls
from sar_cls import SAR, FixedAnchors, Regularizer

from .two_processes import run_in_two

C, D, N, STEPS = 5, 6, 8, 12
Step = Callable[[Tensor, Tensor], tuple[Tensor, dict[str, Tensor]]]


def sar() -> SAR:
    return SAR(C, D, delta=0.25, momentum=0.5)


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, D), nn.ReLU(), nn.Linear(D, C))


def ddp_without_buffers() -> tuple[nn.Module, Step, Regularizer]:
    model = sar_cls.attach(net(), sar())
    wrapped = nn.parallel.DistributedDataParallel(model, broadcast_buffers=False)
    return wrapped, wrapped, model.regularizer


def regularizer_beside_ddp() -> tuple[nn.Module, Step, Regularizer]:
    model, regularizer = net(), sar()
    wrapped = nn.parallel.DistributedDataParallel(model, broadcast_buffers=False)

    def step(inputs: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return wrapped(inputs), regularizer(model[:2](inputs), targets, model[2])

    return nn.ModuleList([model, regularizer]), step, regularizer


def fully_sharded(*, parts: bool, half: bool = False) -> tuple[nn.Module, Step, Regularizer]:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh("cpu", (2,))
    model = sar_cls.attach(net(), sar())
    regularizer = model.regularizer
    if parts:
        fully_shard(regularizer, mesh=mesh)
        for layer in (model.model[0], model.model[2]):
            fully_shard(layer, mesh=mesh)
    elif half:
        fully_shard(regularizer, mesh=mesh)
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16) if half else MixedPrecisionPolicy()
    fully_shard(model, mesh=mesh, mp_policy=policy)
    return model, model, regularizer


def compiled(*, whole: bool = False) -> tuple[nn.Module, Step, Regularizer]:
    model = sar_cls.attach(net(), sar())
    if whole:
        model.regularizer.synchronize()
    torch._dynamo.reset()
    wrapped = nn.parallel.DistributedDataParallel(
        torch.compile(model, backend="eager", fullgraph=whole), broadcast_buffers=False
    )
    return wrapped, wrapped, model.regularizer


CASES: dict[str, Callable[[], tuple[nn.Module, Step, Regularizer]]] = {
    "DDP without buffers": ddp_without_buffers,
    "beside DDP": regularizer_beside_ddp,
    "FSDP2": lambda: fully_sharded(parts=False),
    "FSDP2 in parts": lambda: fully_sharded(parts=True),
    "FSDP2 in bfloat16": lambda: fully_sharded(parts=False, half=True),
    "compiled": compiled,
    "compiled whole, synchronized before": lambda: compiled(whole=True),
}
BY_HAND = "compiled whole, synchronized before"


def train(step: Step, model: nn.Module, calls: list[str]) -> list[int]:
    """Some steps on the process's own images; how many broadcasts each took."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    sent = []
    for _ in range(STEPS):
        calls.clear()
        targets = torch.randint(C, (N,))
        logits, losses = step(torch.randn(N, 4), targets)
        optimizer.zero_grad()
        (F.cross_entropy(logits.float(), targets) + torch.stack(list(losses.values())).sum()).backward()
        optimizer.step()
        sent.append(len(calls))
    return sent


def one_process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message=".*broadcast_buffers. is deprecated", category=FutureWarning)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    calls: list[str] = []
    broadcast = torch.distributed.broadcast

    def counted(*args: object, **kwargs: object) -> object:
        calls.append("broadcast")
        return broadcast(*args, **kwargs)  # type: ignore[arg-type]

    torch.distributed.broadcast = counted  # type: ignore[assignment]
    results: dict[str, dict[str, object]] = {}
    for name, build in CASES.items():
        torch.manual_seed(100 + rank)
        model, step, regularizer = build()
        drawn = regularizer.class_anchors.clone()  # type: ignore[operator]
        calls.clear()
        if rank == 0 and not name.startswith("FSDP2"):  # evaluates alone: nothing may wait for the other process
            regularizer.eval()(torch.randn(N, D), torch.arange(N) % C, lambda features: features @ torch.ones(D, C))
            regularizer.train()
        alone, sent = len(calls), train(step, model, calls)
        # Without the losses of the process's own images, which the figures of the log are.
        buffers = {key: value.clone() for key, value in regularizer.named_buffers() if key != "_sums"}
        weights = {
            key: (value.full_tensor() if hasattr(value, "full_tensor") else value).detach().clone()
            for key, value in regularizer.named_parameters()
        }
        results[name] = {"drawn": drawn, "state": {**buffers, **weights}, "sent": sent, "alone": alone}
    only_one_has_it(rank)
    torch.save(results, f"{folder}/{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def only_one_has_it(rank: int) -> None:
    """A regularizer in one of the processes alone: with a group of its own it waits for no other."""
    group = torch.distributed.new_group([1])
    if rank == 1:
        regularizer = FixedAnchors(C, D)
        drawn = regularizer.class_anchors.clone()
        regularizer.synchronize(group)
        regularizer(torch.randn(N, D), torch.arange(N) % C)
        assert torch.equal(drawn, regularizer.class_anchors)


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available() or os.name == "nt", reason="needs gloo and file rendezvous")
def test_one_state_in_two_processes(tmp_path: Path) -> None:
    run_in_two(one_process, str(tmp_path))
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert list(first) == list(CASES)
    for name, of_first in first.items():
        state = of_first["state"]
        assert {"class_anchors", "semantic_anchors", "embedding.0.weight", "embedding.1.running_mean"} < set(state)
        for key, value in state.items():
            assert torch.equal(value, second[name]["state"][key]), f"{name}: {key}"
        assert torch.equal(state["class_anchors"], of_first["drawn"]), name
        assert torch.equal(second[name]["drawn"], of_first["drawn"]) == (name == BY_HAND), name
        assert state["semantic_anchors"].any(), name
        for part in (of_first, second[name]):
            assert part["alone"] == 0, name
            assert (part["sent"][0] > 0) == (name != BY_HAND), name
            assert part["sent"][1:] == [0] * (STEPS - 1), name
