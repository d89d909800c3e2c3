"""The tables of README.md and results/README.md hold what the kept records say."""

from __future__ import annotations

import json

import numpy as np
import pytest
from kept_records import CAMVID, DIMENSIONS, EPOCHS, LT16, LT16_H200, PARTS, RESULTS, cells, differences, last
from scipy import stats


@pytest.mark.parametrize(("row", "label"), [("mixup", "MixUp"), ("mixup_sar", "MixUp+SAR"), ("mixup_car", "MixUp+CAR")])
def test_table_10_is_that_of_the_records(row: str, label: str) -> None:
    expected = []
    for epoch in ("last", "best"):
        stages = []
        for name in (row, f"{row}_mislas"):
            files = [*(RESULTS / "cifar100_lt" / "cifar100_lt" / name).glob("*/record.json")]
            stages.append(np.mean([json.loads(path.read_bytes())["metrics"][epoch]["top1"] for path in files]))
        expected.append(f"{stages[0]:.2f} / {stages[1]:.2f}")
    assert cells(RESULTS / "README.md", "Tab. 10", label)[1:4] == [*expected, str(len(files))]


@pytest.mark.parametrize(
    ("label", "folder", "baseline", "rows"),
    [
        (
            "digits, 10 classes, after 20 epochs",
            EPOCHS,
            "mixup_20",
            ["sar_20", "aux_alone_20", "mixup_20_logit_adjustment"],
        ),
        ("digits, after 100 epochs", EPOCHS, "mixup_100", ["sar_100", "aux_alone_100", "mixup_100_logit_adjustment"]),
        (
            "CamVid, 11 classes, segmentation (mIoU)",
            CAMVID,
            "segformer",
            ["segformer_sar", "segformer_aux", "segformer_disalign"],
        ),
        ("CIFAR-100-LT at 16x16", LT16, "mixup", ["mixup_sar", "mixup_aux_alone", "mixup_logit_adjustment"]),
        ("CIFAR-100-LT (Tab. 10)", "cifar100_lt", "mixup", ["mixup_sar", "", "mixup_logit_adjustment"]),
    ],
)
def test_the_table_of_the_readme(label: str, folder: str, baseline: str, rows: list[str]) -> None:
    expected, pairs = [], set()
    for row in rows:
        if not row:
            expected.append("not run")
            continue
        found = differences(folder, row, baseline)
        pairs.add(len(found))
        low, high = stats.t.interval(0.95, len(found) - 1, found.mean(), stats.sem(found))
        expected.append(f"{found.mean():+.1f} [{low:+.1f}, {high:+.1f}]")
    assert cells(RESULTS.parent / "README.md", "long tail", label) == [str(*pairs), *expected]


@pytest.mark.parametrize(
    ("label", "row"),
    [
        ("MixUp", "mixup"),
        ("MixUp+SAR", "mixup_sar"),
        ("MixUp, auxiliary loss alone", "mixup_aux_alone"),
        ("MixUp+SAR, classifier shielded", "mixup_sar_shielded"),
        ("MixUp+CAR", "mixup_car"),
        ("MixUp, balanced softmax", "mixup_balanced_softmax"),
    ],
)
def test_the_accuracies_at_16x16(label: str, row: str) -> None:
    found = cells(RESULTS / "README.md", "top-1 at 16x16", label)
    for cell, after in zip(found, ("", "_logit_adjustment", "_mislas"), strict=True):
        if cell == "–":
            assert not [*(RESULTS / LT16).glob(f"*/{row}{after}")]
        else:
            assert cell == f"{np.mean(list(last(LT16, row + after).values())):.1f}"


@pytest.mark.parametrize(
    ("setting", "folder", "rows"),
    [
        ("SAR, 100 classes, 32x32", "cifar100_lt", ["mixup_sar"]),
        ("SAR, 100 classes, 16x16", LT16, ["mixup_sar"]),
        ("the same three seeds on an H200", LT16_H200, ["mixup_sar"]),
        ("auxiliary loss alone, 100 classes, 16x16", LT16, ["mixup_aux_alone"]),
        ("classifier shielded, 100 classes, 16x16", LT16, ["mixup_sar_shielded"]),
        ("SAR, 10 and 20 classes, 16x16", LT16, ["sar_10_classes", "sar_20_classes"]),
        ("SAR, long-tailed digits", PARTS, ["mixup_sar"]),
        ("tau = 0.7, below delta, long-tailed digits", PARTS, ["sar_tau_0_7"]),
        ("tau = 0.5, below delta, long-tailed digits", PARTS, ["sar_tau_0_5"]),
        ("classifier shielded, long-tailed digits", PARTS, ["mixup_sar_shielded"]),
        ("classifier shielded, balanced softmax, long-tailed digits", PARTS, ["mixup_balanced_softmax_sar_shielded"]),
        ("SAR in 5 dimensions, long-tailed digits", DIMENSIONS, ["sar_5"]),
        ("SAR in 2 and 3 dimensions, long-tailed digits", DIMENSIONS, ["sar_2", "sar_3"]),
        ("SAR in bfloat16, 100 classes, 32x32, 10 epochs", "precision", ["mixup_sar"]),
    ],
)
def test_the_gates_that_ended_closed(setting: str, folder: str, rows: list[str]) -> None:
    records = [
        json.loads(path.read_bytes()) for row in rows for path in (RESULTS / folder).glob(f"*/{row}/*/record.json")
    ]
    precision = "bf16" if "bfloat16" in setting else "fp32"
    longest = max(record["epochs"] for record in records)
    gates = [r["extra"] for r in records if (r["precision"], r["epochs"]) == (precision, longest)]
    closed = sum(gate["share_gate_open_last_tenth"] == 0 for gate in gates)
    never = all(gate["share_gate_open"] == 0 for gate in gates)
    expected = f"{closed} of {len(gates)}{', at no step open' if never else ''}"
    assert cells(RESULTS / "README.md", "setting", setting) == [expected]


@pytest.mark.parametrize(
    ("label", "net", "threads", "precision"),
    [
        ("CIFAR-100-LT", "CIFARResNet-32", 2, "fp32"),
        ("CIFAR-100-LT", "CIFARResNet-32", 1, "fp32"),
        ("CIFAR-100-LT", "CIFARResNet-32", 2, "bf16"),
        ("CIFAR-100-LT at 16x16", "CIFARResNet-20", 1, "fp32"),
        ("digits", "CIFARResNet-8", 2, "fp32"),
        ("digits", "CIFARResNet-8", 1, "fp32"),
    ],
)
def test_what_a_run_costs(label: str, net: str, threads: int, precision: str) -> None:
    """docs/scale.md, within a sixth: runs are added, and a table of times need not follow each of them."""
    seconds = []
    for path in RESULTS.glob("*/*/*/*/record.json"):
        record = json.loads(path.read_bytes())
        cores = record["machine"].get("threads") or 2  # older records do not say it; all were of two cores
        first = record["stage"] == 1 and record["epochs"] and not record["suite"].startswith("classes")
        if first and (record["backbone"], record["device"], record["precision"], cores) == (
            net,
            "cpu",
            precision,
            threads,
        ):
            seconds.append(record["wall_seconds"] / record["epochs"])
    text = (RESULTS.parent / "docs" / "scale.md").read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {label} | {net} | {threads} | {precision} |")]
    assert float(line.split("|")[5].split("[")[0]) == pytest.approx(np.median(seconds), rel=1 / 6)
