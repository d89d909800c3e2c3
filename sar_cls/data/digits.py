"""scikit-learn's handwritten digits: 1,797 real images that come with the installation, no download needed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from sar_cls.data.image_set import ImageSet

TEST_EVERY = 4


def load_digits(split: str) -> ImageSet:
    """The 8x8 digits of scikit-learn (Alpaydin and Kaynak, UCI 1998) as an RGB image set of ten classes.

    Of each class every fourth image, in the order of the file, goes to ``"test"`` and the others to ``"train"``.

    Args:
        split: ``"train"`` or ``"test"``.

    Returns:
        uint8 images [n, 8, 8, 3] with three equal channels: the 17 grey levels of the original, stretched to 0-255.
    """
    table = _table()
    grey = np.rint(table[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    labels = table[:, -1].astype(np.int64)
    chosen = [
        index
        for c in range(10)
        for rank, index in enumerate(np.flatnonzero(labels == c))
        if (rank % TEST_EVERY == TEST_EVERY - 1) == (split == "test")
    ]
    order = np.sort(np.asarray(chosen))
    images = np.repeat(grey[order][..., None], 3, axis=3)
    return ImageSet(
        images=torch.from_numpy(images),
        labels=torch.from_numpy(labels[order]),
        classes=tuple(str(digit) for digit in range(10)),
        name="digits",
        split=split,
    )


def _table() -> np.ndarray:
    """The digits [1797, 65]: 64 grey levels of 0 to 16 each, and the class.

    Read from the file that scikit-learn brings along: its import is 2.6 of the 11 s of processor time in which a run of the digits
    gets to its first step. Where a scikit-learn keeps the file elsewhere, its own function finds it.
    """
    package = find_spec("sklearn")
    if package is not None and package.origin is not None:
        path = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
        if path.is_file():
            return np.loadtxt(path, delimiter=",")
    from sklearn.datasets import load_digits as sklearn_digits

    data = sklearn_digits()
    return np.column_stack([data.data, data.target])
