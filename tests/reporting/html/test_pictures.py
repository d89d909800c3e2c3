"""Predictions side by side in the page: the very picture, in the file itself, and what the report does without."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from dense_runs import make_suite, write_runs

from sar_cls.errors import InputError
from sar_cls.reporting.figures import style
from sar_cls.reporting.figures.qualitative import palette
from sar_cls.reporting.html.page import render
from sar_cls.reporting.html.pictures import Pictures

IMAGE = re.compile(r'<img src="data:image/png;base64,([^"]+)" alt="([^"]+)">')


def test_the_page_holds_the_baseline_and_its_rows(tmp_path: Path) -> None:
    text = render([make_suite(tmp_path)], write_runs(tmp_path / "work"), warn=pytest.fail)
    ((data, words),) = IMAGE.findall(text)
    assert "2 test images" in words
    assert "Plain net" in words
    assert "Net+SAR" in words
    assert text.count("<h3>Predictions side by side</h3>") == 1
    pytest.importorskip("PIL")
    from PIL import Image

    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).reshape(-1, 3)
    colours = palette(5)
    # The image is 7, 7, 7; the truth class 0, what the plain net says 1, and the other 2: equal areas, in columns of their own.
    areas = [
        int((pixels == colour).all(axis=1).sum()) for colour in (np.full(3, 7), colours[0], colours[1], colours[2])
    ]
    assert min(areas) > 1000
    assert areas[0] == pytest.approx(min(areas), rel=0.1)


def test_runs_without_predictions_have_no_picture_and_no_complaint(tmp_path: Path) -> None:
    text = render([make_suite(tmp_path)], write_runs(tmp_path / "work", examples=False), warn=pytest.fail)
    assert not IMAGE.findall(text)


def test_what_would_make_the_file_too_large_is_left_out_with_a_sentence(tmp_path: Path) -> None:
    said: list[str] = []
    runs = write_runs(tmp_path / "work")
    assert Pictures(runs, said.append, most=10).of(make_suite(tmp_path)) == []
    assert said == ["Predictions side by side are left out to keep the file small: --figures draws them."]


def test_without_matplotlib_the_rest_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise InputError("figures need matplotlib; install it")

    monkeypatch.setattr(style, "require_matplotlib", refuse)
    said: list[str] = []
    text = render([make_suite(tmp_path)], write_runs(tmp_path / "work"), warn=said.append)
    assert said == ["predictions side by side are left out: figures need matplotlib; install it."]
    assert not IMAGE.findall(text)
    assert "Net+SAR" in text
