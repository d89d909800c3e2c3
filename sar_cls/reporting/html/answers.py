"""The answer in words: which of the paper's claims came out in these runs, judged by the intervals of paired differences."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sar_cls.reporting.comparison import Line
from sar_cls.reporting.html.views import Entry, View
from sar_cls.reporting.paper import find
from sar_cls.suites.rows import Suite

SIGNIFICANT = 0.05
# Verdict -> how it is headed, in the order of the page.
VERDICTS = {
    "came out": "Came out",
    "did not": "Did not come out",
    "open": "Open: the intervals decide nothing",
    "one seed": "Open: one seed says nothing about chance",
    "changed": "Not tested: shortened or changed recipe",
    "not run": "Not tested: not run",
}


@dataclass(frozen=True)
class Answer:
    """What came of one claim.

    Attributes:
        verdict: a key of `VERDICTS`.
        claim: the claim with its origin; for rows without a published figure what is compared.
        finding: what was found.
        entry: key of the line that it rests on; "" where nothing was run.
    """

    verdict: str
    claim: str
    finding: str
    entry: str = ""


@dataclass(frozen=True)
class Answers:
    """All claims, and the comparisons about which the paper says nothing.

    Attributes:
        claims: of the paper.
        others: comparisons of rows for which the paper has no pair of figures.
        intervals: how many intervals were looked at.
    """

    claims: tuple[Answer, ...]
    others: tuple[Answer, ...]
    intervals: int

    def by_verdict(self) -> list[tuple[str, str, list[Answer]]]:
        """Verdict, heading and claims, without the empty ones."""
        groups = [(key, title, [a for a in self.claims if a.verdict == key]) for key, title in VERDICTS.items()]
        return [group for group in groups if group[2]]

    def summary(self) -> str:
        """All of it in a sentence or two."""
        if not self.claims:
            return f"The paper has no pair of figures for what is shown here. {self.comparisons()}".rstrip()
        counts = {key: sum(answer.verdict == key for answer in self.claims) for key in VERDICTS}
        untested = counts["changed"] + counts["not run"]
        undecided = counts["open"] + counts["one seed"]
        total = len(self.claims)
        claims = "one claim" if total == 1 else f"{total} claims"
        if untested == total:
            return f"None of the paper's {claims} about the rows shown here was tested by these runs."
        words = {
            "came out": counts["came out"],
            "did not come out": counts["did not"],
            f"{'is' if undecided == 1 else 'are'} open": undecided,
            f"{'was' if untested == 1 else 'were'} not tested": untested,
        }
        *parts, end = [f"{number} {text}" for text, number in words.items() if number or text == "came out"]
        return f"Of the paper's {claims} about the rows shown here, {', '.join(parts)}{' and ' if parts else ''}{end}."

    def comparisons(self) -> str:
        """What came of the comparisons without published figures, in a sentence; "" without any."""
        if not self.others:
            return ""
        counts = {key: sum(answer.verdict == key for answer in self.others) for key in VERDICTS}
        told = counts["came out"]
        untold = len(self.others) - told
        return (
            f"Of {len(self.others)} comparison{'' if len(self.others) == 1 else 's'} made here, {told} "
            f"{'shows' if told == 1 else 'show'} a difference that stands after Holm's correction, and {untold} "
            f"{'does' if untold == 1 else 'do'} not, or cannot with the runs that are here."
        )


def answers(views: Iterable[View]) -> Answers:
    """Goes through every line that has a baseline."""
    claims: list[Answer] = []
    others: list[Answer] = []
    intervals = 0
    for view in views:
        for line, entry in view.lines:
            if line.row.baseline is None:
                continue
            if line.to_baseline is not None and line.to_baseline.low is not None:
                intervals += 1
            gain = published_gain(view.suite, line)
            if gain is not None:
                claims.append(_about_claim(view, line, entry, gain))
            elif entry is not None:
                others.append(_without_claim(view, line, entry))
    tested = {answer.claim for answer in claims if answer.verdict not in ("changed", "not run")}
    kept = [a for a in claims if a.verdict not in ("changed", "not run") or a.claim not in tested]
    return Answers(tuple(kept), tuple(others), intervals)


def published_gain(suite: Suite, line: Line) -> float | None:
    """The paper's figure of a line's row minus that of its baseline; None where it has not both, or of another task."""
    if line.row.baseline is None or line.paper is None or line.row.paper_task is not None:
        return None
    baseline = suite.row(line.row.baseline)
    if baseline.paper is None:
        return None
    figure = find(suite.published_dataset(line.imbalance), baseline.paper, suite.metric, baseline.stage)
    same_source = figure is not None and figure.source == line.paper.source
    return line.paper.value - figure.value if figure is not None and same_source else None


def _about_claim(view: View, line: Line, entry: Entry | None, gain: float) -> Answer:
    suite = view.suite
    figure = line.paper
    assert figure is not None
    assert line.row.baseline is not None
    table = f"Tab. {figure.table}" if figure.table.isdigit() else figure.table
    stage = f", stage {line.row.stage}" if suite.two_stage else ""
    verb = "gains" if gain > 0 else "loses" if gain < 0 else "neither gains nor loses"
    size = f" {abs(gain):.2f} points" if gain else ""
    against = "over" if gain > 0 else "against"
    label, baseline = suite.full_label(line.row), suite.full_label(suite.row(line.row.baseline))
    claim = f"{_place(view)}: {label} {verb}{size} {against} {baseline} ({figure.source}, {table}{stage})."
    if entry is None:
        return Answer("not run", claim, "No run of it is here.")
    if line.deviations or _is_beside_float32(line):
        return Answer("changed", claim, _changed(line, entry), entry.key)
    difference = line.to_baseline
    if difference is None or difference.mean is None:
        return Answer(
            "not run",
            claim,
            f"{_seeds(line.last.n)} of it, but no run of {baseline} on the same seeds and data.",
            entry.key,
        )
    if difference.low is None or difference.high is None:
        finding = f"One pair of runs: {difference.mean:+.2f} points. With one seed nothing can be said about chance."
        return Answer("one seed", claim, finding, entry.key)
    low, high = difference.low, difference.high
    measured = _measured(line)
    within = low <= gain <= high
    holds_zero = not difference.significant
    if gain == 0:
        verdict = "open" if holds_zero else "did not"
        return Answer(verdict, claim, f"{measured}.", entry.key)
    if holds_zero and within:
        finding = f"{measured}: the interval holds both 0 and the paper's {gain:+.2f}; more seeds are needed to tell."
        return Answer("open", claim, finding, entry.key)
    if holds_zero:
        finding = f"{measured}: cannot be told from 0, and the interval leaves the paper's {gain:+.2f} out."
        return Answer("did not", claim, finding, entry.key)
    if (low > 0) != (gain > 0):
        return Answer("did not", claim, f"{measured}: the opposite of the claim.", entry.key)
    if line.adjusted is not None and line.adjusted.p >= SIGNIFICANT:
        finding = (
            f"{measured}: the direction is the paper's, but beside the other {line.adjusted.size - 1} rows compared with "
            "the same runs "
            f"it may be chance (Holm's p = {line.adjusted.p:.3f})."
        )
        return Answer("open", claim, finding, entry.key)
    larger = abs(difference.mean) > abs(gain)
    size_text = (
        f"the paper's {gain:+.2f} lies within it"
        if within
        else f"the paper's {gain:+.2f} lies outside it: the effect is {'larger' if larger else 'smaller'} here"
    )
    return Answer("came out", claim, f"{measured}: the direction is the paper's, and {size_text}.", entry.key)


def _without_claim(view: View, line: Line, entry: Entry) -> Answer:
    claim = f"{_place(view)}: {entry.label} against {entry.baseline_label}."
    if line.deviations:
        return Answer("changed", claim, _changed(line, entry), entry.key)
    difference = line.to_baseline
    if difference is None or difference.mean is None:
        return Answer("not run", claim, f"No run of {entry.baseline_label} on the same seeds and data.", entry.key)
    if difference.low is None:
        finding = f"One pair of runs: {difference.mean:+.2f} points. With one seed nothing can be said about chance."
        return Answer("one seed", claim, finding, entry.key)
    if not difference.significant:
        return Answer("open", claim, f"{_measured(line)}: cannot be told from 0.", entry.key)
    word = "higher" if difference.mean > 0 else "lower"
    if line.adjusted is not None and line.adjusted.p >= SIGNIFICANT:
        others = f"the other {line.adjusted.size - 1} rows compared with the same runs"
        doubt = f"{word} on its own, but beside {others} it may be chance (Holm's p = {line.adjusted.p:.3f})"
        return Answer("open", claim, f"{_measured(line)}: {doubt}.", entry.key)
    return Answer("came out", claim, f"{_measured(line)}: {word}.", entry.key)


def _is_beside_float32(line: Line) -> bool:
    """Whether the row was run in float32 too, as published: a claim is judged once."""
    precision = line.group.recipe.precision if line.group else "fp32"
    return precision != "fp32" and precision in line.others


def _changed(line: Line, entry: Entry) -> str:
    """What a shortened or changed recipe gave; it neither supports nor refutes a published figure."""
    found = "" if line.to_baseline is None or line.to_baseline.mean is None else f" {_measured(line)}."
    how = ", ".join((*line.deviations, *line.others))
    return f"Run by another recipe ({how}), {_seeds(len(entry.group.runs))}: no reproduction.{found}"


def _measured(line: Line) -> str:
    difference = line.to_baseline
    assert difference is not None
    assert difference.mean is not None
    if difference.low is None or difference.high is None:
        return f"In these runs {difference.mean:+.2f} points, one pair"
    interval = f"95 % interval [{difference.low:+.2f}, {difference.high:+.2f}]"
    return f"In these runs {difference.mean:+.2f} points, {interval}, {_pairs(difference.n)}"


def _place(view: View) -> str:
    return view.suite.title + (f", imbalance factor {view.imbalance:g}" if view.imbalance is not None else "")


def _seeds(number: int) -> str:
    return f"{number} seed{'' if number == 1 else 's'}"


def _pairs(number: int) -> str:
    return f"{number} pairs of seeds" if number > 1 else "1 pair"
