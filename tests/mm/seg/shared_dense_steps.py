"""The same training steps of segmentation nets in 1 and 2 processes, in float64: ``python -m mm.seg.shared_dense_steps FOLDER``.

Every case leaves ``NAME.PROCESSES.RANK.pt`` in the folder: the gradients of the first step, the state after the last one, the
losses, and what the evaluation of it says.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

torch.set_num_threads(1)

from mmengine.config import ConfigDict  # noqa: E402
from mmengine.model import BaseModule  # noqa: E402
from mmengine.optim import OptimWrapper  # noqa: E402
from mmengine.registry import DefaultScope  # noqa: E402
from mmseg.registry import MODELS  # noqa: E402
from torch import Tensor, nn  # noqa: E402

import sar_cls.mm.seg  # noqa: E402, F401
from mm.shared_steps import in_processes  # noqa: E402
from sar_cls.data import DeviceLoader  # noqa: E402
from sar_cls.data.masked_set import VOID, MaskedImageSet  # noqa: E402
from sar_cls.mm.processes import average_batch_norms, wrapped  # noqa: E402
from sar_cls.mm.seg.loops import confusion_matrix  # noqa: E402
from sar_cls.mm.seg.losses import use_whole_batch_of_pixels  # noqa: E402
from sar_cls.models import use_virtual_batches  # noqa: E402
from sar_cls.models.sync_batch_norm import synchronize_batch_norms  # noqa: E402
from sar_cls.regularizers.base import Regularizer  # noqa: E402
from sar_cls.steps.step import EagerStep  # noqa: E402

C, D, CROP, BATCH, STEPS = 4, 6, (16, 16), 4, 4
LABELLED = dict(type="CrossEntropyLoss", avg_non_ignore=True)
ALL = dict(type="CrossEntropyLoss")
WEIGHTED = dict(type="CrossEntropyLoss", class_weight=[1.0, 0.5, 3.0, 2.0])
REWEIGHTED = dict(type="GeneralizedReweighting", class_counts=[90, 30, 10, 5])
SAR = dict(type="SAR", embedding="linear+conv", delta=0.1, momentum=0.5, aux_weight=2.0, anchor_weight=0.5)
PROTOSEG = dict(
    type="protoseg", per_class=2, assignment="likeliest", momentum=0.5, contrast_weight=1.0, distance_weight=1.0
)

# The loss, the regularizer or ProtoSeg, and how batch norms are in several processes ("sync"; "own": over the part of each).
CASES: dict[str, tuple[dict[str, Any], dict[str, Any] | None, str]] = {
    "labelled pixels": (LABELLED, None, "sync"),
    "all pixels": (ALL, None, "sync"),
    "class weights": (WEIGHTED, None, "sync"),
    "reweighted": (REWEIGHTED, None, "sync"),
    "SAR": (LABELLED, SAR, "sync"),
    "CAR": (LABELLED, dict(type="CAR"), "sync"),
    "CenterLoss": (ALL, dict(type="CenterLoss"), "sync"),
    "ProtoSeg": (LABELLED, PROTOSEG, "sync"),
    "norm of each part": (LABELLED, SAR, "own"),
}


@MODELS.register_module()
class TwoMaps(BaseModule):
    """Maps at strides 2 and 4, in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, D, 3, 2, 1), nn.BatchNorm2d(D), nn.Tanh())
        self.second = nn.Sequential(nn.Conv2d(D, D, 3, 2, 1), nn.BatchNorm2d(D), nn.Tanh())

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        first = self.first(inputs.double())
        return first, self.second(first)


def build(loss: dict[str, Any], regularizer: dict[str, Any] | None, norm: str) -> Any:
    """A segmentor with a regularized head and an auxiliary one without, whose loss is the same."""
    head = dict(
        in_channels=D,
        channels=D,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.0,
        num_classes=C,
        norm_cfg=dict(type=norm),
        align_corners=False,
    )
    entry = "classifier" if regularizer == PROTOSEG else "regularizer"
    config = dict(
        type="EncoderDecoder",
        backbone=dict(type="TwoMaps"),
        data_preprocessor=dict(
            type="MaskBatchPreprocessor", mean=[120.0] * 3, std=[60.0] * 3, crop_size=CROP, photometric=False
        ),
        decode_head=dict(type="RegularizedFCNHead", in_index=1, loss_decode=loss, **{entry: regularizer}, **head),
        auxiliary_head=dict(type="RegularizedFCNHead", in_index=0, loss_decode=dict(loss, loss_weight=0.4), **head),
        test_cfg=dict(mode="whole"),
    )
    with DefaultScope.overwrite_default_scope("mmseg"):
        model: Any = MODELS.build(ConfigDict(config))
    model.init_weights()
    model.double()
    model.data_preprocessor.float()
    return model


def scenes() -> MaskedImageSet:
    """Seven images, of which each has another share of pixels without a class, the last one none with one."""
    generator = torch.Generator().manual_seed(3)
    pixels = torch.randint(256, (7, 20, 24, 3), generator=generator, dtype=torch.uint8)
    masks = torch.randint(C, (7, 20, 24), generator=generator, dtype=torch.uint8)
    for index in range(7):
        masks[index, : 3 * index] = VOID
    masks[6] = VOID
    return MaskedImageSet(pixels, masks, tuple("abcd"), name="noise", split="train")


def train(name: str, rank: int, processes: int, virtual: int = 0) -> dict[str, Any]:
    loss, regularizer, norm = CASES[name]
    torch.manual_seed(5)
    model = build(loss, regularizer, "SyncBN" if norm == "sync" else "BN")
    apart = [module for module in model.modules() if isinstance(module, Regularizer)]
    if norm == "sync":
        synchronize_batch_norms(model, torch.device("cpu"), apart=apart)
    if virtual:
        for part in (model.backbone, model.decode_head.convs, model.auxiliary_head.convs):
            use_virtual_batches(part, virtual)
    if processes > 1:
        use_whole_batch_of_pixels(model)
    net = wrapped(model, torch.device("cpu")) if processes > 1 else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    step = EagerStep(net, OptimWrapper(optimizer))
    draw = model.data_preprocessor.draw
    loader = DeviceLoader(scenes(), BATCH, draw=draw, seed=11, batches_per_epoch=STEPS, part=(rank, processes))
    gradients: dict[str, Tensor] = {}

    def keep(*_: Any) -> None:
        if not gradients:
            gradients.update({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})

    handle = optimizer.register_step_pre_hook(keep)
    net.train()
    for batch in loader:
        step(batch)
    handle.remove()
    losses = step.means()
    if processes > 1:
        average_batch_norms(model)
    state = {key: value.detach().clone() for key, value in model.state_dict().items()}
    found: dict[str, Any] = {"gradients": gradients, "state": state, "losses": losses}
    # Batches of 3, 3 and 1 for two processes, and one batch for both.
    for size in (3, 8):
        kept: list[Tensor] = []
        test = DeviceLoader(scenes(), size)
        counts = confusion_matrix(model, test, "fp32", C, kept, shared=processes > 1)
        found[f"evaluated {size}"] = {"confusion": torch.from_numpy(counts), "predictions": torch.cat(kept)}
    return found


def work(folder: Path, rank: int, processes: int) -> None:
    for name in CASES:
        virtual = BATCH // 2 if CASES[name][2] == "own" and processes == 1 else 0
        torch.save(train(name, rank, processes, virtual), folder / f"{name}.{processes}.{rank}.pt")


if __name__ == "__main__":
    sys.exit(in_processes((1, 2), work))
