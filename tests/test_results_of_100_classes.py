"""Sentences of results/README.md on a hundred classes, 16x16 and Tab. 10, follow from the kept records, computed anew."""

from __future__ import annotations

import itertools

import numpy as np
from kept_records import ANSWERS, LT16, differences, extras, holm, interval, last, said
from scipy import stats

# The kinds of SAR's anchors beside the normal ones.
KINDS = ("separated", "text", "text_shuffled", "text_spectrum", "superclasses")


def test_car_at_32x32() -> None:
    (first,) = differences("cifar100_lt", "mixup_car", "mixup")
    (second,) = differences("cifar100_lt", "mixup_car_mislas", "mixup_mislas")
    assert f"where MixUp is in it: {first:+.2f}, after MiSLAS {second:+.2f}." in ANSWERS


def test_anchors_with_a_meaning_at_16x16() -> None:
    text, dealt = "mixup_sar_text", "mixup_sar_text_shuffled"

    def says(row: str, baseline: str, metric: str = "") -> str:
        d = differences(LT16, row, baseline, metric)
        assert len(d) == 3
        return said(d)

    assert f"where it is with random anchors, {says(text, 'mixup_sar')}." in ANSWERS
    against = says(dealt, "mixup_sar"), says(dealt, text)
    assert "{} against random anchors and {} against those with a meaning".format(*against) in ANSWERS
    assert (differences(LT16, dealt, "mixup_sar") > 0).all()
    assert (differences(LT16, dealt, text) > 0).all()
    ours, theirs = (np.mean(list(last(LT16, row, "errors_within_superclass").values())) for row in (text, dealt))
    near = f"{ours:.1f} % of them stay inside the right superclass, dealt to other classes {theirs:.1f} %"
    assert f"{near} ({says(text, dealt, 'errors_within_superclass')})" in ANSWERS


def test_six_kinds_of_anchors_at_16x16() -> None:
    spread, groups, dealt = "mixup_sar_text_spectrum", "mixup_sar_superclasses", "mixup_sar_text_shuffled"
    assert f"are where random anchors are, {said(differences(LT16, spread, 'mixup_sar'))}. Anchors" in ANSWERS
    against = [said(differences(LT16, groups, row)) for row in ("mixup_sar", "mixup_sar_text", dealt)]
    text = "have {} against random ones and {} against those from names, but no more than the dealt ones"
    assert text.format(*against[:2]) in ANSWERS
    assert f"in which no neighbour means anything ({against[2]})." in ANSWERS
    rows = ["mixup_sar", *(f"mixup_sar_{kind}" for kind in KINDS)]
    pairs = list(itertools.combinations(rows, 2))
    p = holm([stats.ttest_1samp(differences(LT16, *pair), 0).pvalue for pair in pairs])
    assert len(pairs) == 15
    assert f"none differs after Holm's correction (the smallest p is {min(p):.2f})" in ANSWERS
    below = [-differences(LT16, row, "mixup").mean() for row in rows]
    assert f"each kind is below MixUp, by {min(below):.1f} to {max(below):.1f} points in the mean" in ANSWERS
    near = np.mean(list(last(LT16, groups, "errors_within_superclass").values()))
    against_dealt = said(differences(LT16, groups, dealt, "errors_within_superclass"))
    assert f"with anchors by superclass {near:.1f} % (against dealt ones {against_dealt})" in ANSWERS


def test_class_vectors_and_class_means_at_16x16() -> None:
    def cosines(row: str) -> dict[int, float]:
        found = {seed: extra["geometry"]["train"]["all"]["weight_cosine"] for seed, extra in extras(LT16, row).items()}
        assert len(found) == 3
        return found

    rows = ["mixup_sar", *(f"mixup_sar_{kind}" for kind in KINDS)]
    means = {row: np.mean(list(cosines(row).values())) for row in rows}
    assert (min(means, key=lambda row: means[row]), max(means, key=lambda row: means[row])) == (rows[1], rows[3])
    between = f"between {means[rows[1]]:.2f} (separated) and {means[rows[3]]:.2f} (dealt to other classes)"
    others = ("mixup_balanced_softmax_sar", "mixup_balanced_softmax", "mixup_center")
    ours, alone, center = (np.mean(list(cosines(row).values())) for row in others)
    on_top = f"on top of balanced softmax {ours:.2f}, where balanced softmax alone has {alone:.2f}"
    assert f"{between}; and {on_top}, and center loss, which trains features alone, {center:.2f}." in ANSWERS
    plain = last(LT16, "mixup")
    pairs = [(cosines(row)[seed], top1 - plain[seed]) for row in rows for seed, top1 in last(LT16, row).items()]
    assert len(pairs) == 18
    r, p = stats.pearsonr(*zip(*pairs, strict=True))
    assert f"not shown (r = {r:.2f} over the 18 runs with these anchors, p = {p:.2f})" in ANSWERS


def test_separated_anchors_at_16x16() -> None:
    row = "mixup_sar_separated"
    d = differences(LT16, row, "mixup_sar")
    assert f"are where random ones are, {said(d)}, and" in ANSWERS
    assert f"so it is with separated ones, {said(d)}; none of six" in ANSWERS
    mean, low, high = interval(differences(LT16, row, "mixup"))
    assert f"and {-mean:.1f} below MixUp [{low:+.1f}, {high:+.1f}]." in ANSWERS
    ours, random = (extras(LT16, each) for each in (row, "mixup_sar"))
    shares = sorted(100 * gate["share_gate_open"] for gate in ours.values())
    assert (
        "With separated anchors it was open at {:.0f} %, {:.0f} % and {:.0f} % of all steps".format(*shares) in ANSWERS
    )
    assert all(ours[seed]["share_gate_open"] < random[seed]["share_gate_open"] for seed in ours)
    (closed,) = (seed for seed, gate in ours.items() if gate["share_gate_open_last_tenth"] == 0)
    assert ours[closed]["share_gate_open"] == min(gate["share_gate_open"] for gate in ours.values())
    gain = last(LT16, row)[closed] - last(LT16, "mixup_sar")[closed]
    assert f"ended closed, at {gain:.1f} above the random anchors of its seed" in ANSWERS
    assert "| SAR with separated anchors, 100 classes, 16x16 | 1 of 3 |" in ANSWERS


def test_sar_on_top_of_balanced_softmax_at_16x16() -> None:
    rows = ("mixup_balanced_softmax_sar", "mixup_balanced_softmax")
    d = differences(LT16, *rows)
    assert len(d) == 3
    few, many = (differences(LT16, *rows, f"{shot}_shot") for shot in ("few", "many"))
    p = [stats.ttest_1samp(differences(LT16, *rows, f"{shot}_shot"), 0).pvalue for shot in ("many", "medium", "few")]
    assert [value < 0.05 for value in holm(p)] == [True, False, True]
    shots = f"by few-shot classes ({said(few)}; many-shot ones gain {said(many).lstrip('+')})"
    shares = [100 * gate["share_gate_open"] for gate in extras(LT16, rows[0]).values()]
    is_open = f"with its gate open at {min(shares):.0f} to {max(shares):.0f} % of all steps"
    after = differences(LT16, f"{rows[0]}_mislas", f"{rows[1]}_mislas")
    loses = f"it loses {said(d).lstrip('-')} (p = {stats.ttest_1samp(d, 0).pvalue:.3f}), {shots} and {is_open}"
    assert f"{loses}; after MiSLAS it loses {said(after).lstrip('-')}, not significant." in ANSWERS
    mean, low, high = interval(d)
    assert f"and {-mean:.1f} on top of balanced softmax [{low:+.1f}, {high:+.1f}];" in ANSWERS
    first, second = (np.mean(list(last(LT16, row).values())) for row in (rows[0], f"{rows[0]}_mislas"))
    assert f"| MixUp, balanced softmax+SAR | {first:.1f} | – | {second:.1f} |" in ANSWERS
    assert [gate["share_gate_open_last_tenth"] for gate in extras(LT16, rows[0]).values()] == [1.0] * 3
    assert "| SAR on balanced softmax, 100 classes, 16x16 | 0 of 3 |" in ANSWERS


def test_the_rivals_at_16x16() -> None:
    cosface = said(differences(LT16, "mixup_cosface", "mixup_cosine")).lstrip("-")
    half = said(differences(LT16, "mixup_arcface_0_1", "mixup_cosine")).lstrip("-")
    both = f"CosFace costs its cosine classifier {cosface} and ArcFace with a margin of 0.1 {half}, hyperspherical"
    assert both in ANSWERS
    found = {}
    for row, baseline in (
        ("arb", "mixup"),
        ("cosine", "mixup"),
        ("etf_projection", "mixup"),
        ("projection", "mixup"),
        ("cosface", "mixup_cosine"),
        ("arcface", "mixup_cosine"),
    ):
        d = differences(LT16, f"mixup_{row}", baseline)
        assert len(d) == 3
        found[row] = interval(d)
    assert "gains {:+.1f} over MixUp [{:+.1f}, {:+.1f}], as much as balanced".format(*found["arb"]) in ANSWERS
    mean, low, high = found["etf_projection"]
    assert f"is {-mean:.1f} below MixUp [{low:+.1f}, {high:+.1f}], as far as SAR's auxiliary loss alone;" in ANSWERS
    assert f"{mean:.1f}" == f"{differences(LT16, 'mixup_aux_alone', 'mixup').mean():.1f}"
    mean, low, high = interval(differences(LT16, "mixup_sar", "mixup_etf_projection"))
    assert f"is another {-mean:.1f} lower [{low:+.1f}, {high:+.1f}]" in ANSWERS
    assert "with cross-entropy behind it {:+.1f} [{:+.1f}, {:+.1f}]".format(*found["projection"]) in ANSWERS
    assert "is where MixUp is ({:+.1f} [{:+.1f}, {:+.1f}])".format(*found["cosine"]) in ANSWERS
    mean, low, high = found["cosface"]
    assert f"CosFace costs it {-mean:.1f} [{low:+.1f}, {high:+.1f}]" in ANSWERS
    assert set(last(LT16, "mixup_arcface").values()) == {1.0}
    short = last("cifar100_lt_16-20-epochs", "mixup_arcface_embedded").values()
    assert f"three seeds of 20 of the 200 epochs end at {min(short):.1f} to {max(short):.1f} %" in ANSWERS


def test_the_simplex_against_its_control_at_16x16() -> None:
    rows = ("mixup_etf_projection", "mixup_projection")
    at_last, at_best = (said(differences(LT16, *rows, epoch=epoch)) for epoch in ("last", "best"))
    projection = said(differences(LT16, rows[1], "mixup", epoch="best"))
    at_best = f"At the best epochs the parts change places: {projection} and {at_best}."
    assert f"against that control {at_last}, not significant. {at_best}" in ANSWERS
    shots = [
        np.mean(list(last(LT16, row, f"{shot}_shot").values())) for shot in ("many", "medium", "few") for row in rows
    ]
    says = "many-shot classes have {:.1f} % where its control has {:.1f}, medium {:.1f} and {:.1f}, few-shot {:.1f} and {:.1f}"
    assert f"{says.format(*shots)}, none of the three intervals holds 0." in ANSWERS
    for shot in ("many", "medium", "few"):
        _, low, high = interval(differences(LT16, *rows, f"{shot}_shot"))
        assert low * high > 0


def test_tab_10_at_the_best_epochs_and_by_shots() -> None:
    first = said(differences("cifar100_lt", "mixup_sar", "mixup", epoch="best"))
    second = said(differences("cifar100_lt", "mixup_sar_mislas", "mixup_mislas", epoch="best"))
    assert f"as the paper's are: {first} and {second}, so well inside and outside)" in ANSWERS
    shots = [
        interval(differences("cifar100_lt", "mixup_sar_mislas", "mixup_mislas", f"{shot}_shot"))
        for shot in ("many", "medium", "few")
    ]
    text = "many {:+.1f} [{:+.1f}, {:+.1f}], medium {:+.1f} [{:+.1f}, {:+.1f}], few {:+.1f} points [{:+.1f}, {:+.1f}]"
    assert text.format(*shots[0], *shots[1], *shots[2]) in ANSWERS
    p = [
        stats.ttest_1samp(differences("cifar100_lt", "mixup_sar_mislas", "mixup_mislas", f"{shot}_shot"), 0).pvalue
        for shot in ("many", "medium", "few")
    ]
    assert "significant (p = {:.2f}, {:.2f} and {:.2f})".format(*holm(p)) in ANSWERS


def test_the_loss_at_16x16_over_all_rows_compared_with_mixup() -> None:
    rows = (
        "sar",
        "aux_alone",
        "sar_shielded",
        "car",
        "balanced_softmax",
        "arb",
        "cosine",
        "etf_projection",
        "projection",
        "inc",
        "center",
        "hyperspherical",
        *(f"sar_{kind}" for kind in KINDS),
    )
    p = [stats.ttest_1samp(differences(LT16, f"mixup_{row}", "mixup"), 0).pvalue for row in rows]
    assert f"{holm(p[:4])[0]:.3f} over the four rows of the suite, {holm(p)[0]:.3f} over all seventeen" in ANSWERS
    corrected = dict(zip(rows, holm(p), strict=True))
    assert f"(not significant over all seventeen rows, p = {corrected['projection']:.3f})" in ANSWERS
    mean, low, high = interval(differences(LT16, "mixup_inc", "mixup"))
    inc = (
        f"INC {-mean:.1f} [{low:+.1f}, {high:+.1f}], which is not either after correction (p = {corrected['inc']:.2f})"
    )
    assert inc in ANSWERS
    center = said(differences(LT16, "mixup_center", "mixup")).lstrip("-")
    assert f"changes nothing, loses {center}, not significant either." in ANSWERS
    assert corrected["center"] > 0.05
    mean, low, high = interval(differences(LT16, "mixup_hyperspherical", "mixup"))
    assert f"after 20 epochs, cost {-mean:.1f} [{low:+.1f}, {high:+.1f}]:" in ANSWERS
    differ = ("aux_alone", "hyperspherical", "sar_separated", "sar_text")
    alone, prototypes, separated = (f"(p = {corrected[row]:.3f}" for row in differ[:3])
    names = f"SAR with anchors from class names (p = {corrected['sar_text']:.4f})"
    both = f"the auxiliary loss alone {alone}), hyperspherical prototypes {prototypes}) and {names}"
    assert f"{both} or separated ones {separated}, see below for both) differ from MixUp" in ANSWERS
    assert max(corrected[row] for row in differ) < 0.05
    assert {f"{corrected[row]:.3f}" for row in ("balanced_softmax", "arb", "etf_projection")} == {"0.077"}
    assert min(p for row, p in corrected.items() if row not in differ) > 0.05
    own = [
        p[rows.index(row)]
        for row in ("arb", "sar", "sar_shielded", "car", "cosine", "projection", "inc", "center", "hyperspherical")
    ]
    others = f"(p = 0.077; over the nine of its own suite ARB-loss has {holm(own)[0]:.3f})"
    assert f"ARB-loss nor the simplex quite does {others}" in ANSWERS


def test_hyperspherical_prototypes_at_16x16_know_no_rare_class() -> None:
    rows = ("mixup_hyperspherical", "mixup")
    assert set(last(LT16, rows[0], "few_shot").values()) == {0.0}
    means = [
        np.mean(list(last(LT16, row, f"{shot}_shot").values())) for shot in ("few", "medium", "many") for row in rows
    ]
    says = "({:.1f} % where MixUp has {:.1f}; medium {:.1f} and {:.1f}, many-shot {:.1f} and {:.1f})"
    assert says.format(*means) in ANSWERS


def test_sar_in_128_dimensions_at_16x16() -> None:
    seeds = (1024, 5555, 1270964153)
    ours, theirs = (last(LT16, row) for row in ("sar_projection", "mixup_projection"))
    assert ours.keys() == theirs.keys() == set(seeds)
    text = "SAR has {:.1f}, {:.1f} and {:.1f} % in three seeds where the same net without SAR has {:.1f}, {:.1f} and {:.1f}."
    assert text.format(*(found[seed] for found in (ours, theirs) for seed in seeds)) in ANSWERS
    closed = sum(gate["share_gate_open_last_tenth"] == 0 for gate in extras(LT16, "sar_projection").values())
    assert f"| SAR in 128 dimensions, 100 classes, 16x16 | {closed} of 3 |" in ANSWERS


def test_ten_and_twenty_classes_at_the_best_epochs() -> None:
    def best(row: str, classes: int) -> str:
        return said(differences(LT16, f"{row}_{classes}_classes", f"mixup_{classes}_classes", epoch="best"))

    ten = f"SAR has {best('sar', 10)} with ten classes and the auxiliary loss alone {best('aux_alone', 10)}"
    twenty = " and ".join(best(row, 20).split(" ")[0] for row in ("sar", "aux_alone"))
    assert f"(At the best test epochs {ten}, with twenty {twenty}.)" in ANSWERS


def test_half_the_margin_of_arcface_at_16x16() -> None:
    rows = ("mixup_cosface", "mixup_arcface", "mixup_arcface_0_1")
    p = holm([stats.ttest_1samp(differences(LT16, row, "mixup_cosine"), 0).pvalue for row in rows])
    assert (f"{p[0]:.3f}", f"{p[2]:.3f}") == ("0.005", "0.005")
    every, many, medium, few = (
        differences(LT16, rows[2], "mixup_cosine", metric) for metric in ("", "many_shot", "medium_shot", "few_shot")
    )
    cost, middle, rare = (said(found).lstrip("-") for found in (every, medium, few))
    text = f"costs the cosine classifier {cost} (p = 0.005 over the three rows with a margin, as CosFace's): "
    middle = middle.replace(" [", " on medium [")
    rare = rare.replace(" [", " on few-shot classes [")
    assert f"{text}{middle} and {rare}, where many-shot ones have {said(many)}." in ANSWERS
