"""Classes without a figure are named below the tables of segmentation nets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic_runs import make_record, write_run

from sar_cls.metrics.segmentation import evaluate_segmentation
from sar_cls.reporting.html.page import render
from sar_cls.reporting.tables.suite_tables import SuiteTables, suite_tables
from sar_cls.runs.ledger import scan
from sar_cls.suites.rows import Suite

from .table_suites import make_suite

CLASSES, COUNTS = ["Sky", "Road", "Car", "Bicyclist"], [90, 50, 20, 0]
TEXT = """
title = "Streets"
metric = "miou"
extra_metrics = ["head", "body", "tail"]

[[rows]]
name = "net"
label = "Net"
"""
# Nobody is a Bicyclist and nobody is said to be one; in the second there is also no Car, but one is seen; in the third none is.
ONE = np.array([[9, 1, 0, 0], [1, 9, 0, 0], [0, 1, 3, 0], [0, 0, 0, 0]])
TWO = np.array([[9, 1, 0, 0], [1, 9, 2, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
THREE = np.array([[9, 1, 0, 0], [1, 9, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return make_suite(tmp_path, "streets", TEXT)


def write(work_dir: Path, *matrices: np.ndarray) -> None:
    for seed, matrix in enumerate(matrices, 1):
        metrics = evaluate_segmentation(matrix, COUNTS, CLASSES)
        write_run(work_dir, make_record("streets", "net", seed, 0.0, metrics=metrics, train_counts=COUNTS))


def notes_of(tables: SuiteTables) -> list[list[str]]:
    return [
        [note for note in table.notes if any(name in note for name in (*CLASSES, "Groups"))] for table in tables.tables
    ]


def test_each_kind_of_missing_class_is_named_below_both_tables(suite: Suite, tmp_path: Path) -> None:
    write(tmp_path, ONE, TWO, THREE)
    main, groups = notes_of(suite_tables(suite, tmp_path))
    assert main == groups
    undefined, absent, untrained, empty = main
    assert undefined.startswith("Without an IoU")
    assert undefined.endswith(": Bicyclist, Car (1 of 3 runs).")
    assert absent.startswith("Without a test pixel, but predicted")
    assert absent.endswith(": Car (1 of 3 runs).")
    assert untrained == "Without a training pixel: Bicyclist."
    assert empty.startswith("Groups without a figure")
    assert empty.endswith(": tail (1 of 3 runs).")


def test_where_no_class_is_missing_nothing_is_said(suite: Suite, tmp_path: Path) -> None:
    record = make_record("streets", "net", 1, 0.0, metrics={"miou": 50.0, "undefined_classes": [], "empty_groups": []})
    write_run(tmp_path, record)
    assert notes_of(suite_tables(suite, tmp_path)) == [[], []]


def test_the_report_says_it_too(suite: Suite, tmp_path: Path) -> None:
    write(tmp_path, ONE)
    assert "left out of the means: Bicyclist." in render([suite], scan(tmp_path), warn=lambda _: None)


def test_shot_groups_of_a_classifier_are_no_groups_of_pixels(tmp_path: Path) -> None:
    suite = make_suite(
        tmp_path, "pets", TEXT.replace('"miou"', '"top1"').replace('"head", "body", "tail"', '"few_shot"')
    )
    write_run(tmp_path, make_record("pets", "net", 1, 50.0, metrics={"few_shot": None, "empty_groups": ["few_shot"]}))
    tables = suite_tables(suite, tmp_path)
    assert tables.tables
    assert not any(notes_of(tables))
