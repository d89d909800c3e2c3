"""Class anchors whose directions are given: by the names of the classes, by superclasses, or by a matrix of one's own.

They are brought to the dimension of the features and to the length that normal anchors have there, so that a comparison with
``anchors="normal"`` is one of directions alone. The controls tell what a gain would come from: the same directions dealt to
other classes, the same spread with random directions, the structure of the superclasses without any meaning.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sar_cls.anchors import ANCHOR_KINDS, class_anchors, generator_of
from sar_cls.class_names import embed_names
from sar_cls.files import why

# Of names: their embedding, the same dealt to other classes, and random directions of the same spread.
NAME_KINDS = ("text", "text_shuffled", "text_spectrum")
SUPERCLASSES = "superclasses"
# The share of an anchor's variance that its superclass makes up in the kind "superclasses".
SUPERCLASS_SHARE = 0.5
# Two anchors with a cosine above this are the same direction in float32.
_SAME = 1 - 1e-6


def draw_anchors(
    anchors: str | np.ndarray | Tensor,
    num_classes: int,
    feat_dim: int,
    seed: int | None = None,
    class_names: Sequence[str] | None = None,
    superclasses: Sequence[int] | None = None,
) -> Tensor:
    """Class anchors of any kind.

    Args:
        anchors: a kind of :func:`sar_cls.anchors.class_anchors`; ``"text"``, ``"text_shuffled"`` or ``"text_spectrum"``
            (need ``class_names``); ``"superclasses"`` (needs ``superclasses``); the name of a ``.npy`` file, or a matrix
            [C, K].
        num_classes: C.
        feat_dim: D.
        seed: of everything that is drawn; ``None`` draws from torch's global CPU generator.
        class_names: C different names, in the order of the labels.
        superclasses: for each class the number of its superclass.

    Returns:
        float32 [C, D] on the CPU.

    Raises:
        ValueError: an unknown kind, names or superclasses that are missing or do not fit, or a matrix that is no set of C
            different finite directions.
    """
    if isinstance(anchors, str) and anchors in ANCHOR_KINDS:
        return class_anchors(anchors, num_classes, feat_dim, seed)
    generator = generator_of(seed)
    if isinstance(anchors, str) and anchors in NAME_KINDS:
        matrix = embed_names(_checked_names(class_names, num_classes, anchors))
        if anchors == "text_shuffled":
            matrix = matrix[torch.randperm(num_classes, generator=generator).numpy()]
        if anchors == "text_spectrum":
            matrix = same_spectrum(matrix, generator)
        return anchors_from_matrix(matrix, num_classes, feat_dim, generator)
    if isinstance(anchors, str) and anchors == SUPERCLASSES:
        return superclass_anchors(superclasses, num_classes, feat_dim, generator)
    if isinstance(anchors, str):
        anchors = _read_matrix(anchors)
    if isinstance(anchors, Tensor):  # of any device and type, also a parameter
        anchors = anchors.detach().to("cpu", torch.float64).numpy()
    return anchors_from_matrix(np.asarray(anchors), num_classes, feat_dim, generator)


def anchors_from_matrix(
    matrix: np.ndarray, num_classes: int, feat_dim: int, generator: torch.Generator | None = None
) -> Tensor:
    """Any [C, K] matrix as class anchors: centred, turned at random into D dimensions, rows brought to length sqrt(D).

    Where K > D a random orthogonal projection keeps cosines on average and to about ``1 / sqrt(D)``; where K <= D they are
    kept exactly. sqrt(D) is the root mean square length of normal anchors.

    Raises:
        ValueError: another shape, entries that are not finite, or two anchors of one direction; the classes are named.
    """
    if matrix.ndim != 2 or matrix.shape[0] != num_classes or matrix.shape[1] < 1:
        raise ValueError(
            f"the matrix of anchors has shape {list(matrix.shape)}: give one row for each of the {num_classes} classes"
        )
    if not np.issubdtype(matrix.dtype, np.number) or not np.isfinite(matrix).all():
        raise ValueError("the matrix of anchors has entries that are no finite numbers: correct or leave out its rows")
    rows = torch.from_numpy(np.ascontiguousarray(matrix, dtype=np.float64))
    rows = rows - rows.mean(dim=0)
    wide, narrow = max(rows.shape[1], feat_dim), min(rows.shape[1], feat_dim)
    gaussian = torch.randn(wide, narrow, generator=generator, device="cpu", dtype=torch.float64)
    basis = torch.linalg.qr(gaussian)[0]
    turned = rows @ (basis if rows.shape[1] >= feat_dim else basis.T)
    lengths = turned.norm(dim=1, keepdim=True)
    if bool((lengths <= 1e-9 * lengths.max()).any()):
        raise ValueError(
            f"the anchor of class {int(lengths.argmin())} is the mean of all anchors and has no direction: give another row"
        )
    directions = turned / lengths
    cosines = (directions @ directions.T).fill_diagonal_(-1.0)
    if float(cosines.max()) > _SAME:
        first, second = divmod(int(cosines.argmax()), num_classes)
        raise ValueError(f"classes {first} and {second} have the same anchor: give different rows")
    return (math.sqrt(feat_dim) * directions).float()


def same_spectrum(matrix: np.ndarray, generator: torch.Generator | None = None) -> np.ndarray:
    """Random rows whose centred Gram matrix has the eigenvalues of the given matrix's: as spread out, without its meaning.

    Args:
        matrix: [C, K].
        generator: ``None`` is torch's global CPU generator.

    Returns:
        float64 [C, min(C - 1, K)].
    """
    centred = np.asarray(matrix, dtype=np.float64)
    centred = centred - centred.mean(axis=0)
    values = np.linalg.svd(centred, compute_uv=False)[: min(len(centred) - 1, centred.shape[1])]
    drawn = torch.randn(len(centred), len(values), generator=generator, device="cpu", dtype=torch.float64)
    basis = torch.linalg.qr(drawn - drawn.mean(dim=0))[0].numpy()
    return basis * values


def superclass_anchors(
    superclasses: Sequence[int] | None, num_classes: int, feat_dim: int, generator: torch.Generator | None = None
) -> Tensor:
    """Normal anchors of which classes of one superclass share a half: ``sqrt(1/2) S_{g(c)} + sqrt(1/2) N_c``; [C, D].

    Raises:
        ValueError: no superclasses, or not one for each class.
    """
    if superclasses is None or len(superclasses) != num_classes:
        given = "none" if superclasses is None else str(len(superclasses))
        raise ValueError(
            f"anchors 'superclasses' need the number of a superclass for each of {num_classes} classes, and {given} "
            "are given: pass superclasses=[...]"
        )
    groups = np.unique(np.asarray(superclasses), return_inverse=True)[1]
    shared = torch.randn(int(groups.max()) + 1, feat_dim, generator=generator, device="cpu")
    own = torch.randn(num_classes, feat_dim, generator=generator, device="cpu")
    return math.sqrt(SUPERCLASS_SHARE) * shared[torch.from_numpy(groups)] + math.sqrt(1 - SUPERCLASS_SHARE) * own


def _checked_names(class_names: Sequence[str] | None, num_classes: int, kind: str) -> list[str]:
    if class_names is None:
        raise ValueError(f"anchors {kind!r} need the names of the classes: pass class_names=[...]")
    names = [str(name) for name in class_names]
    if len(names) != num_classes:
        raise ValueError(f"there are {len(names)} class names for {num_classes} classes: give one for each")
    empty = [index for index, name in enumerate(names) if not name.strip()]
    if empty:
        raise ValueError(f"class {empty[0]} has no name: anchors {kind!r} need one for each class")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"the class name {twice[0]!r} stands {names.count(twice[0])} times: names must tell classes apart"
        )
    return names


def _read_matrix(file: str) -> np.ndarray:
    path = Path(file)
    if path.suffix != ".npy":
        known = ", ".join((*ANCHOR_KINDS, *NAME_KINDS, SUPERCLASSES))
        raise ValueError(f"unknown kind of class anchors {file!r}: choose one of {known}, or name a .npy file")
    try:
        return np.load(path, allow_pickle=False)
    except OSError as error:
        raise ValueError(why(error, path)) from error
    except ValueError as error:
        raise ValueError(f"{path} is no .npy file of numbers: save the matrix by numpy.save") from error
