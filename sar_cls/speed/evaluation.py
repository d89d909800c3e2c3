"""Evaluation of a whole test set, beside nothing but the forward pass over images that are ready on the device."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch

from sar_cls.data.augment import normalize
from sar_cls.metrics import topk_accuracy
from sar_cls.mm.loaders import DataSplits, test_loader
from sar_cls.mm.loops import predict
from sar_cls.speed.contenders import build_model
from sar_cls.speed.process import as_here
from sar_cls.speed.rounds import Contender
from sar_cls.speed.setting import Setting, row_config
from sar_cls.steps.precision import autocast

EVALUATION = "evaluation"
BATCH_SIZES = (64, 100, 250, 500, 2000)


def build(setting: Setting, splits: DataSplits, batch_sizes: Sequence[int] = BATCH_SIZES) -> list[Contender]:
    """This project's evaluation in its own batches, and the bare forward pass in several."""
    config = row_config(setting, len(splits.train.classes), mixup=False)
    config.data_preprocessor.memory_format = setting.memory_format
    model = build_model(config, setting).eval()
    loader = test_loader(splits.test, config.val_dataloader, setting.device)
    test, size = splits.test.to(setting.device), loader.batch_size

    def evaluate() -> None:
        logits = predict(model, loader, setting.precision)
        for k in (1, 5):
            float(topk_accuracy(logits, test.labels, k))

    layout = torch.channels_last if setting.memory_format == "channels_last" else torch.contiguous_format
    inputs = normalize(test.images, config.data_preprocessor.mean, config.data_preprocessor.std)
    inputs = inputs.contiguous(memory_format=layout)

    @torch.inference_mode()
    def forward(batch_size: int) -> None:
        with autocast(setting.device, setting.precision):
            for batch in inputs.split(batch_size):
                model(batch)

    contenders = [Contender(EVALUATION, f"this project's evaluation, batches of {size}", len(test), evaluate, as_here)]
    for batch_size in batch_sizes:
        label = f"bare forward pass, batches of {batch_size}"
        run = partial(forward, batch_size)
        contenders.append(Contender(f"forward{batch_size}", label, len(test), run, as_here))
    return contenders
