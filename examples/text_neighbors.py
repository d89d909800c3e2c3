"""What class anchors from names know: the nearest other classes of ten of CIFAR-100, as a Markdown table.

    pip install 'sar-cls[text]'
    python examples/text_neighbors.py

By the cosine of centred vectors: of MiniLM's 384 numbers a name, of the anchors that SAR takes in 64 dimensions
(``anchors="text"``, a random orthogonal projection), and of its control, the same anchors dealt to other classes. Classes of the
same superclass are bold; below stands for how many of the 100 classes the nearest one is of the same superclass, as the mean over
ten seeds.
"""

from __future__ import annotations

import numpy as np

from sar_cls.class_names import embed_names
from sar_cls.given_anchors import draw_anchors
from sar_cls.superclasses import CIFAR100_SUPERCLASSES

NAMES = sorted(name for names in CIFAR100_SUPERCLASSES.values() for name in names)  # in the order of the labels
HOME = {name: home for home, names in CIFAR100_SUPERCLASSES.items() for name in names}
SHOWN = ("apple", "bee", "bottle", "dolphin", "keyboard", "leopard", "maple_tree", "mountain", "streetcar", "woman")
DIMENSIONS, SEEDS, NEAREST = 64, 10, 3


def neighbors(vectors: np.ndarray) -> list[list[str]]:
    """The names of the other classes from the nearest to the farthest, for each row [C, K]."""
    rows = vectors - vectors.mean(axis=0)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -np.inf)
    return [[NAMES[other] for other in np.argsort(-row)[:-1]] for row in cosines]


def hits(found: list[list[str]]) -> int:
    """In how many classes the nearest other one is of the same superclass."""
    return sum(HOME[name] == HOME[others[0]] for name, others in zip(NAMES, found, strict=True))


def of_anchors(kind: str, seed: int) -> list[list[str]]:
    """The neighbors under the anchors that SAR would take."""
    return neighbors(draw_anchors(kind, len(NAMES), DIMENSIONS, seed, class_names=NAMES).double().numpy())


def main() -> str:
    kinds = ("text", "text_shuffled")
    named = neighbors(embed_names(NAMES).astype(np.float64))
    drawn = {kind: [of_anchors(kind, seed) for seed in range(SEEDS)] for kind in kinds}
    columns = [named, *(drawn[kind][0] for kind in kinds)]
    titles = ["MiniLM, 384", f"anchors, {DIMENSIONS}", f"dealt to other classes, {DIMENSIONS}"]
    lines = ["| class | " + " | ".join(titles) + " |", "|---" * (len(titles) + 1) + "|"]
    for name in SHOWN:
        cells = [
            ", ".join(
                f"**{other}**" if HOME[other] == HOME[name] else other for other in column[NAMES.index(name)][:NEAREST]
            )
            for column in columns
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    means = [float(np.mean([hits(found) for found in drawn[kind]])) for kind in kinds]
    lines.append(f"| nearest in the same superclass, of 100 | {hits(named)} | {means[0]:.1f} | {means[1]:.1f} |")
    table = "\n".join(lines)
    print(table)
    return table


if __name__ == "__main__":
    main()
