"""Sentences of results/README.md on when the gate closes follow from the kept records, computed anew."""

from __future__ import annotations

import csv
import json

from kept_records import ANSWERS, LT16, LT16_H200, RESULTS, extras, last


def closed_epochs(folder: str, row: str) -> dict[int, list[int]]:
    """Seed -> the epochs without a step at which the gate was open, of the full runs."""
    found = {}
    for path in (RESULTS / folder).glob(f"*/{row}/*/history.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        record = json.loads(path.with_name("record.json").read_bytes())
        found[record["seed"]] = [int(row["epoch"]) for row in rows if float(row["share_gate_open"]) == 0]
    return found


def test_the_gate_does_not_follow_the_seed() -> None:
    open_steps = {}
    for folder in (LT16, LT16_H200):
        found = extras(folder, "mixup_sar")
        open_steps[folder] = [f"{100 * found[seed]['share_gate_open']:.0f}" for seed in (1270964153, 1024, 5555)]
        assert all(gate["share_gate_open_last_tenth"] == 1 for gate in found.values())
    assert "At 16x16 it was open at {} %, {} % and {} % of all steps".format(*open_steps[LT16]) in ANSWERS
    assert "on an H200 the same seeds have {} %, {} % and {} %.".format(*open_steps[LT16_H200]) in ANSWERS


def test_how_long_the_gate_was_closed() -> None:
    large, small, shielded = (
        closed_epochs(folder, row)
        for folder, row in (("cifar100_lt", "mixup_sar"), (LT16, "mixup_sar"), (LT16, "mixup_sar_shielded"))
    )
    assert large[5555] == [*range(132, 155), 161]
    assert (
        "closed from epoch 132 to 154, from 135 on by two anchors of the hundred, and once more in epoch 161" in ANSWERS
    )
    assert large[1024][-186:] == list(range(15, 201))
    assert sorted(map(len, small.values())) == [0, 3, 56]
    assert set(range(22, 48)) <= set(small[1024])
    assert not {21, 48} & set(small[1024])
    assert "closed throughout 56 epochs, 26 of them on end, and another's throughout three." in ANSWERS
    assert sorted(map(len, shielded.values())) == [1, 1, 7]
    for row in ("mixup_sar_text", "mixup_sar_text_shuffled", "mixup_sar_text_spectrum"):
        assert [gate["share_gate_open_last_tenth"] > 0 for gate in extras(LT16, row).values()] == [True] * 3
    kinds = "SAR with anchors from class names, these dealt to other classes, or random ones of the same spread"
    assert f"| {kinds}, 100 classes, 16x16 | 0 of 9 |" in ANSWERS


def test_the_gate_of_anchors_by_superclass() -> None:
    (seed,) = (seed for seed, epochs in closed_epochs(LT16, "mixup_sar_superclasses").items() if len(epochs) > 20)
    epochs = closed_epochs(LT16, "mixup_sar_superclasses")[seed]
    assert epochs[-50:] == list(range(151, 201))
    assert 150 not in epochs
    assert all(
        gate["share_gate_open_last_tenth"] == float(other != seed)
        for other, gate in extras(LT16, "mixup_sar_superclasses").items()
    )
    gain = last(LT16, "mixup_sar_superclasses")[seed] - last(LT16, "mixup_sar")[seed]
    assert f"closed from epoch 151 on, at {gain:.1f} above those of its seed." in ANSWERS
    assert "| SAR with anchors by superclass, 100 classes, 16x16 | 1 of 3 |" in ANSWERS
