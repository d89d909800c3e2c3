"""What a run leaves behind: metrics and saved logits in float32."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from sar_cls.data import ImageSet
from sar_cls.mm.engine import Job
from sar_cls.mm.loaders import DataSplits
from sar_cls.mm.options import Options
from sar_cls.mm.outcome import outcome
from sar_cls.mm.recipe import resolve
from sar_cls.reporting.outputs import read_outputs, recompute

N, C = 40, 10


def image_set(split: str) -> ImageSet:
    """Images of the last class alone count in the test: the class that loses every tie."""
    labels = torch.arange(C).repeat(N // C) if split == "train" else torch.full((N,), C - 1)
    images = torch.zeros(N, 8, 8, 3, dtype=torch.uint8)
    return ImageSet(images, labels, tuple("abcdefghij"), "digits", split, allow_empty_classes=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_metrics_come_from_float32_logits(dtype: torch.dtype, make_job: Callable[..., Job]) -> None:
    """Logits that are told apart in float32, and equal in float16: there the first class would win all of these images."""
    logits = torch.zeros(N, C, dtype=dtype)
    logits[:, 0], logits[:, -1] = 20.0, 20.004  # float16 has 20 and 20.0156
    assert bool((logits.half()[:, 0] == logits.half()[:, -1]).all())
    scores = {"test": {"last": logits, "best": logits.clone()}}
    job = make_job()
    job.run_dir.mkdir(parents=True)
    splits = DataSplits(image_set("train"), image_set("test"))
    record = outcome(job, resolve(job.config, Options()), splits, scores, torch.device("cpu"), "fp32", [], best_epoch=0)
    for epoch in ("last", "best"):
        assert record["metrics"][epoch]["top1"] == 100.0
    saved = read_outputs(job.run_dir)
    assert saved.logits.dtype == np.float32
    assert not saved.rounded
    assert recompute(record, job.run_dir)["metrics"]["last"]["top1"] == 100.0
