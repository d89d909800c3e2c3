"""The same training steps in 1, 2 and 4 processes, in float64: ``python shared_steps.py FOLDER``.

torch and mmengine are imported once; each process is a fork. Every case leaves ``NAME.PROCESSES.RANK.pt`` in the folder: the
gradients of the first step, the state after the last one, the losses of each epoch.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

torch.set_num_threads(1)

import torch._dynamo  # noqa: E402 (the first step of an optimizer wants it: once here, not in each fork)
import torch.nn.functional as F  # noqa: E402
from mmengine.model import BaseModel  # noqa: E402
from mmengine.optim import OptimWrapper  # noqa: E402
from torch import Tensor, distributed, nn  # noqa: E402

from sar_cls import CAR, SAR, CenterLoss, FixedAnchors  # noqa: E402
from sar_cls.data import DeviceLoader, ImageSet  # noqa: E402
from sar_cls.losses import (  # noqa: E402
    LDAM,
    ARBLoss,
    ClassBalancedCrossEntropy,
    DotRegression,
    GeneralizedReweighting,
    LabelAwareSmoothing,
)
from sar_cls.mm.preprocessor import BatchPreprocessor  # noqa: E402
from sar_cls.mm.processes import average_batch_norms, wrapped  # noqa: E402
from sar_cls.models import use_virtual_batches  # noqa: E402
from sar_cls.models.sync_batch_norm import synchronize_batch_norms  # noqa: E402
from sar_cls.regularizers import INC, SupCon  # noqa: E402
from sar_cls.steps.step import EagerStep  # noqa: E402
from sar_cls.whole_batch import use_whole_batch  # noqa: E402

C, D, SIDE = 4, 6, 8
COUNTS = [13, 9, 6, 3]  # 31 images: with batches of 12 the last one has 7, which neither 2 nor 4 processes share evenly
BATCH = 12


class Net(BaseModel):
    """A convolution, perhaps a batch norm, a classifier, a loss and a regularizer, in float64."""

    def __init__(
        self, loss: nn.Module | None, regularizer: nn.Module | None, *, norm: bool, mixup: bool, views: int = 1
    ) -> None:
        alpha = 0.4 if mixup else None
        super().__init__(
            BatchPreprocessor([120.0] * 3, [60.0] * 3, 2, flip=0.5, mixup_alpha=alpha, num_classes=C, views=views)
        )
        self.backbone = nn.Sequential(nn.Conv2d(3, D, 3), nn.BatchNorm2d(D) if norm else nn.Identity(), nn.Tanh())
        self.fc = nn.Linear(D, C)
        self.loss_module = loss
        self.regularizer = regularizer

    def forward(self, inputs: Tensor, data_samples: Tensor, mode: str = "loss") -> dict[str, Tensor]:
        features = self.backbone(inputs.double()).mean(dim=(2, 3))
        targets = data_samples.double() if data_samples.is_floating_point() else data_samples
        logits = self.fc(features)
        losses = {"loss_ce": (self.loss_module or F.cross_entropy)(logits, targets)}
        return losses | ({} if self.regularizer is None else self.regularizer(features, targets, self.fc))


@dataclass(frozen=True)
class Case:
    """What is trained, and how.

    Attributes:
        loss: builds the classification loss; None for cross-entropy.
        regularizer: builds one.
        mixup: whether images are mixed.
        norm: "" for none; "own": over the part of each process, and in one process over ``virtual`` images each; "sync".
        epochs: of three steps each.
        local: whether statistics stay those of each part.
        images: of the set, the first ones.
        views: of each image.
    """

    loss: Callable[[], nn.Module] | None = None
    regularizer: Callable[[], nn.Module] | None = None
    mixup: bool = True
    norm: str = ""
    epochs: int = 2
    local: bool = False
    images: int = sum(COUNTS)
    views: int = 1


def sar(**arguments: Any) -> Callable[[], nn.Module]:
    # Accepted early, so that the gate opens and the anchors act within a few steps.
    return lambda: SAR(C, D, delta=0.2, momentum=0.9, aux_weight=2.0, anchor_weight=0.5, **arguments)


CASES: dict[str, Case] = {
    "cross-entropy": Case(),
    "hard labels": Case(mixup=False),
    "SAR": Case(regularizer=sar(), epochs=17),
    "SAR per class": Case(regularizer=sar(gate="per_class"), epochs=17),
    "CAR": Case(regularizer=lambda: CAR(C, D)),
    "CAR published": Case(regularizer=lambda: CAR.published(C, D)),
    "CAR, ignored samples counted": Case(
        regularizer=lambda: CAR(C, D, intra_counts_ignored=True, c2s_counts_ignored=True)
    ),
    "CAR running": Case(regularizer=lambda: CAR(C, D, running_centers=True)),
    "CAR synchronised": Case(regularizer=lambda: CAR(C, D, sync_centers=True), mixup=False),
    "INC": Case(regularizer=lambda: INC(C, D)),
    "CenterLoss": Case(regularizer=lambda: CenterLoss(C, D, weight=0.5)),
    "SupCon": Case(regularizer=lambda: SupCon(C, D, projection=5)),
    "SupCon, two views": Case(regularizer=lambda: SupCon(C, D), mixup=False, views=2),
    "FixedAnchors": Case(regularizer=lambda: FixedAnchors(C, D)),
    "ARB": Case(loss=lambda: ARBLoss(COUNTS)),
    "dot regression, balanced": Case(loss=lambda: DotRegression(COUNTS, balanced=True)),
    "ARB hard": Case(loss=lambda: ARBLoss(COUNTS), mixup=False),
    "class-balanced": Case(loss=lambda: ClassBalancedCrossEntropy(COUNTS, 0.99)),
    "class-balanced by weights": Case(loss=lambda: ClassBalancedCrossEntropy(COUNTS, 0.99, "weights")),
    "generalized by weights": Case(loss=lambda: GeneralizedReweighting(COUNTS, 0.5, "weights")),
    "LDAM": Case(loss=lambda: LDAM(COUNTS, drw_start=0.0, scale=5.0), mixup=False),
    "LAS": Case(loss=lambda: LabelAwareSmoothing(COUNTS)),
    "SAR, norm synchronised": Case(regularizer=sar(), norm="sync"),
    "norm of each part": Case(norm="own", images=24),
    "norm of each part, last not full": Case(norm="own", epochs=1),
    "CAR local": Case(regularizer=lambda: CAR(C, D), local=True),
    "ARB local": Case(loss=lambda: ARBLoss(COUNTS), local=True),
    "SupCon local": Case(regularizer=lambda: SupCon(C, D, projection=5), local=True),
    "LDAM local": Case(loss=lambda: LDAM(COUNTS, drw_start=0.0, scale=5.0), mixup=False, local=True),
}
# In one process, what each part of 2 or 4 processes would see.
VIRTUAL = {
    f"{case}, virtual {virtual}": (case, virtual)
    for case in ("norm of each part", "norm of each part, last not full")
    for virtual in (6, 3)
}


def images(number: int) -> ImageSet:
    generator = torch.Generator().manual_seed(3)
    labels = torch.repeat_interleave(torch.arange(C), torch.tensor(COUNTS))[torch.randperm(31, generator=generator)]
    pixels = torch.randint(256, (31, SIDE, SIDE, 3), generator=generator, dtype=torch.uint8)
    return ImageSet(pixels[:number], labels[:number], tuple("abcd"), name="noise", split="train")


def train(case: Case, rank: int, processes: int, virtual: int = 0) -> dict[str, Any]:
    torch.manual_seed(5)
    parts = [None if build is None else build() for build in (case.loss, case.regularizer)]
    model: Any = Net(*parts, norm=bool(case.norm), mixup=case.mixup, views=case.views).double()
    model.data_preprocessor.float()
    if getattr(model.loss_module, "set_epoch", None):
        model.loss_module.set_epoch(1, 2)
    if virtual:
        use_virtual_batches(model.backbone, virtual)
    if case.norm == "sync":
        synchronize_batch_norms(model.backbone, torch.device("cpu"))
    told = use_whole_batch(model) if processes > 1 and not case.local else []
    net = wrapped(model, torch.device("cpu")) if processes > 1 else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    step = EagerStep(net, OptimWrapper(optimizer))
    loader = DeviceLoader(
        images(case.images), BATCH, draw=model.data_preprocessor.draw, seed=11, part=(rank, processes)
    )
    gradients: dict[str, Tensor] = {}
    handle = optimizer.register_step_pre_hook(
        lambda *_: (
            gradients.update({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
            if not gradients
            else None
        )
    )
    losses = []
    for epoch in range(case.epochs):
        loader.set_epoch(epoch)
        net.train()
        step.begin_epoch()
        for batch in loader:
            step(batch)
        losses.append(step.means())
        if processes > 1:
            average_batch_norms(model)
    handle.remove()
    state = {name: value.detach().clone() for name, value in model.state_dict().items()}
    return {"told": told, "gradients": gradients, "state": state, "losses": losses}


def one_process(folder: Path, rank: int, processes: int) -> None:
    for name, case in CASES.items():
        torch.save(train(case, rank, processes), folder / f"{name}.{processes}.{rank}.pt")
    if processes == 1:
        for name, (case_name, virtual) in VIRTUAL.items():
            torch.save(train(CASES[case_name], rank, 1, virtual), folder / f"{name}.1.0.pt")


def in_processes(numbers: tuple[int, ...], work: Callable[[Path, int, int], None]) -> int:
    """Has ``work(folder, rank, processes)`` done by each of so many processes, in a group; returns the exit code."""
    folder = Path(sys.argv[1])
    statuses = []
    for processes in numbers:
        children = [fork(folder, rank, processes, work) for rank in range(processes)]
        statuses += [os.waitpid(child, 0)[1] for child in children]
    return int(any(statuses))


def fork(folder: Path, rank: int, processes: int, work: Callable[[Path, int, int], None]) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        if processes > 1:
            store = distributed.FileStore(str(folder / f"store{processes}"), processes)
            distributed.init_process_group("gloo", store=store, rank=rank, world_size=processes)
        work(folder, rank, processes)
        if processes > 1:
            distributed.destroy_process_group()
        code = 0
    except BaseException:
        traceback.print_exc()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(in_processes((1, 2, 4), one_process))
