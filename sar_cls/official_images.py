"""On which order of CIFAR's images a result was measured, and what is known of the official one.

A long-tailed subset is drawn by position (see :func:`sar_cls.data.longtail_indices`), so it holds the published images only
where the images stand in the order of the official archive. Needs the standard library alone: tables start without torch.
"""

from __future__ import annotations

from dataclasses import dataclass

# How many classes a set has; of these sets the first so many can be taken.
CLASSES = {"cifar10": 10, "cifar100": 100, "cub200": 200}
# What is said of an image set's order.
ARCHIVE = "official archive"
RECOVERED = "recovered official order"
BY_NAME = "sorted by name"
OTHER_PIXELS = "official file names, other pixels"
UNKNOWN = "unknown order"

# Sets whose published long tails depend on the order.
ORDERED_SETS = ("cifar10", "cifar100")
# md5 sums of the files of the official archives, as torchvision's classes CIFAR10 and CIFAR100 list them.
ARCHIVE_MD5 = {
    "cifar10": {
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    },
    "cifar100": {
        "train": "16019d7e3df5f24257cddd939b257f8d",
        "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    },
}
# Fingerprints (see ImageSet) of all of CIFAR-100 in the recovered order.
RECOVERED_CIFAR100 = {
    "train": "f4aaabbaa3cd7a9d5d518e58ef1f37a028fdcd828580be165083f1e4365a18f3",
    "test": "0af5c106389ebdfe8fddd465d58b97ef157852bdf6b6713684ecf93ea0121edb",
}


@dataclass(frozen=True)
class Subset:
    """A long-tailed subset of CIFAR-100 by the published rule (exponential, seed 0).

    Attributes:
        imbalance: imbalance factor.
        order: that of the images it was drawn from.
        side: pixels of a side; 16 where the images were halved.
    """

    imbalance: float
    order: str
    side: int = 32


# Fingerprint of the training images -> which subset they are. The official archive's are not known: its order differs from the
# recovered one in places, see :mod:`sar_cls.data.official_order`.
SUBSETS = {
    "ffaa01f44e952e169988e4bb5a51dafae66dca3760d6847c8345398661bafc30": Subset(100, RECOVERED),
    "1f5e2dc04a0e9f8debe294ec8a3e79ce87acd3c8213303ac8363743924e51268": Subset(50, RECOVERED),
    "4d89fce40ddec40e04808805e8a3e583c9b81da76ae1f4459555ca32f1330094": Subset(10, RECOVERED),
    "2ceee9b3eb870bd286bac0429312ee64cc4d88671c59d55f2b9adb5b6fdab0e8": Subset(100, BY_NAME),
    "fdac2a0410eb9c719585b75e3651611f3712c05f138cd857d4658355fc49c7a9": Subset(50, BY_NAME),
    "9be8f1800f143e9b4cc7a1f8b86c51ae2dcbdefb9451ddb48bb9941963188a91": Subset(10, BY_NAME),
    "b44c3ca2e033d7b42edc58c379eacf32c35bbc8cb4b846b2caf83d8f5854ca33": Subset(100, RECOVERED, side=16),
    "f1ec3812c00cb69c0752b1e37f9d4b96780055614208aed4e6766eea777a1e98": Subset(50, RECOVERED, side=16),
    "60418d8c191de688fdeec92c1cca0471d7edb214a421d68ec7485703a43d4984": Subset(10, RECOVERED, side=16),
}
# Imbalance factor -> how many images of the subset in recovered order may be others than in the official subset, at most.
MAY_DIFFER = {100.0: 2, 50.0: 6, 10.0: 8}


def order_of(train_fingerprint: str, recorded: str | None = None) -> str:
    """The order from which the training images of a long-tailed CIFAR run were drawn.

    Args:
        train_fingerprint: of the images that were trained on.
        recorded: what the run's record says; None for a record that says nothing, whose fingerprint must tell.
    """
    if recorded is not None:
        return recorded
    return SUBSETS[train_fingerprint].order if train_fingerprint in SUBSETS else UNKNOWN


def is_published_subset(train_fingerprint: str, imbalance: float, order: str) -> bool:
    """Whether training images count as the published subset of CIFAR at this imbalance factor.

    They do where they were drawn from the official archive. Drawn from the recovered order they must be the known subset, where
    that is known (CIFAR-100 at 100, 50 and 10).
    """
    if order != RECOVERED:
        return order == ARCHIVE
    known = SUBSETS.get(train_fingerprint)
    return imbalance not in MAY_DIFFER or known == Subset(imbalance, RECOVERED)
