"""What entries are called."""

from __future__ import annotations

from pathlib import Path

from sar_cls.reporting.figures.labels import listed, names, provenance
from sar_cls.reporting.figures.series import Series

from .entries import entry


def test_names_say_what_differs_and_the_remark_what_does_not(tmp_path: Path) -> None:
    shared = ("5 of 10 epochs", "weights efficientnet-lite0-57934424-57934424")
    one = Series("Net", (tmp_path,) * 3, (1,), shared)
    two = Series("Net+SAR", (tmp_path,) * 3, (1,), (*shared, "memory format contiguous"))
    three = Series("Net+CAR", (tmp_path,), (1,), shared)
    assert names([one, two]) == (
        ["Net", "Net+SAR (memory format contiguous)"],
        "5 of 10 epochs, weights efficientnet-lite0, 3 runs each",
    )
    assert names([one, three]) == (
        ["Net (3 runs)", "Net+CAR (1 run)"],
        "5 of 10 epochs, weights efficientnet-lite0",
    )
    assert names([one], with_runs=False) == (["Net"], "5 of 10 epochs, weights efficientnet-lite0")
    assert names([Series("a", (tmp_path,), (1,))]) == (["a"], "1 run")


def test_a_caption_names_runs_and_seeds(work_dir: Path) -> None:
    both = [entry(work_dir, "mixup", "MixUp"), entry(work_dir, "mixup_sar", "MixUp+SAR")]
    assert provenance(both) == "MixUp and MixUp+SAR: 2 runs each; seeds 1, 2."
    assert provenance(both[:1]) == "MixUp: 2 runs; seeds 1, 2."
    assert provenance([both[0], entry(work_dir, "mixup_sar", "SAR", runs=1)]) == "MixUp (2 runs) and SAR (1 run)."
    assert listed(["a", "b", "c"]) == "a, b and c"
