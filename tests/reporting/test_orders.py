"""Tables know on which order of CIFAR's images a long tail was drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from synthetic_runs import make_record, second_stage, write_run

from sar_cls.cli import CONFIGS
from sar_cls.official_images import ARCHIVE, BY_NAME, OTHER_PIXELS, RECOVERED, SUBSETS, UNKNOWN, Subset
from sar_cls.reporting.comparison import compare
from sar_cls.reporting.tables.suite_tables import suite_tables
from sar_cls.suites.rows import load_suite

SUITE = load_suite(CONFIGS, "cifar100_lt").all_suites[0]
BY_WHICH = {subset: fingerprint for fingerprint, subset in SUBSETS.items()}


def record(order: str | None, train: str = "a" * 64, **changes: Any) -> dict[str, Any]:
    extra = {} if order is None else {"data_order": order}
    fields = {"data_fingerprint": {"train": train, "test": "b" * 64}, "extra": extra}
    return make_record("cifar100_lt", "mixup", changes.pop("seed", 1), 39.0, **{**fields, **changes})


def deviations(tmp_path: Path, made: dict[str, Any]) -> tuple[str, ...]:
    made = write_run(tmp_path, made)
    return next(line for line in compare(SUITE, [made], pytest.fail) if line.group is not None).deviations


@pytest.mark.parametrize("factor", [100, 50, 10])
@pytest.mark.parametrize("order", [RECOVERED, None])  # an older record says nothing, its fingerprint does
def test_the_recovered_subset_is_a_reproduction(tmp_path: Path, factor: int, order: str | None) -> None:
    overrides = {} if factor == 100 else {"imbalance": factor}
    made = record(order, BY_WHICH[Subset(factor, RECOVERED)], overrides=overrides)
    assert deviations(tmp_path, made) == ()


def test_the_official_archive_is_a_reproduction(tmp_path: Path) -> None:
    assert deviations(tmp_path, record(ARCHIVE)) == ()


@pytest.mark.parametrize(
    ("order", "train", "says"),
    [
        (BY_NAME, "a" * 64, "images sorted by name"),
        (None, BY_WHICH[Subset(100, BY_NAME)], "images sorted by name"),
        (UNKNOWN, "a" * 64, "images in an unknown order"),
        (None, "a" * 64, "images in an unknown order"),
        (OTHER_PIXELS, "a" * 64, "images with other pixels than the official ones"),
        (RECOVERED, "a" * 64, "other images than the published subset"),
        (RECOVERED, BY_WHICH[Subset(50, RECOVERED)], "other images than the published subset"),
    ],
)
def test_other_images_are_not(tmp_path: Path, order: str | None, train: str, says: str) -> None:
    assert deviations(tmp_path, record(order, train)) == (says,)
    tables = suite_tables(SUITE, tmp_path).tables
    assert f"[1] {says}: not a reproduction." in tables[0].notes
    assert "–" in tables[0].frame.iloc[0].tolist()  # no difference to the paper


def test_a_validation_split_is_remarked_on_once(tmp_path: Path) -> None:
    made = record(RECOVERED, overrides={"val_fraction": 0.1})
    assert deviations(tmp_path, made) == ("val fraction 0.1",)


@pytest.mark.parametrize("changes", [{"overrides": {"imbalance": 1}}, {"overrides": {"imbalance": "none"}}])
def test_without_a_tail_the_order_does_not_matter(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert not any("images" in text for text in deviations(tmp_path, record(BY_NAME, **changes)))


def test_all_images_of_a_long_tailed_row_are_no_reproduction(tmp_path: Path) -> None:
    made = write_run(tmp_path, record(ARCHIVE, overrides={"imbalance": "none"}))
    line = next(line for line in compare(SUITE, [made], pytest.fail) if line.group is not None)
    assert (line.imbalance, line.deviations, line.to_paper) == (None, ("imbalance none",), None)
    assert suite_tables(SUITE, tmp_path).tables[-1].title.startswith("CIFAR-100-LT, all training images")


def test_a_second_stage_says_it_once(tmp_path: Path) -> None:
    for order, train, expected in (
        (ARCHIVE, "a" * 64, ()),
        (RECOVERED, BY_WHICH[Subset(100, RECOVERED)], ()),
        (BY_NAME, "c" * 64, ("images sorted by name",)),
    ):
        one = write_run(tmp_path, record(order, train))
        fields = {"data_fingerprint": one["data_fingerprint"], "extra": one["extra"]}
        two = write_run(tmp_path, second_stage("cifar100_lt", "mixup_mislas", 47.0, one, **fields))
        lines = compare(SUITE, [one, two], pytest.fail)
        assert [line.deviations for line in lines if line.group is not None] == [expected, expected]


def test_old_and_new_records_of_the_same_images_are_averaged(tmp_path: Path) -> None:
    train = BY_WHICH[Subset(100, RECOVERED)]
    runs = [write_run(tmp_path, record(order, train, seed=seed)) for seed, order in enumerate((None, RECOVERED))]
    lines = [line for line in compare(SUITE, runs, pytest.fail) if line.group is not None]
    assert [line.last.n for line in lines] == [2]


def test_the_table_says_which_order_it_was(tmp_path: Path) -> None:
    write_run(tmp_path, record(RECOVERED, BY_WHICH[Subset(100, RECOVERED)]))
    notes = suite_tables(SUITE, tmp_path).tables[0].notes
    assert (
        "Long-tailed training images: drawn from the recovered official order: at most 2 images at imbalance 100 can differ "
        "from those of the official archive."
    ) in notes
    write_run(tmp_path, record(ARCHIVE, seed=2))
    notes = suite_tables(SUITE, tmp_path).tables[0].notes
    assert "Long-tailed training images: drawn from the official archive." in notes


def test_a_balanced_row_is_not_touched(tmp_path: Path) -> None:
    suite = load_suite(CONFIGS, "cifar100").all_suites[0]
    made = write_run(tmp_path, make_record("cifar100", "resnet18", 1, 78.0, extra={"data_order": BY_NAME}))
    assert next(line for line in compare(suite, [made], pytest.fail) if line.group is not None).deviations == ()
