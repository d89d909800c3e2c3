"""What results/README.md says of the same seeds on other devices and processors follows from the kept records."""

from __future__ import annotations

import numpy as np
from kept_records import ANSWERS, LT16, LT16_H200, PARTS, differences, last
from scipy import stats


def test_the_same_seeds_on_another_device() -> None:
    means, largest, losses = [], [], []
    for row in ("mixup", "mixup_sar"):
        there, here = last(LT16_H200, row), last(LT16, row)
        assert there.keys() == here.keys()
        means.append((np.mean(list(there.values())), np.mean(list(here.values()))))
        largest.append(max(abs(there[seed] - here[seed]) for seed in there))
    (mixup, mixup_cpu), (sar, sar_cpu) = means
    assert (
        f"MixUp comes out at {mixup:.2f} where a CPU had {mixup_cpu:.2f}, no seed more than {largest[0]:.2f}" in ANSWERS
    )
    assert f"SAR at {sar:.2f} and {sar_cpu:.2f}, no seed more than {largest[1]:.2f}." in ANSWERS
    for folder in (LT16_H200, LT16):
        d = differences(folder, "mixup_sar", "mixup")
        half = stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / len(d) ** 0.5
        losses.append((-d.mean(), d.mean() - half, d.mean() + half))
    loss, low, high = losses[0]
    assert (
        f"SAR loses {loss:.1f} points to MixUp there [{low:+.1f}, {high:+.1f}], {losses[1][0]:.1f} on the CPU."
        in ANSWERS
    )
    seeds = list(last(LT16_H200, "mixup").values())
    assert f"seeds differ more (MixUp by up to {max(seeds) - min(seeds):.1f}) than devices do" in ANSWERS


def test_the_same_seeds_on_another_processor() -> None:
    there, means, gains = "digits-disalign", [], []
    others, largest = {}, {}
    for row in ("mixup", "mixup_sar"):
        ours, theirs = last(PARTS, row), last(there, row)
        assert ours.keys() == theirs.keys()
        apart = [abs(ours[seed] - theirs[seed]) for seed in ours]
        others[row], largest[row] = sum(map(bool, apart)), max(apart)
        means.append((np.mean(list(ours.values())), np.mean(list(theirs.values()))))
    assert (others["mixup"], others["mixup_sar"]) == (8, 9)
    third = last(PARTS, "mixup")[3], last(there, "mixup")[3]
    assert (
        "eight of them end otherwise, by up to {:.1f} points (seed 3: {:.1f} and {:.1f} %)".format(
            largest["mixup"], *third
        )
        in ANSWERS
    )
    assert f"with SAR nine by up to {largest['mixup_sar']:.1f};" in ANSWERS
    gains = [differences(folder, "mixup_sar", "mixup").mean() for folder in (PARTS, there)]
    assert "(MixUp {:.1f} and {:.1f} %, SAR's gain {:+.1f} and {:+.1f};".format(*means[0], *gains) in ANSWERS
    assert f"a single short run moves by up to {largest['mixup']:.1f} points between processors" in ANSWERS
    whole = last(LT16, "mixup_center")[1024]
    assert f"was made with AVX2 (32.04 %, not kept) and with AVX-512 ({whole:.2f})" in ANSWERS
