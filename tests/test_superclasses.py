"""Superclasses of CIFAR-100 and CUB-200."""

from __future__ import annotations

from sar_cls.superclasses import CIFAR100_SUPERCLASSES, superclasses_of


def test_twenty_superclasses_of_five_different_classes() -> None:
    assert len(CIFAR100_SUPERCLASSES) == 20
    names = [name for group in CIFAR100_SUPERCLASSES.values() for name in group]
    assert all(len(group) == 5 for group in CIFAR100_SUPERCLASSES.values())
    assert len(set(names)) == 100


def test_cifar100_against_the_official_coarse_labels() -> None:
    # The coarse labels of the official archive, for the fine labels 0 to 99 in their (alphabetical) order.
    official = (
        "4 1 14 8 0 6 7 7 18 3 3 14 9 18 7 11 3 9 7 11 6 11 5 10 7 6 13 15 3 15 0 11 1 10 12 14 16 9 11 5 5 19 8 8 15 13 14 17 18 "
        "10 16 4 17 4 2 0 17 4 18 17 10 3 2 12 12 16 12 1 9 19 2 10 0 1 16 12 9 13 15 13 16 19 2 4 6 19 5 5 8 19 18 1 2 15 6 0 17 "
        "8 14 13"
    )
    names = sorted(name for group in CIFAR100_SUPERCLASSES.values() for name in group)
    assert superclasses_of("cifar100", names) == [int(number) for number in official.split()]


def test_birds_of_one_kind_share_the_last_word_of_their_names() -> None:
    names = ["001.Black_footed_Albatross", "002.Laysan_Albatross", "004.Groove_billed_Ani", "013.Bobolink"]
    assert superclasses_of("cub200", names) == [0, 0, 1, 2]


def test_unknown_sets_and_names_have_none() -> None:
    assert superclasses_of("digits", ["0", "1"]) is None
    assert superclasses_of("cifar100", ["apple", "my own class"]) is None
