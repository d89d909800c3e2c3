"""The order of the official CIFAR-100 archive, for image folders that hold the original file names.

An image folder is sorted by class and file name, the archive is shuffled, and a published long tail depends on the order. The
archive names the file of each image (``filenames``), so its order is a permutation of the files sorted by class and name.
``cifar100_order.npz`` holds it for both splits.

Where it comes from: not from the archive itself but from public facts. CIFAR-100 was chosen from the Tiny Images (Torralba,
Fergus and Freeman 2008), which are sorted by noun and number, as CIFAR's file names are: ``mcintosh_s_000643.png`` is the
643rd image of the noun "mcintosh". The published index of each row of CIFAR-100 into the Tiny Images (``cifar_indexes``,
60,000 rows, 0 for images of other origin) was matched with the files sorted by noun and number. Class and split, which took no
part in it, agree for all 59,877 pairs; the resulting sequence of labels is that of two independent lists; the 39 exact
duplicates between train and test that ciFAIR-100 (Barz and Denzler 2020) names by index are duplicates; published first and
last file names agree.

What is not known: the files of other origin (``manual*``, of the classes beaver, shrew and skunk) have no index. Their order
among themselves, 95 positions in train and 16 in test, is filled in by name; the other 49,905 and 9,984 positions are
certain. By the published rule at most 2 of the 10,847 images of the long tail at imbalance 100 can differ from the official
subset, at most 6 of 12,608 at 50 and 8 of 19,573 at 10.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ORDER_FILE = Path(__file__).with_name("cifar100_order.npz")
# sha256 of the names "class/file", without extensions, sorted by class and file, joined by newlines.
NAMES_SHA256 = {
    "train": "be97fdae13b877bd4d4e18546cea2feae6a1ae58b16665a967e06e669eaa8efc",
    "test": "8c7b4ffe0c239b58f0b27b744a3453e92c8896379a57f7c3242ba725b0b938eb",
}


def official_positions(split: str) -> np.ndarray:
    """Where the images of the official archive stand among the files sorted by class and name.

    Args:
        split: ``"train"`` or ``"test"``.

    Returns:
        int64 [50000] or [10000], a permutation: image i of the archive is file ``positions[i]``.
    """
    with np.load(ORDER_FILE, allow_pickle=False) as arrays:
        return arrays[split].astype(np.int64)


def unresolved_positions(split: str) -> np.ndarray:
    """The places in the archive, ascending, whose image is filled in by name: int64 [95] for train, [16] for test."""
    with np.load(ORDER_FILE, allow_pickle=False) as arrays:
        return arrays[f"{split}_unresolved"].astype(np.int64)


def official_arrangement(split: str, files: Sequence[str]) -> np.ndarray | None:
    """The positions of some files in the order of the official archive, where they bear the original names.

    Args:
        split: ``"train"`` or ``"test"``.
        files: ``"class/file.extension"``, in any order; the extension may be any.

    Returns:
        int64 [n], a permutation: the archive's image i is ``files[positions[i]]``. None where the names, taken together, are not
        exactly the split's original ones.
    """
    names = [tuple(file.rsplit(".", 1)[0].split("/")) for file in files]
    ascending = sorted(range(len(names)), key=names.__getitem__)
    text = "\n".join("/".join(names[index]) for index in ascending)
    if hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest() != NAMES_SHA256[split]:
        return None
    return np.asarray(ascending, dtype=np.int64)[official_positions(split)]
