"""scikit-learn's handwritten digits: 1,797 real images that come with the installation, no download needed."""

from __future__ import annotations

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
    from sklearn.datasets import load_digits as sklearn_digits

    data = sklearn_digits()
    grey = np.rint(data.images * (255 / 16)).astype(np.uint8)
    labels = data.target.astype(np.int64)
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
