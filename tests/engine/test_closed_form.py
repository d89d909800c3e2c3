"""Second stages that train nothing: the strength that a validation split chooses, against a loop; more in test_second_stage.py."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from tiny_runs import TINY, TINY_SAR

from sar_cls.cli import CONFIGS
from sar_cls.engine import run as engine
from sar_cls.engine.options import Options
from sar_cls.engine.run import DataCache, Job
from sar_cls.errors import InputError
from sar_cls.runs.checkpoint import read_checkpoint
from sar_cls.runs.features import read_features
from sar_cls.runs.folder import LAST
from sar_cls.runs.outputs import read_outputs

ADJUSTED = f'_base_ = "{CONFIGS}/digits_lt/mixup.py"\nposthoc = dict(type="logit_adjustment", tau=5.0)\n'
ADJUSTED += "train_cfg = dict(max_epochs=0)\n"


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
    classes = [val_labels == label for label in np.unique(val_labels)]  # the tail of the training images
    found = []
    for tenth in range(21):
        right = (val_logits - tenth / 10 * log_prior).argmax(axis=1) == val_labels
        found.append(np.mean([right[own].mean() for own in classes]))
    best = int(np.argmax(found)) / 10  # the first of equals
    assert record["extra"]["tau"] == best
    assert record["best_on"] == "val"
    np.testing.assert_allclose(after.logits, before.logits - best * log_prior, atol=1e-4)
    # What the config says counts only without such a split.
    assert best != 5.0


NEAREST = f'_base_ = "{CONFIGS}/digits_lt/mixup.py"\nposthoc = dict(type="nearest_anchor"{{}})\n'
NEAREST += "train_cfg = dict(max_epochs=0)\n"


class TestNearestAnchor:
    def open_gate(self, first: Job) -> None:
        """What one epoch on a tiny set need not bring about: every anchor is set, somewhere."""
        state = read_checkpoint(first.run_dir / LAST)
        anchors = state["state_dict"]["head.regularizer.semantic_anchors"]
        anchors.copy_(torch.randn(anchors.shape, generator=torch.Generator().manual_seed(0)))
        state["state_dict"]["head.regularizer.initialized"].fill_(True)
        torch.save(state, first.run_dir / LAST)

    @pytest.mark.parametrize("distance", ["cosine", "euclidean"])
    def test_the_nearest_anchor_is_the_class(
        self, distance: str, make_job: Callable[..., Job], cache: DataCache
    ) -> None:
        first = make_job(TINY_SAR, row="first")
        engine.run(first, Options(epochs=1), cache)
        self.open_gate(first)
        job = make_job(NEAREST.format(f', distance="{distance}"'), row="nearest", stage1_dir=first.run_dir)
        record = engine.run(job, Options(), cache)
        found = read_outputs(job.run_dir).logits.argmax(axis=1)
        features = read_features(first.run_dir).test_features.astype(np.float64)
        anchors = (
            read_checkpoint(first.run_dir / LAST)["state_dict"]["head.regularizer.semantic_anchors"].double().numpy()
        )
        right = 0
        for feature, choice in zip(features, found, strict=True):
            if distance == "cosine":
                scores = [feature @ a / np.linalg.norm(feature) / np.linalg.norm(a) for a in anchors]
            else:
                scores = [-((feature - a) ** 2).sum() for a in anchors]
            right += int(np.argmax(scores)) == choice
        assert right >= 0.99 * len(found)  # features are kept in half precision
        assert record["extra"]["share"] == 1.0
        assert len(set(found.tolist())) > 1

    def test_no_share_is_the_first_stage_itself(self, make_job: Callable[..., Job], cache: DataCache) -> None:
        first = make_job(TINY_SAR, row="first")
        engine.run(first, Options(epochs=1), cache)
        self.open_gate(first)
        job = make_job(NEAREST.format(", share=0.0"), row="nearest", stage1_dir=first.run_dir)
        engine.run(job, Options(), cache)
        before, after = read_outputs(first.run_dir).logits, read_outputs(job.run_dir).logits
        np.testing.assert_allclose(after, torch.from_numpy(before).log_softmax(1).numpy(), atol=1e-4)

    @pytest.mark.parametrize(
        ("config", "arguments", "said"),
        [
            (TINY, "", "has no anchors: give a first stage that was trained with SAR or FixedAnchors"),
            (TINY_SAR, "", "gate never opened for 10 classes"),
            (TINY_SAR, ', distance="manhattan"', "unknown distance 'manhattan': choose one of cosine, euclidean"),
        ],
    )
    def test_refused(
        self, config: str, arguments: str, said: str, make_job: Callable[..., Job], cache: DataCache
    ) -> None:
        first = make_job(config.replace('type="SAR"', 'type="SAR", delta=1.0'), row="first")
        engine.run(first, Options(epochs=1), cache)
        job = make_job(NEAREST.format(arguments), row="nearest", stage1_dir=first.run_dir)
        with pytest.raises(InputError, match=said):
            engine.run(job, Options(), cache)
