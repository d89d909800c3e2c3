"""The sentences of results/README.md follow from the kept records: means, paired t-intervals and Holm's p, computed anew."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from kept_records import (
    ANSWERS,
    CAMVID,
    DIMENSIONS,
    EPOCHS,
    FAMILY,
    LT16,
    PARTS,
    RESULTS,
    RIVALS,
    SUPCON,
    differences,
    holm,
    interval,
    last,
    said,
)
from scipy import stats


@pytest.mark.parametrize(
    ("folder", "row", "baseline", "seeds", "sentence"),
    [
        (PARTS, "mixup_sar", "mixup", 10, "SAR gains {d:+.1f} points over MixUp [{low:+.1f}, {high:+.1f}]"),
        (PARTS, "mixup_aux_alone", "mixup", 10, "any pull to the anchors, {d:+.1f} [{low:+.1f}, {high:+.1f}]"),
        (PARTS, "mixup_balanced_softmax", "mixup", 10, "balanced softmax gains {d:+.1f} [{low:+.1f}, {high:+.1f}]"),
        (
            PARTS,
            "mixup_balanced_softmax_sar",
            "mixup_balanced_softmax",
            10,
            "on top of it another {d:+.1f} [{low:+.1f}, {high:+.1f}], to {mean:.1f} %",
        ),
        (PARTS, "sar_aux_warmup_90", "mixup", 10, "(90 steps: {d:+.1f})"),
        (EPOCHS, "sar_10", "mixup_10", 10, "is {d:+.1f} [{low:+.1f}, {high:+.1f}] after 10,"),
        (EPOCHS, "sar_20", "mixup_20", 10, "what is {d:+.1f} after the recipe's 20 epochs"),
        (EPOCHS, "sar_50", "mixup_50", 10, "{d:+.1f} [{low:+.1f}, {high:+.1f}] after 50,"),
        (EPOCHS, "sar_100", "mixup_100", 10, "{d:+.1f} [{low:+.1f}, {high:+.1f}] after 100 and"),
        (EPOCHS, "sar_200", "mixup_200", 10, "{d:+.1f} [{low:+.1f}, {high:+.1f}] after 200, where MixUp alone"),
        (
            EPOCHS,
            "simplex_10",
            "mixup_10",
            10,
            "from the start](digits-rivals)): {d:+.1f} [{low:+.1f}, {high:+.1f}] after 10,",
        ),
        (EPOCHS, "simplex_50", "mixup_50", 10, "{d:+.1f} [{low:+.1f}, {high:+.1f}] after 50, -0.6"),
        (EPOCHS, "simplex_100", "mixup_100", 10, "{d:+.1f} [{low:+.1f}, {high:+.1f}] after 100, +0.4"),
        (EPOCHS, "simplex_200", "mixup_200", 10, "{d:+.1f} [{low:+.1f}, {high:+.1f}] after 200. Balancing"),
        (EPOCHS, "mixup_200", "mixup_200_logit_adjustment", 10, "MixUp alone is right for {mean:.1f} %"),
        (
            EPOCHS,
            "mixup_200_logit_adjustment",
            "mixup_200",
            10,
            "of the MixUp net gains {d:+.1f} [{low:+.1f}, {high:+.1f}] after 200 epochs",
        ),
        (DIMENSIONS, "sar_64", "mixup_64", 10, "SAR gains {d:+.1f} [{low:+.1f}, {high:+.1f}] in 64,"),
        (DIMENSIONS, "sar_5", "mixup_5", 10, "{d:+.1f} [{low:+.1f}, {high:+.1f}] in five,"),
        (DIMENSIONS, "sar_2", "mixup_2", 10, "{d:+.1f} [{low:+.1f}, {high:+.1f}] in two."),
        (
            DIMENSIONS,
            "pull_alone_64",
            "mixup_64",
            10,
            "costs: {d:+.1f} [{low:+.1f}, {high:+.1f}] to normal anchors and",
        ),
        (
            DIMENSIONS,
            "pull_to_simplex_64",
            "mixup_64",
            10,
            "and {d:+.1f} [{low:+.1f}, {high:+.1f}] to a simplex, in 64",
        ),
        ("precision", "mixup_sar", "mixup", 5, "SAR is {loss:.1f} points behind [{low:+.1f}, {high:+.1f}]"),
        (LT16, "mixup_sar", "mixup", 3, "SAR loses {loss:.1f} points to MixUp [{low:+.1f}, {high:+.1f}]"),
        (LT16, "mixup_sar_mislas", "mixup_mislas", 3, "after MiSLAS {loss:.1f} [{low:+.1f}, {high:+.1f}] (p"),
        (
            LT16,
            "mixup_sar_logit_adjustment",
            "mixup_logit_adjustment",
            3,
            "after logit adjustment {loss:.1f} [{low:+.1f}, {high:+.1f}] (p",
        ),
        (LT16, "mixup_aux_alone_mislas", "mixup_mislas", 3, "after MiSLAS {loss:.1f} [{low:+.1f}, {high:+.1f}] (p"),
        (
            LT16,
            "mixup_aux_alone_logit_adjustment",
            "mixup_logit_adjustment",
            3,
            "after logit adjustment {loss:.1f} [{low:+.1f}, {high:+.1f}] (p",
        ),
        (LT16, "mixup_aux_alone", "mixup", 3, "The auxiliary loss alone loses {loss:.1f} [{low:+.1f}, {high:+.1f}]"),
        (LT16, "mixup_sar_shielded", "mixup", 3, "the net is where MixUp is: {d:+.1f} [{low:+.1f}, {high:+.1f}]"),
        (LT16, "sar_10_classes", "mixup_10_classes", 3, "SAR has {d:+.1f} [{low:+.1f}, {high:+.1f}] and"),
        (LT16, "aux_alone_10_classes", "mixup_10_classes", 3, "alone {d:+.1f} [{low:+.1f}, {high:+.1f}]; with"),
        (LT16, "sar_20_classes", "mixup_20_classes", 3, "first twenty {d:+.1f} [{low:+.1f}, {high:+.1f}] and"),
        (LT16, "aux_alone_20_classes", "mixup_20_classes", 3, "and {d:+.1f} [{low:+.1f}, {high:+.1f}]. After Holm"),
        (
            LT16,
            "mixup_20_classes_logit_adjustment",
            "mixup_20_classes",
            3,
            "{d:+.1f} [{low:+.1f}, {high:+.1f}] on the twenty.",
        ),
        (
            LT16,
            "mixup_10_classes_logit_adjustment",
            "mixup_10_classes",
            3,
            "Logit adjustment gains {d:+.1f} [{low:+.1f}, {high:+.1f}] on the ten",
        ),
        (LT16, "mixup_car", "mixup", 3, "CAR loses {loss:.1f} [{low:+.1f}, {high:+.1f}]"),
        (LT16, "mixup_car_mislas", "mixup_mislas", 3, "after MiSLAS {loss:.1f} [{low:+.1f}, {high:+.1f}]: neither"),
        (LT16, "mixup_logit_adjustment", "mixup", 3, "logit adjustment {d:+.1f} [{low:+.1f}, {high:+.1f}]"),
        (LT16, "mixup_mislas", "mixup", 3, "MiSLAS {d:+.1f} [{low:+.1f}, {high:+.1f}], balanced"),
        (LT16, "mixup_balanced_softmax", "mixup", 3, "balanced softmax {d:+.1f} [{low:+.1f}, {high:+.1f}] (behind"),
        (
            LT16,
            "mixup_balanced_softmax_mislas",
            "mixup_mislas",
            3,
            "which balances already, {d:+.1f} [{low:+.1f}, {high:+.1f}])",
        ),
        (LT16, "mixup_sar_nearest_anchor", "mixup_sar", 3, "is right for {mean:.1f} % of them (cosine;"),
        (LT16, "mixup_sar_nearest_anchor_euclidean", "mixup_sar", 3, "; {mean:.1f} % by distance)"),
        (LT16, "mixup_sar", "mixup", 3, "where the classifier is right for {mean:.1f} %"),
        (RIVALS, "mixup_arb", "mixup", 10, "ARB-loss with batch sizes has {d:+.1f}"),
        (RIVALS, "mixup_etf", "mixup", 10, "which balances each batch, {d:+.1f} [{low:+.1f}, {high:+.1f}]"),
        (RIVALS, "mixup_etf_unbalanced", "mixup", 10, "without it has {d:+.1f} [{low:+.1f}, {high:+.1f}]"),
        (RIVALS, "mixup_hyperspherical", "mixup", 10, "prototypes {d:+.1f} [{low:+.1f}, {high:+.1f}]"),
        (RIVALS, "mixup_inc", "mixup", 10, "INC {d:+.1f} [{low:+.1f}, {high:+.1f}]"),
        (
            SUPCON,
            "mixup_supcon",
            "mixup_two_views",
            10,
            "gains {d:.1f} over the two views alone [{low:+.1f}, {high:+.1f}]",
        ),
        (SUPCON, "mixup_two_views", "mixup", 10, "which gain {d:.1f} ("),
        (CAMVID, "segformer_sar", "segformer", 3, "SAR {d:+.1f} over the plain head [{low:+.1f}, {high:+.1f}]"),
        (CAMVID, "segformer_aux", "segformer", 3, "the auxiliary loss alone {d:+.1f} [{low:+.1f}, {high:+.1f}] (p"),
        (CAMVID, "segformer_sar", "segformer_aux", 3, "the pull adds {d:+.1f} [{low:+.1f}, {high:+.1f}]; CAR"),
        (CAMVID, "segformer_car", "segformer", 3, "CAR {d:+.1f} [{low:+.1f}, {high:+.1f}] (p"),
        (CAMVID, "segformer_disalign", "segformer", 3, "gains at least as much, {d:+.1f} [{low:+.1f}, {high:+.1f}]"),
        (CAMVID, "segformer_sar_disalign", "segformer_disalign", 3, "SAR is {d:.1f} ahead [{low:+.1f}, {high:+.1f}]"),
        (CAMVID, "segformer_aux_disalign", "segformer_disalign", 3, "alone {d:.1f} [{low:+.1f}, {high:+.1f}]."),
    ],
)
def test_headline_figures_follow_from_the_records(
    folder: str, row: str, baseline: str, seeds: int, sentence: str
) -> None:
    found = differences(folder, row, baseline)
    assert len(found) == seeds
    low, high = stats.t.interval(0.95, seeds - 1, found.mean(), stats.sem(found))
    mean = np.mean(list(last(folder, row).values()))
    expected = sentence.format(d=found.mean(), loss=-found.mean(), low=low, high=high, mean=mean)
    assert expected in ANSWERS, expected


@pytest.mark.parametrize(
    ("after", "of_sar", "of_the_loss_alone"),
    [
        ("", "(Holm's p = {:.3f} over", "[-1.2, -0.9] (p = {:.3f})"),
        ("_mislas", "after MiSLAS 1.8 [-3.6, +0.0] (p = {:.2f})", "[-1.7, -0.8] (p = {:.2f})"),
        ("_logit_adjustment", "after logit adjustment 2.1 [-3.8, -0.3] (p = {:.2f})", "[-1.9, -1.4] (p = {:.3f})"),
    ],
)
def test_p_values_follow_from_the_records(after: str, of_sar: str, of_the_loss_alone: str) -> None:
    rows = FAMILY if after != "_logit_adjustment" else FAMILY[:3]
    found = [differences(LT16, row + after, "mixup" + after) for row in rows]
    adjusted = holm([stats.ttest_1samp(values, 0).pvalue for values in found])
    for value, sentence in zip(adjusted, [of_sar, of_the_loss_alone], strict=False):
        assert sentence.format(value) in ANSWERS, sentence.format(value)


def test_what_camvid_says_of_its_classes_follows_from_the_records() -> None:
    found = differences(CAMVID, "segformer_sar", "segformer", "tail")
    low, high = stats.t.interval(0.95, 2, found.mean(), stats.sem(found))
    assert f"{found.mean():.1f} points of their mean IoU [{low:+.1f}, {high:+.1f}]" in ANSWERS
    assert "pedestrians {:+.1f}, fences {:+.1f}, poles {:+.1f}".format(*of_classes(9, 7, 2)) in ANSWERS
    rows = ["segformer_car", "segformer_sar", "segformer_aux"]
    values = [stats.ttest_1samp(differences(CAMVID, row, "segformer"), 0).pvalue for row in rows]
    assert {f"{value:.2f}" for value in holm(values)} == {"0.04"}


def of_classes(*labels: int) -> list[float]:
    """Mean gain in IoU of SAR on CamVid."""
    ours, theirs = last(CAMVID, "segformer_sar", "iou"), last(CAMVID, "segformer", "iou")
    return [float(np.mean([ours[seed][label] - theirs[seed][label] for seed in ours])) for label in labels]


def test_what_camvid_says_after_three_times_the_iterations_follows_from_the_records() -> None:
    rows = ("segformer", "segformer_sar", "segformer_aux")
    short, long = (
        [np.array(last(folder, row, "iou")[1270964153]) for row in rows] for folder in (CAMVID, "camvid-4500")
    )
    means = f"comes to {long[0].mean():.1f} where it was at {short[0].mean():.1f};"
    sar, aux = ([(found[row] - found[0]).mean() for found in (long, short)] for row in (1, 2))
    leads = f"SAR is {sar[0]:.1f} ahead where it was {sar[1]:.1f}, the auxiliary loss alone {aux[0]:.1f} where it was {aux[1]:.1f};"
    assert f"{means} {leads}" in ANSWERS
    gains = [long[row] - long[0] for row in (1, 2)]
    assert "gain {:.1f} by SAR and {:.1f} by the auxiliary loss alone".format(*(gain[10] for gain in gains)) in ANSWERS
    assert {f"{gain[:10].mean():+.1f}" for gain in gains} == {"-0.1"}


def pairs_of_table_10(after: str, metric: str = "top1") -> np.ndarray:
    """SAR minus MixUp at full size, in the paper's order of seeds."""
    rows = [last("cifar100_lt", f"{row}{after}", metric) for row in ("mixup_sar", "mixup")]
    return np.array([rows[0][seed] - rows[1][seed] for seed in (1270964153, 1024, 5555)])


def test_the_pairs_of_table_10() -> None:
    says = []
    for after in ("", "_mislas", "_logit_adjustment"):
        pairs = pairs_of_table_10(after)
        assert (pairs < 0).all()
        low, high = stats.t.interval(0.95, len(pairs) - 1, pairs.mean(), stats.sem(pairs))
        assert low < 0 < high
        mean = f"{pairs.mean():+.1f} [{low:+.1f}, {high:+.1f}]"
        says.append(("{:.2f}, {:.2f} and {:.2f}".format(*-pairs), mean, high))
    assert f"by {says[0][0]} points where the paper has it 1.1 above, in the mean {says[0][1]};" in ANSWERS
    assert f"after MiSLAS by {says[1][0]} where the paper has it 1.0 above, {says[1][1]};" in ANSWERS
    assert f"after logit adjustment by {says[2][0]}, {says[2][1]}." in ANSWERS
    assert says[0][2] > 1.1  # the published gain: "in stage 1 just inside"
    assert says[1][2] < 1.0


def test_the_gate_that_closed_for_good() -> None:
    histories = [
        pd.read_csv(RESULTS / "cifar100_lt" / "cifar100_lt" / "mixup_sar" / f"seed{seed}" / "history.csv")
        for seed in (1024, 1270964153, 5555)
    ]
    closed = histories[0].set_index("epoch")
    assert (closed["share_gate_open"].loc[15:] == 0).all()
    assert closed["share_gate_open"].loc[14] > 0
    aux = closed["loss_aux"]
    assert (
        f"{aux[8]:.2f} in the mean of epoch 8, {aux[10]:.0f} in that of epoch 10 and {aux[14]:.0f} in that of epoch 14;"
        in ANSWERS
    )
    assert f"the auxiliary loss was still {aux[200]:.1f} at the end" in ANSWERS
    accepted = 100 * closed["share_above_delta"].loc[15:]
    assert (round(accepted.max()), round(accepted.min())) == (3, 1)
    others = [history.set_index("epoch")["share_gate_open"] for history in histories[1:]]
    shares = " and ".join(f"{100 * other.mean():.0f}" for other in others)
    assert f"gates were open at {shares} % of all steps, and at all of the last tenth;" in ANSWERS
    assert all((other[-20:] == 1).all() for other in others)
    assert (others[1].loc[132:154] == 0).all()
    assert others[1].loc[131] > 0
    assert others[1].loc[155] > 0


def test_what_the_pull_alone_costs_by_dimensions() -> None:
    rows = [("pull_alone", (2, 3, 5, 9, 16, 64)), ("pull_to_simplex", (9, 16, 64))]
    found = {
        (row, number): differences(DIMENSIONS, f"{row}_{number}", f"mixup_{number}").mean()
        for row, numbers in rows
        for number in numbers
    }
    in_16 = "{:+.1f} and {:+.1f} in 16".format(*(value for (_, number), value in found.items() if number == 16))
    fewer = [value for (_, number), value in found.items() if number < 16]
    assert f"{in_16}, which is not significant, and {max(fewer):+.1f} to {min(fewer):+.1f} in nine and fewer" in ANSWERS


def test_disalign_on_digits() -> None:
    pairs = ("mixup_disalign", "mixup"), ("mixup_sar_disalign", "mixup_sar"), ("mixup_mislas", "mixup")
    found = [differences("digits-disalign", row, baseline) for row, baseline in pairs]
    assert [len(values) for values in found] == [10, 10, 10]
    assert "{} after MixUp and {} after SAR, MiSLAS {})".format(*map(said, found)) in ANSWERS


def test_margins_behind_an_embedding_layer_on_digits() -> None:
    figures = []
    for row in ("cosine", "cosface", "arcface"):
        found = differences(RIVALS, f"mixup_{row}_embedded", f"mixup_{row}")
        assert len(found) == 10
        mean, low, high = interval(found)
        figures += [f"{-mean:.1f}", f"[{low:+.1f}, {high:+.1f}]"]
    assert "{} points lower {}, CosFace {} {} and ArcFace {} {}.".format(*figures) in ANSWERS


def test_what_is_left_after_100_epochs_at_the_best_one() -> None:
    found = [differences(EPOCHS, f"sar_{epochs}", f"mixup_{epochs}", epoch="best") for epochs in (100, 200)]
    assert [len(values) for values in found] == [10, 10]
    first, second = map(said, found)
    assert f"(At the best test epoch {first} is left after 100 and {second} after 200.)" in ANSWERS


def test_sar_and_its_auxiliary_loss_alone_by_dimensions() -> None:
    found = {number: differences(DIMENSIONS, f"sar_{number}", f"aux_alone_{number}") for number in (2, 3, 5, 9, 16, 64)}
    by = []
    for number in (64, 16, 9):
        mean, low, high = interval(found[number])
        by += [f"{-mean:.1f}", f"[{low:+.1f}, {high:+.1f}]"]
    assert "by {} in 64 dimensions {}, {} in 16 {} and {} in nine {}, of which one".format(*by) in ANSWERS
    p = [stats.ttest_1samp(found[number], 0).pvalue for number in (5, 9, 16, 64)]
    assert sum(value < 0.05 for value in p) == 1
    assert min(holm(p)) > 0.05
    assert not found[2].any()
    assert not found[3].any()


def test_lower_learning_rates_on_digits() -> None:
    figures = [
        np.mean(list(last(PARTS, f"{row}_lr_{lr}").values())) for lr in ("0_015", "0_005") for row in ("mixup", "sar")
    ]
    assert (
        "(with 0.015 in place of 0.05: {:.1f} and {:.1f} %, with 0.005: {:.1f} and {:.1f} %).".format(*figures)
        in ANSWERS
    )
