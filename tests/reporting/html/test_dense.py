"""The report of segmentation nets: IoU and pixels where a classifier's has accuracy and images."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dense_runs import PLAIN, SEEDS, ious, make_suite, write_runs

from sar_cls.reporting.html.confusion import encoded
from sar_cls.reporting.html.figures import CLASSES, DENSE_CLASSES
from sar_cls.reporting.html.page import TEMPLATES, render


def view_of(text: str) -> dict[str, Any]:
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert match is not None
    return json.loads(match.group(1))["views"][0]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("scenes")
    return render([make_suite(folder)], write_runs(folder / "work"), warn=pytest.fail)


def test_a_class_has_an_iou_that_is_called_one(page: str) -> None:
    view = view_of(page)
    assert view["classMetric"] == {"name": "IoU", "unit": "pixel", "heading": "IoU"}
    plain = next(entry for entry in view["entries"] if entry["name"] == "Plain net")
    expected = ious(PLAIN)
    assert plain["accuracy"][3] is None
    assert np.delete(np.array(plain["accuracy"], dtype=float), 3) == pytest.approx(np.delete(expected, 3), abs=1e-2)
    assert DENSE_CLASSES.caption in page
    assert CLASSES.caption not in page


def test_the_figure_has_no_words_of_its_own_for_metric_and_unit() -> None:
    texts = re.findall(r'"[^"\n]*"|`[^`\n]*`', (TEMPLATES / "classes.js").read_text(encoding="utf-8"))
    of_classes = [text for text in texts if "test images" not in text and text not in ('"Accuracy (%)"',)]
    assert not [text for text in of_classes if re.search(r"[Aa]ccuracy (of|in)\b|[Ii]mages?\b", text)]


def test_the_kept_matrices_are_pooled_and_there_is_no_reliability(page: str) -> None:
    plain = next(entry for entry in view_of(page)["entries"] if entry["name"] == "Plain net")
    assert plain["confusion"] == encoded(sum(SEEDS) * PLAIN)
    assert plain["confusionRuns"] == len(SEEDS)
    assert "reliability" not in plain


def test_without_the_matrices_one_sentence_names_their_file(tmp_path: Path) -> None:
    runs = write_runs(tmp_path / "work")
    for run_dir, _ in runs:
        (run_dir / "segmentation.npz").unlink()
    said: list[str] = []
    view = view_of(render([make_suite(tmp_path)], runs, warn=said.append))
    assert len(said) == 1
    assert "no confusion of Plain net and 1 more line: no segmentation.npz" in said[0]
    assert all(len(entry["accuracy"]) == len(PLAIN) for entry in view["entries"])


def test_of_a_damaged_matrix_the_report_tells_and_the_rest_is_there(tmp_path: Path) -> None:
    runs = write_runs(tmp_path / "work")
    (runs[0][0] / "segmentation.npz").write_bytes(b"no matrix")
    said: list[str] = []
    view = view_of(render([make_suite(tmp_path)], runs, warn=said.append))
    assert len(said) == 2  # of the classes and of the pictures
    assert all("segmentation.npz is damaged" in sentence for sentence in said)
    assert [entry["confusionRuns"] for entry in view["entries"]] == [1, 2]


def test_more_pixels_than_whole_numbers_of_four_bytes_hold() -> None:
    matrix = np.array([[2**32, 5], [0, 2**40 + 1]])
    found = encoded(matrix)
    assert found["way"] == "large"
    assert np.array_equal(np.frombuffer(base64.b64decode(found["data"]), "<f8").reshape(2, 2), matrix)
