"""Pre-defined class anchors: one fixed point of feature space for each class, drawn once, before any training.

The SAR paper compares three ways to draw them (Tab. 7: ND, OM, MES). Two of them exist only where feature space has
room for them; for more classes than that there is ``tight_frame``, the evenest spread of unit vectors there is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral

import torch
from torch import Tensor

# Of the descent that brings the "separated" anchors apart.
SEPARATION_STEPS, SEPARATION_RATE = 1000, 0.01


def class_anchors(kind: str, num_classes: int, feat_dim: int, seed: int | None = None) -> Tensor:
    """Draws the class anchors A.

    The drawing is done on the CPU in every case, so one seed gives the same anchors whatever device they are used on.

    Args:
        kind: ``"normal"``: independent standard normal entries (paper: ND), row norms near ``sqrt(feat_dim)``.
            ``"orthogonal"``: rows of a uniformly random orthogonal matrix (OM); needs ``num_classes <= feat_dim``.
            ``"simplex"``: a randomly turned simplex equiangular tight frame (MES), every pairwise cosine
            ``-1 / (num_classes - 1)``; needs ``feat_dim >= num_classes - 1``.
            ``"tight_frame"``: for ``num_classes > feat_dim``, see :func:`tight_frame`.
            ``"separated"``: unit rows whose nearest neighbours are far apart, for any C and D, see :func:`separated`.
            All but ``normal`` have rows of norm 1.
        num_classes: number of rows C, at least 2.
        feat_dim: number of columns D, at least 1.
        seed: seed of the drawing, at least 0. ``None`` draws from torch's global CPU generator.

    Returns:
        float32 tensor [C, D] on the CPU.

    Raises:
        ValueError: unknown kind, a wrong size, or no such anchors exist for this C and D (names the nearest choice).
    """
    if kind not in ANCHOR_KINDS:
        raise ValueError(f"unknown kind of class anchors {kind!r}: choose one of {', '.join(ANCHOR_KINDS)}")
    if num_classes < 2:
        raise ValueError(f"num_classes is {num_classes}: class anchors need at least 2 classes")
    if feat_dim < 1:
        raise ValueError(f"feat_dim is {feat_dim}: give the length of the feature vectors, at least 1")
    return ANCHOR_KINDS[kind](num_classes, feat_dim, generator_of(seed))


def generator_of(seed: int | None) -> torch.Generator | None:
    """A CPU generator that begins with this seed; None, torch's global one, for None.

    Raises:
        ValueError: a seed that is no whole number from 0 to below 2**63.
    """
    if seed is None:
        return None
    if not isinstance(seed, Integral) or isinstance(seed, bool) or not 0 <= seed < 2**63:
        raise ValueError(f"seed is {seed!r}: give a whole number of at least 0, or None for torch's global generator")
    return torch.Generator().manual_seed(int(seed))


def normal(num_classes: int, feat_dim: int, generator: torch.Generator | None = None) -> Tensor:
    """Independent standard normal entries, float32 [C, D]."""
    return torch.randn(num_classes, feat_dim, generator=generator, device="cpu", dtype=torch.float32)


def orthogonal(num_classes: int, feat_dim: int, generator: torch.Generator | None = None) -> Tensor:
    """Orthonormal rows, float32 [C, D].

    Raises:
        ValueError: C > D, where no C orthogonal directions exist.
    """
    if num_classes > feat_dim:
        nearest = "simplex" if num_classes == feat_dim + 1 else "tight_frame"
        raise ValueError(
            f"{num_classes} orthogonal anchors do not fit into {feat_dim} dimensions: "
            f"the nearest choice is {nearest!r} (or use at least {num_classes} dimensions)"
        )
    return _orthonormal_columns(feat_dim, num_classes, generator).T.contiguous().float()


def simplex(num_classes: int, feat_dim: int, generator: torch.Generator | None = None) -> Tensor:
    """Unit rows with all pairwise cosines -1 / (C - 1), the widest angle that C directions can share; float32 [C, D].

    The SAR paper's MES, ``sqrt(C / (C-1)) (I - 11' / C) U'``. The projection ``I - 11' / C`` is ``V V'`` with the
    C-1 orthonormal columns V below, so ``V Q'`` with a random orthonormal basis Q of C-1 directions is the same
    thing and needs only D >= C - 1.

    Raises:
        ValueError: D < C - 1, where no C directions share that angle.
    """
    if feat_dim < num_classes - 1:
        raise ValueError(
            f"a simplex of {num_classes} anchors does not fit into {feat_dim} dimensions: "
            f"the nearest choice is 'tight_frame' (or use at least {num_classes - 1} dimensions)"
        )
    centred = _helmert_columns(num_classes)
    basis = _orthonormal_columns(feat_dim, num_classes - 1, generator)
    return (math.sqrt(num_classes / (num_classes - 1)) * centred @ basis.T).float()


def tight_frame(num_classes: int, feat_dim: int, generator: torch.Generator | None = None) -> Tensor:
    """Unit rows that are spread evenly over more classes than dimensions; float32 [C, D] with ``A'A = (C / D) I``.

    Among all sets of C > D unit vectors these have the least sum of squared pairwise cosines (Benedetto and Fickus
    2003, "Finite normalized tight frames"), which makes them the nearest thing to orthogonal rows; that single pairs
    are as far apart as can be is not promised. The construction is a harmonic frame: row n holds the cosine and sine
    of ``2 pi k n / C`` for D/2 frequencies k (and a constant where D is odd), then the rows are shuffled and the
    space is turned at random. All rows are distinct but for D = 1, where the only unit vectors are 1 and -1.

    Raises:
        ValueError: C <= D, where the rows can be orthogonal.
    """
    if num_classes <= feat_dim:
        raise ValueError(f"{num_classes} anchors in {feat_dim} dimensions can be orthogonal: use 'orthogonal'")
    if feat_dim == 1:
        frame = 1.0 - 2.0 * (torch.arange(num_classes, dtype=torch.float64, device="cpu") % 2).unsqueeze(1)
    else:
        available = (num_classes - 1) // 2
        others = 2 + torch.randperm(available - 1, generator=generator, device="cpu")[: feat_dim // 2 - 1]
        # Frequency 1 is always there: it alone keeps all rows distinct, whatever divisors the others share with C.
        frequencies = torch.cat([torch.ones(1, dtype=torch.int64, device="cpu"), others])
        # The product is reduced modulo C as whole numbers, so that the angles stay exact for many classes.
        steps = torch.outer(torch.arange(num_classes, device="cpu"), frequencies) % num_classes
        angles = steps.double() * (2 * math.pi / num_classes)
        columns = [angles.cos(), angles.sin()]
        if feat_dim % 2:
            columns.append(torch.full((num_classes, 1), math.sqrt(0.5), dtype=torch.float64, device="cpu"))
        frame = torch.cat(columns, dim=1) * math.sqrt(2 / feat_dim)
    order = torch.randperm(num_classes, generator=generator, device="cpu")
    rotation = _orthonormal_columns(feat_dim, feat_dim, generator)
    return (frame[order] @ rotation.T).float()


def separated(num_classes: int, feat_dim: int, generator: torch.Generator | None = None) -> Tensor:
    """Unit rows whose nearest neighbours are as far apart as gradient descent brings them; float32 [C, D].

    The prototypes of hyperspherical prototype networks (Mettes, van der Pol and Snoek, NeurIPS 2019, Eq. 4,
    https://arxiv.org/abs/1901.10514): starting from random directions P on the sphere, the mean over classes of the largest
    cosine to another class, ``1/C sum_i max_j (P P' - 2 I)_ij``, is minimized, and rows are brought back to length one after
    each step. 1,000 steps of momentum 0.9 as published; the step length falls from ``0.01 C`` to 0 here, which ends nearer to
    the optimum than a fixed one (100 classes in 64 dimensions: largest cosine 0.002, of a tight frame 0.20, of normal rows
    0.48). Where a simplex exists it is the optimum. In one or two dimensions points cannot pass each other, and the optimum,
    a regular polygon, is :func:`tight_frame`.

    Cost: 1,000 products of C x D by D x C: 0.1 s for 100 classes in 64 dimensions, 6 s for 200 in 2,048, on one CPU core.
    """
    if feat_dim <= 2 and num_classes > feat_dim:
        return tight_frame(num_classes, feat_dim, generator)
    points = torch.nn.functional.normalize(
        torch.randn(num_classes, feat_dim, generator=generator, device="cpu", dtype=torch.float64), dim=1
    )
    velocity = torch.zeros_like(points)
    rows = torch.arange(num_classes, device="cpu")
    for step in range(SEPARATION_STEPS):
        cosines = points @ points.T
        cosines.fill_diagonal_(-2.0)
        nearest = cosines.argmax(dim=1)
        # The gradient of the mean of the row maxima: each row is moved by its neighbour, and by the rows it is nearest to.
        gradient = points[nearest].index_add(0, nearest, points[rows]) / num_classes
        velocity = 0.9 * velocity + gradient
        length = SEPARATION_RATE * num_classes * (1 - step / SEPARATION_STEPS)
        points = torch.nn.functional.normalize(points - length * velocity, dim=1)
    return points.float()


# Kind -> function (num_classes, feat_dim, generator) -> float32 [C, D]: the one place where a kind is added.
ANCHOR_KINDS: dict[str, Callable[[int, int, torch.Generator | None], Tensor]] = {
    "normal": normal,
    "orthogonal": orthogonal,
    "simplex": simplex,
    "tight_frame": tight_frame,
    "separated": separated,
}


def _orthonormal_columns(rows: int, columns: int, generator: torch.Generator | None) -> Tensor:
    """Float64 [rows, columns] with orthonormal columns, uniform over all such matrices; needs rows >= columns."""
    gaussian = torch.randn(rows, columns, generator=generator, device="cpu", dtype=torch.float64)
    q, r = torch.linalg.qr(gaussian)
    # With a positive diagonal of R the factorisation is unique: uniform, and the same from every LAPACK.
    return q * torch.where(r.diagonal() < 0, -1.0, 1.0)


def _helmert_columns(size: int) -> Tensor:
    """Float64 [size, size - 1]: orthonormal columns, each orthogonal to the vector of ones."""
    columns = torch.zeros(size, size - 1, dtype=torch.float64, device="cpu")
    for j in range(1, size):
        columns[:j, j - 1] = 1 / math.sqrt(j * (j + 1))
        columns[j, j - 1] = -j / math.sqrt(j * (j + 1))
    return columns
