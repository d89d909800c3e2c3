"""Reliability diagrams."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sar_cls.reporting.figures import reliability

from .entries import entry


def test_against_a_loop(work_dir: Path) -> None:
    one = entry(work_dir, "mixup")
    hits: dict[int, list[bool]] = {}
    trust: dict[int, list[float]] = {}
    for output in one.outputs:
        for scores, label in zip(output.logits.astype(np.float64), output.labels, strict=True):
            probability = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
            index = min(14, int(probability.max() * 15))
            hits.setdefault(index, []).append(scores.argmax() == label)
            trust.setdefault(index, []).append(probability.max())
    expected = [100 * np.mean(hits[index]) for index in sorted(hits)]
    ece = sum(len(hits[i]) * abs(100 * np.mean(hits[i]) - 100 * np.mean(trust[i])) for i in hits) / 600
    data = reliability.prepare([one])
    np.testing.assert_allclose(data[0].ece, ece)
    axis = reliability.draw(data).axes[0]
    np.testing.assert_allclose([bar.get_height() for bar in axis.containers[0]], expected)
    assert axis.get_title() == f"mixup\nECE {ece:.1f} %"
    assert "those of all runs of a row pooled" in reliability.caption(data, [one])


def test_a_panel_for_each_row(work_dir: Path) -> None:
    data = reliability.prepare([entry(work_dir, row) for row in ("mixup", "mixup_sar")] * 2)
    figure = reliability.draw(data)
    assert len(figure.axes) == 4
    assert [axis.get_xlabel() for axis in figure.axes] == ["", "", "Confidence (%)", "Confidence (%)"]
    assert [axis.get_ylabel() for axis in figure.axes] == ["Accuracy (%)", "", "Accuracy (%)", ""]
