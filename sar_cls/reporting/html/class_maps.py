"""How the classes lie to each other, as points in a plane: prototypes and semantic anchors of several seeds on common axes.

As in the figure of the paper (``reporting/figures/class_geometry.py``), a class is drawn by its profile, the cosines of its centred
vector to those of all classes, since the features of two seeds share no axes. Here the plane is that of the first two principal
components of all profiles of a view, whatever is installed: it takes no time, and rows can be compared.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sar_cls.metrics.separation import cosine_matrix
from sar_cls.reporting.figures.projection import principal_components
from sar_cls.reporting.geometry import RunGeometries
from sar_cls.reporting.html.numbers import all_short
from sar_cls.reporting.html.views import Entry, View

MOST_SEEDS = 3
KINDS = ("prototypes", "anchors")


def class_maps(view: View, source: RunGeometries) -> dict[str, Any]:
    """Points of the classes of each entry that has features.

    Returns:
        ``entries``: key -> kind of vectors -> a list over at most three seeds of ``seed`` and ``points`` ([x, y] or null for each
        class); and ``share``, percent of the profiles' variance in the plane. Empty without features. Entries with other numbers of
        classes than the first have no map.
    """
    profiles: list[tuple[Entry, str, int, np.ndarray, np.ndarray]] = []
    classes = None
    for entry in view.entries:
        for record in entry.group.runs[:MOST_SEEDS]:
            vectors = source.vectors(record)
            if vectors is None:
                continue
            classes = classes or len(vectors["counts"])
            for kind in KINDS:
                values = vectors.get(kind)
                if values is None or len(values) != classes:
                    continue
                there = np.isfinite(values).all(axis=1) & np.any(
                    values != 0, axis=1
                )  # an anchor that was never set is zero
                if there.sum() < 3:
                    continue
                profile = np.zeros((classes, classes))
                centred = values[there] - values[there].mean(axis=0)
                profile[np.ix_(there, there)] = np.nan_to_num(cosine_matrix(centred))
                profiles.append((entry, kind, record["seed"], profile, there))
    if not profiles:
        return {}
    plane = principal_components(np.concatenate([profile[there] for *_, profile, there in profiles]))
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    start = 0
    for entry, kind, seed, _, there in profiles:
        points: list[list[float | None] | None] = [None] * len(there)
        for place, point in zip(np.flatnonzero(there), plane.points[start:], strict=False):
            points[place] = all_short(point)
        start += int(there.sum())
        found.setdefault(entry.key, {}).setdefault(kind, []).append({"seed": seed, "points": points})
    return {"entries": found, "method": plane.method.partition(";")[0].strip("( ") + ")"}
