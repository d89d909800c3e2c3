"""Second stages that train nothing: the strength that a validation split chooses, against a loop; more in test_second_stage.py."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tiny_runs import TINY

from sar_cls.cli import CONFIGS
from sar_cls.engine import run as engine
from sar_cls.engine.options import Options
from sar_cls.engine.run import DataCache, Job
from sar_cls.runs.outputs import read_outputs

ADJUSTED = f'_base_ = "{CONFIGS}/digits_lt/mixup.py"\nposthoc = dict(type="logit_adjustment", tau=5.0)\n'
ADJUSTED += "train_cfg = dict(max_epochs=0)\n"


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    return float((logits.argmax(axis=1) == labels).mean())


def test_the_strength_is_the_best_on_the_validation_split_and_not_on_the_test_images(
    make_job: Callable[..., Job], cache: DataCache
) -> None:
    first = make_job(TINY, row="first")
    engine.run(first, Options(epochs=1, val_fraction=0.3), cache)
    job = make_job(ADJUSTED, row="adjusted", stage1_dir=first.run_dir)
    record = engine.run(job, Options(), cache)
    before, after = read_outputs(first.run_dir), read_outputs(job.run_dir)
    with np.load(first.run_dir / "test_outputs.npz") as stored:
        val_logits, val_labels = stored["val_logits"].astype(np.float64), stored["val_labels"]
    counts = np.array(record["train_counts"], dtype=np.float64)
    log_prior = np.log(counts / counts.sum())
    found = [accuracy(val_logits - tenth / 10 * log_prior, val_labels) for tenth in range(11)]
    best = int(np.argmax(found)) / 10  # the first of equals
    assert record["extra"]["tau"] == best
    assert record["best_on"] == "val"
    np.testing.assert_allclose(after.logits, before.logits - best * log_prior, atol=1e-4)
    # What the config says counts only without such a split.
    assert best != 5.0
