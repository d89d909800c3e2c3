"""The report of segmentation nets: IoU and pixels where a classifier's has accuracy and images."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from dense_runs import PLAIN, ious, make_suite, write_runs

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
