"""Sizes, colours and files."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from sar_cls.reporting.figures.style import COLUMN, PAGE, legend_below, panels, paper_style, save, style


def test_styles_differ_by_more_than_colour() -> None:
    styles = [style(index) for index in range(28)]
    assert len({(one.color, one.linestyle) for one in styles}) == 28
    assert all(one.linestyle != other.linestyle for one, other in itertools.pairwise(styles))


@pytest.mark.parametrize(("number", "width", "grid"), [(1, COLUMN, (1, 1)), (3, COLUMN, (2, 2)), (9, PAGE, (3, 4))])
def test_a_figure_is_as_wide_as_a_column_or_the_page(number: int, width: float, grid: tuple[int, int]) -> None:
    figure, axes = panels(number, 1.0)
    assert figure.get_size_inches()[0] == width
    assert len(axes) == len(figure.axes) == number
    spec = axes[0].get_gridspec()
    assert (spec.nrows, spec.ncols) == grid


def test_a_legend_is_read_line_by_line_and_not_clipped() -> None:
    with paper_style():
        figure, axes = panels(1, 1.5)
        labels = ["one", "two", "three", "four", "a very long name of a fifth row"]
        handles = [axes[0].plot([0, 1], [index, index])[0] for index in range(5)]
        legend_below(figure, handles, labels)
        figure.draw_without_rendering()
    legend = figure.legends[0]
    # matplotlib fills column by column: three lines of two columns, read across, are one, two / three, four / five.
    assert [text.get_text() for text in legend.get_texts()] == ["one", "three", labels[4], "two", "four"]
    box = legend.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1


def test_files_are_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with paper_style():
        figure, axes = panels(1, 1.0)
        axes[0].set_title("τ, δ and α")
        files = save(figure, tmp_path / "a.b")  # a point in the name is no suffix
        assert [file.name for file in files] == ["a.b.png", "a.b.svg", "a.b.pdf"]
        assert b"<text" not in files[1].read_bytes()  # drawn as paths
        assert b"/FontFile2" in files[2].read_bytes()  # embedded as TrueType
        before = files[0].read_bytes()
        monkeypatch.setattr(figure, "savefig", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "no space")))
        with pytest.raises(OSError, match="no space"):
            save(figure, tmp_path / "a.b")
    assert files[0].read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.b.pdf", "a.b.png", "a.b.svg"]
