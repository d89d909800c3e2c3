"""The answer in words: the intervals decide, and what was shortened decides nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from report_pages import make_suite, write_runs
from synthetic_runs import make_record, write_run

from sar_cls.reporting.html.answers import Answer, Answers, answers
from sar_cls.reporting.html.views import make_views
from sar_cls.runs import ledger

PAIR = """
title = "CIFAR-100"
paper_table = "8"
paper_dataset = "CIFAR-100"
metric = "top1"

[[rows]]
name = "mixup"
label = "ResNet-18"
paper = "ResNet-18"

[[rows]]
name = "sar"
config = "mixup.py"
label = "ResNet-18+SAR"
baseline = "mixup"
paper = "ResNet-18+SAR"
"""


def answer(tmp_path: Path, gains: list[float], **changes: Any) -> Answer:
    """Of the paper's claim that SAR gains 0.71 points, where these were gained with seeds 0, 1 ..."""
    suite = make_suite(tmp_path, PAIR, "cifar100")
    for seed, gain in enumerate(gains):
        write_run(tmp_path / "work", make_record("cifar100", "mixup", seed, 78.0 + seed, **changes))
        write_run(tmp_path / "work", make_record("cifar100", "sar", seed, 78.0 + seed + gain, **changes))
    found = answers(make_views([suite], ledger.scan(tmp_path / "work"), pytest.fail))
    assert found.others == ()
    (only,) = found.claims
    assert only.claim == "CIFAR-100: ResNet-18+SAR gains 0.71 points over ResNet-18 (SAR, Tab. 8)."
    return only


@pytest.mark.parametrize(
    ("gains", "verdict", "words"),
    [
        ([0.6, 0.7, 0.8], "came out", "the paper's +0.71 lies within it"),
        ([0.2, 0.21, 0.22], "came out", "lies outside it: the effect is smaller here"),
        ([2.0, 2.01, 2.02], "came out", "lies outside it: the effect is larger here"),
        ([-0.6, -0.7, -0.8], "did not", "the opposite of the claim"),
        ([-0.1, 0.0, 0.1], "did not", "cannot be told from 0, and the interval leaves the paper's +0.71 out"),
        ([-1.0, 0.5, 1.0], "open", "holds both 0 and the paper's +0.71"),
        ([0.7], "one seed", "With one seed nothing can be said about chance"),
    ],
)
def test_the_interval_decides(tmp_path: Path, gains: list[float], verdict: str, words: str) -> None:
    found = answer(tmp_path, gains)
    assert found.verdict == verdict
    assert words in found.finding
    if len(gains) > 1:
        assert f"{len(gains)} pairs of seeds" in found.finding


def test_a_shortened_run_decides_nothing(tmp_path: Path) -> None:
    found = answer(tmp_path, [0.6, 0.7, 0.8], epochs=20)
    assert found.verdict == "changed"
    assert "another recipe (20 of 200 epochs), 3 seeds: no reproduction" in found.finding


def test_a_claim_is_judged_once_by_the_runs_in_float32(tmp_path: Path) -> None:
    suite = make_suite(tmp_path, PAIR, "cifar100")
    for precision, gain in (("fp32", 0.7), ("bf16", -0.7)):
        for seed in range(3):
            for row, more in (("mixup", 0.0), ("sar", gain + 0.1 * seed)):
                made = make_record("cifar100", row, seed, 78.0 + seed + more, precision=precision)
                write_run(tmp_path / "work", made, f"{precision}-{seed}")
    found = answers(make_views([suite], ledger.scan(tmp_path / "work"), pytest.fail))
    (only,) = found.claims
    assert only.verdict == "came out"
    assert "one claim" in found.summary()


def test_a_claim_that_was_run_in_one_precision_is_judged_by_that(tmp_path: Path) -> None:
    assert answer(tmp_path, [0.6, 0.7, 0.8], precision="bf16").verdict == "came out"


def test_what_was_not_run_or_has_no_pair(tmp_path: Path) -> None:
    assert answer(tmp_path, []).verdict == "not run"
    write_run(tmp_path / "work", make_record("cifar100", "sar", 7, 79.0))
    found = answer(tmp_path, [])
    assert found.verdict == "not run"
    assert "1 seed of it, but no run of ResNet-18 on the same seeds and data" in found.finding


def test_a_reproduction_counts_where_there_are_shortened_runs_too(tmp_path: Path) -> None:
    for seed, gain in enumerate([0.6, 0.7, 0.8]):
        for row, value in (("mixup", 78.0), ("sar", 78.0 + gain)):
            write_run(
                tmp_path / "work", make_record("cifar100", row, seed, value - 9, epochs=20), f"seed{seed}-epochs20"
            )
    assert answer(tmp_path, [0.6, 0.7, 0.8]).verdict == "came out"


def test_beside_other_rows_holms_p_decides_as_well(tmp_path: Path) -> None:
    """An interval that leaves 0 out by little is no finding where many rows were tried."""
    text = PAIR
    for number in range(5):
        text += f'\n[[rows]]\nname = "try{number}"\nconfig = "mixup.py"\nlabel = "Try {number}"\nbaseline = "mixup"\n'
    suite = make_suite(tmp_path, text, "cifar100")
    for seed, (gain, noise) in enumerate([(0.5, 0.1), (0.7, -0.1), (0.9, 0.1)]):
        write_run(tmp_path / "work", make_record("cifar100", "mixup", seed, 78.0))
        write_run(tmp_path / "work", make_record("cifar100", "sar", seed, 78.0 + gain))
        write_run(tmp_path / "work", make_record("cifar100", "try0", seed, 78.0 + gain))
        for number in range(1, 5):
            write_run(tmp_path / "work", make_record("cifar100", f"try{number}", seed, 78.0 + noise))
    found = answers(make_views([suite], ledger.scan(tmp_path / "work"), pytest.fail))
    (claim,) = found.claims
    assert claim.verdict == "open"
    assert "the direction is the paper's, but beside the other 5 rows" in claim.finding
    assert "higher on its own, but beside the other 5 rows" in found.others[0].finding
    assert found.intervals == 6


def test_two_stages_a_loss_and_a_row_of_ones_own(tmp_path: Path) -> None:
    runs = write_runs(tmp_path / "work")
    found = answers(make_views([make_suite(tmp_path)], runs, pytest.fail))
    verdicts = {answer.claim.partition(": ")[2]: answer.verdict for answer in found.claims}
    assert verdicts == {
        "MixUp+CAR loses 1.50 points against MixUp (SAR, Tab. 10, stage 1).": "not run",
        "MixUp+SAR gains 1.10 points over MixUp (SAR, Tab. 10, stage 1).": "came out",
        "MixUp+SAR, MiSLAS gains 1.00 points over MixUp, MiSLAS (SAR, Tab. 10, stage 2).": "open",
    }
    (own,) = found.others
    assert own.verdict == "open"
    assert found.intervals == 3


def test_the_summary_counts_every_claim_once() -> None:
    def of(*verdicts: str) -> str:
        return Answers(tuple(Answer(verdict, "", "") for verdict in verdicts), (), 0).summary()

    assert of("came out", "did not", "open", "one seed", "changed", "not run") == (
        "Of the paper's 6 claims about the rows shown here, 1 came out, 1 did not come out, 2 are open and 2 were not tested."
    )
    assert of("came out") == "Of the paper's one claim about the rows shown here, 1 came out."
    assert of("did not") == "Of the paper's one claim about the rows shown here, 0 came out and 1 did not come out."
    assert of("changed", "not run").startswith("None of the paper's 2 claims")
    assert Answers((), (Answer("came out", "", ""), Answer("open", "", "")), 2).summary() == (
        "The paper has no pair of figures for what is shown here. Of 2 comparisons made here, 1 shows a difference "
        "that stands "
        "after Holm's correction, and 1 does not, or cannot with the runs that are here."
    )
