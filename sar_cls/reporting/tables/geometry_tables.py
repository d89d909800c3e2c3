"""Tables of the geometry of features: values, paired differences to the baseline, agreement between seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sar_cls.reporting.geometry import VECTORS, Found, GeometryLine, to_frame
from sar_cls.reporting.stats import PairedDifference, Summary
from sar_cls.reporting.tables.cells import EMPTY
from sar_cls.reporting.tables.suite_tables import SuiteTables, Table
from sar_cls.suites.rows import Suite

CLASSES = {"all": "all", "many_shot": "many", "medium_shot": "medium", "few_shot": "few"}


@dataclass(frozen=True)
class Part:
    """One table's figures: split, heading, and figure -> column."""

    split: str
    heading: str
    columns: dict[str, str]
    notes: tuple[str, ...]


_SPREAD_NOTE = (
    "within: root mean square distance of an image to its class mean; between, nearest: distance of class means, to the others in "
    "the mean, to the nearest one. They depend on the features' scale; all other columns do not."
)
PARTS = (
    Part(
        "test",
        "compactness and separation of test features",
        {
            "within_distance": "within",
            "between_distance": "between",
            "nearest_distance": "nearest",
            "normalized_variance": "CDNV",
            "within_cosine": "cos within",
            "between_cosine": "cos between",
            "nearest_cosine": "cos nearest",
            "nc1": "NC1",
            "nc4": "NC4 %",
            "effective_rank": "eff. rank",
        },
        (
            _SPREAD_NOTE,
            "CDNV: class-distance normalised variance (Galanti et al. 2022); smaller is more compact and better separated. "
            "cos within, cos between: mean cosine of two images of a class, of images of two classes; cos nearest: of a class mean "
            "and the one nearest to it in angle.",
            "NC1: tr(S_W S_B^+) / C; NC4: test images that the classifier decides otherwise than the nearest training class "
            "mean (Papyan et al. 2020). eff. rank: effective rank of the features (Roy and Vetterli 2007).",
        ),
    ),
    Part(
        "train",
        "class means, classifier and anchors (training images)",
        {
            "normalized_variance": "CDNV",
            "nc1": "NC1",
            "nc2_norms": "NC2 norms",
            "nc2_angles": "NC2 angles",
            "nc2_simplex": "NC2 simplex",
            "nc3": "NC3",
            "weight_cosine": "cos to weights",
            "dependency": "dependency",
            "anchor_dependency": "of anchors",
            "anchor_cosine": "cos to anchors",
            "anchor_distance": "to anchors",
            "anchor_nearest": "own anchor nearest %",
        },
        (
            "Of the images that were trained on, without augmentation. NC2: spread of the lengths of centred class means, of "
            "their cosines, mean |cos + 1/(C-1)|; NC3: distance of classifier and class means, each scaled to length one (0 to "
            "4); all fall to zero in neural collapse (Papyan et al. 2020).",
            "dependency: 1 - R_cc with R = softmax(P P' / sqrt(D)), P the class means, and of anchors the semantic anchors: "
            "the reading here of the paper's inter-class dependency (Fig. 1), for which it gives no formula.",
        ),
    ),
)  # fmt: skip
AGREEMENT = {"prototypes": "prototypes", "anchors": "semantic anchors", "classifier": "classifier"}
_AGREEMENT_NOTE = (
    "Mean [least, greatest] correlation between the Gram matrices of two seeds' centred class vectors, off the diagonal; no "
    "rotation, shift or scale changes it. Pairs of seeds share seeds, so that there is no interval; Δ: to the baseline, over the "
    "pairs that both have."
)


class _Words:
    """Numbers the reasons why runs have no figure as they come up."""

    def __init__(self) -> None:
        self.known: list[str] = []

    def marks(self, reasons: Sequence[str]) -> str:
        for reason in reasons:
            if reason not in self.known:
                self.known.append(reason)
        return "".join(f" [{self.known.index(reason) + 1}]" for reason in reasons)

    def texts(self) -> list[str]:
        return [f"[{number}] {reason}." for number, reason in enumerate(self.known, 1)]


def geometry_tables(results: Sequence[tuple[Suite, Sequence[GeometryLine]]]) -> SuiteTables:
    """The tables of some suites; without a line that has geometry there are none."""
    tables: list[Table] = []
    for suite, lines in results:
        for imbalance in dict.fromkeys(line.group.recipe.imbalance for line in lines):
            own = [line for line in lines if line.group.recipe.imbalance == imbalance]
            title = suite.title + (f", imbalance factor {imbalance:g}" if imbalance is not None else "")
            for part in PARTS:
                tables += [_values(suite, f"{title}: {part.heading}", part, own)]
                if any(found.difference is not None for line in own for found in line.figures.values()):
                    tables += [_differences(suite, f"{title}: {part.heading}, difference to the baseline", part, own)]
            if any(line.agreement for line in own):
                tables.append(_agreement(suite, f"{title}: agreement of the class geometry between seeds", own))
    return SuiteTables(tuple(tables), to_frame(results))


def _values(suite: Suite, title: str, part: Part, lines: Sequence[GeometryLine]) -> Table:
    words, rows = _Words(), []
    names = [name for name in part.columns if _any(lines, part.split, name)]
    for line in lines:
        for shots in line.shot_groups:
            found = {name: line.figures.get((part.split, shots, name)) for name in names}
            ns = {item.summary.n for item in found.values() if item is not None and item.summary.n}
            most = max(ns, default=0)
            cells = [EMPTY if item is None else _value_cell(item, most, words) for item in found.values()]
            rows.append([*_labels(suite, line, shots), str(most), *cells])
    return _table(
        title, ["method", "classes", "n", *(part.columns[name] for name in names)], rows, [*words.texts(), *part.notes]
    )


def _differences(suite: Suite, title: str, part: Part, lines: Sequence[GeometryLine]) -> Table:
    rows = []
    names = [name for name in part.columns if _any(lines, part.split, name) and not _is_of_anchors(name)]
    for line in lines:
        for shots in line.shot_groups:
            found = [line.figures.get((part.split, shots, name)) for name in names]
            if any(item is not None and item.difference is not None and item.difference.n for item in found):
                cells = [difference_cell(None if item is None else item.difference) for item in found]
                rows.append([*_labels(suite, line, shots), *cells])
    note = (
        "Mean difference over paired seeds with its 95 % interval (paired t-test); n.s.: the interval holds 0. Not corrected for "
        "the number of cells."
    )
    return _table(title, ["method", "classes", *(part.columns[name] for name in names)], rows, [note])


def _agreement(suite: Suite, title: str, lines: Sequence[GeometryLine]) -> Table:
    rows = []
    for line in lines:
        for shots in line.shot_groups:
            cells = []
            for name in VECTORS:
                found = line.agreement.get((name, shots))
                if found is None or found.mean is None:
                    cells.append(EMPTY)
                    continue
                text = (
                    f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]" if found.pairs > 1 else f"{found.mean:.3f}"
                )
                cells.append(text + (f", Δ {found.to_baseline:+.3f}" if found.to_baseline is not None else ""))
            pairs = max((item.pairs for (_, part), item in line.agreement.items() if part == shots), default=0)
            if pairs:
                rows.append([*_labels(suite, line, shots), str(pairs), *cells])
    return _table(title, ["method", "classes", "pairs of seeds", *AGREEMENT.values()], rows, [_AGREEMENT_NOTE])


def _table(title: str, columns: list[str], rows: list[list[str]], notes: Sequence[str]) -> Table:
    import pandas as pd

    return Table(title, pd.DataFrame(rows, columns=columns), tuple(notes))


def _labels(suite: Suite, line: GeometryLine, shots: str) -> list[str]:
    details = ", ".join((*line.deviations, *line.others))
    return [suite.full_label(line.group.row) + (f" ({details})" if details else ""), CLASSES.get(shots, shots)]


def _any(lines: Sequence[GeometryLine], split: str, name: str) -> bool:
    return any(key[0] == split and key[2] == name for line in lines for key in line.figures)


def _is_of_anchors(name: str) -> bool:
    """Whether a baseline has no such figure."""
    return name.startswith("anchor_")


def _value_cell(found: Found, runs: int, words: _Words) -> str:
    """Mean ± spread; where fewer than ``runs`` runs have the figure, how many do and why the others do not."""
    if found.summary.mean is None:
        return f"{EMPTY}{words.marks(found.reasons)}"
    if found.summary.n == runs:
        return summary_cell(found.summary)
    return f"{summary_cell(found.summary)} ({found.summary.n} of {runs}){words.marks(found.reasons)}"


def summary_cell(summary: Summary) -> str:
    """``0.123 ± 0.004``: three digits of the mean, two of the spread."""
    assert summary.mean is not None
    return f"{summary.mean:.3g}" + (f" ± {summary.std:.2g}" if summary.std is not None else "")


def difference_cell(difference: PairedDifference | None) -> str:
    """``+0.12 [+0.05, +0.19]``, with ``n.s.`` where the interval holds 0."""
    if difference is None or difference.mean is None:
        return EMPTY
    if difference.low is None or difference.high is None:
        return f"{difference.mean:+.3g} (1 pair)"
    doubt = "" if difference.significant else " n.s."
    return f"{difference.mean:+.3g} [{difference.low:+.2g}, {difference.high:+.2g}]{doubt}"
