"""The figures of a suite: all that the files allow, each with its caption, and a sentence about what is not there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sar_cls.errors import InputError
from sar_cls.reporting.figures import gallery, style
from sar_cls.reporting.figures.gallery import Easel, MadeFigure, draw_figures
from sar_cls.reporting.figures.series import Series
from sar_cls.runs.features import FEATURES_FILE
from sar_cls.runs.ledger import scan
from sar_cls.suites.rows import load_suite

from .entries import add_features, entry

SUITE = """
title = "Long tail"
metric = "top1"
imbalance = 100

[[rows]]
name = "mixup"
label = "MixUp"

[[rows]]
name = "mixup_sar"
label = "MixUp+SAR"
baseline = "mixup"

[[rows]]
name = "mixup_mislas"
label = "MiSLAS"
after = "mixup"
"""
OF_FILES = {"class-gain", "class-accuracy", "reliability", "training", "gate"}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One kind of file, where a test looks at no file."""
    monkeypatch.setattr(style, "SUFFIXES", ("svg",))


def draw(work_dir: Path, out_dir: Path) -> tuple[list[MadeFigure], list[str]]:
    """What is made of the fixture's runs, and what is said."""
    folder = work_dir / "configs" / "lt"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "suite.toml").write_text(SUITE, encoding="utf-8")
    sentences: list[str] = []
    suite = load_suite(work_dir / "configs", "lt")
    return draw_figures([suite], scan(work_dir, lambda _: None), out_dir, sentences.append), sentences


def test_every_figure_of_every_stage_with_its_caption(work_dir: Path) -> None:
    add_features(work_dir, "mixup", "mixup_sar")
    out_dir = work_dir / "new" / "figures"
    figures, sentences = draw(work_dir, out_dir)
    made = {figure.name: figure for figure in figures if figure.made}
    assert set(made) == {
        "lt-if100-differences",
        "lt-if100-stage1-class-geometry-mixup_sar",
        *(f"lt-if100-stage1-{kind}" for kind in (*OF_FILES, "features", "collapse")),
    }
    assert sorted(path.name for path in out_dir.iterdir()) == sorted(
        f"{name}.{suffix}" for name in made for suffix in ("pdf", "png", "svg", "txt")
    )
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    for name, figure in made.items():
        assert figure.paths is not None
        for suffix, start in starts.items():
            assert figure.paths[suffix].read_bytes().startswith(start)
        words = figure.paths["txt"].read_text(encoding="utf-8")
        assert words == f"{figure.caption}\n"
        assert words.endswith(".\n"), name
        assert figure.suite == "lt"
    assert made["lt-if100-stage1-training"].rows == ("mixup", "mixup_sar")
    # The second stage has a record and nothing else: a reason for each figure, a sentence for each kind of files.
    without = {figure.name: figure.reason for figure in figures if not figure.made}
    assert without["lt-if100-stage2-reliability"] == "no run has test_outputs.npz, or none that can be read"
    assert all(figure.reason for figure in figures if not figure.made)
    assert sentences == [
        f"MixUp, MiSLAS is left out of the {pictures}: no {files}, for example in {work_dir / 'lt/mixup_mislas/seed2'}"
        for pictures, files in (
            ("figures of features", "features.npz"),
            ("accuracies per class", "test_outputs.npz nor per_class.csv"),
            ("reliability diagrams", "test_outputs.npz"),
            ("curves over epochs", "history.csv"),
        )
    ]


@pytest.mark.usefixtures("quick")
def test_runs_without_features__the_other_figures_and_one_sentence(work_dir: Path) -> None:
    figures, sentences = draw(work_dir, work_dir / "out")
    kinds = {figure.kind for figure in figures if figure.made}
    assert kinds == OF_FILES | {"differences"}
    assert sum("figures of features" in sentence for sentence in sentences) == 1
    reasons = {figure.kind: figure.reason for figure in figures if not figure.made and "stage1" in figure.name}
    assert set(reasons) == {"class-geometry", "features", "collapse"}
    assert set(reasons.values()) == {"no run has features.npz, or none that can be read"}


@pytest.mark.usefixtures("quick")
def test_damaged_features_and_those_of_another_net(work_dir: Path) -> None:
    add_features(work_dir, "mixup", "mixup_sar")
    (work_dir / "lt/mixup/seed1" / FEATURES_FILE).write_bytes(b"PK no archive")
    figures, sentences = draw(work_dir, work_dir / "out")
    features = next(figure for figure in figures if figure.name == "lt-if100-stage1-features")
    assert features.rows == ("mixup_sar",)
    assert sum("MixUp is left out of the figures of features" in sentence for sentence in sentences) == 1


@pytest.mark.usefixtures("quick")
def test_collapse_needs_no_features_where_the_record_has_its_geometry(work_dir: Path) -> None:
    from sar_cls.runs.geometry import ENTRY, geometry_of

    add_features(work_dir, "mixup", "mixup_sar")
    entries = [entry(work_dir, row) for row in ("mixup", "mixup_sar")]
    recorded = []
    for one in entries:
        records = [
            record | {"extra": {ENTRY: geometry_of(run, one.train_counts)}}
            for record, run in zip(one.records, one.features, strict=True)
        ]
        recorded.append(Series(one.label, one.run_dirs, one.train_counts, row=one.row, records=tuple(records)))
        for run_dir in one.run_dirs:
            (run_dir / FEATURES_FILE).unlink()
    easel = Easel(work_dir, pytest.fail)
    easel.of_rows(recorded, "x")
    assert next(figure for figure in easel.made if figure.kind == "collapse").made
    assert not next(figure for figure in easel.made if figure.kind == "features").made


def test_same_runs_same_files(work_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "KINDS", tuple(kind for kind in gallery.KINDS if kind.name in ("reliability", "gate")))
    found = []
    for name in ("a", "b"):
        (work_dir / name).mkdir()
        easel = Easel(work_dir / name, pytest.fail)
        easel.of_rows([entry(work_dir, row) for row in ("mixup", "mixup_sar")], "x")
        found.append(easel.made)
    for first, second in zip(*found, strict=True):
        assert first.paths is not None
        assert second.paths is not None
        for suffix, path in first.paths.items():
            assert path.read_bytes() == second.paths[suffix].read_bytes(), path.name


@pytest.mark.parametrize("content", ["", "epoch,lr\n", "a,b\n1,2\n", "epoch,lr\n1,0.1\n"])
def test_damaged_history_leaves_the_curves_out(work_dir: Path, content: str) -> None:
    one = entry(work_dir, "mixup")
    for run_dir in one.run_dirs:
        (run_dir / "history.csv").write_text(content, encoding="utf-8")
    sentences: list[str] = []
    easel = Easel(work_dir, sentences.append)
    easel.of_rows([one], "x")
    assert not {"training", "gate"} & {figure.kind for figure in easel.made if figure.made}
    assert {"class-accuracy", "reliability"} <= {figure.kind for figure in easel.made if figure.made}
    assert len(sentences) == 1


@pytest.mark.usefixtures("quick")
def test_rows_of_different_classes__one_sentence_and_the_other_figures(work_dir: Path) -> None:
    add_features(work_dir, "mixup")
    add_features(work_dir, "mixup_sar")
    other = entry(work_dir, "mixup_sar")
    few = Series("few", other.run_dirs, (1, 2, 3), row="few")
    sentences: list[str] = []
    easel = Easel(work_dir, sentences.append)
    easel.of_rows([entry(work_dir, "mixup"), few], "x")
    made = {figure.kind for figure in easel.made if figure.made}
    assert {"reliability", "training"} <= made
    about_classes = [sentence for sentence in sentences if "3 classes, the others 10; draw them apart" in sentence]
    assert [sentence.split(" is left out")[0] for sentence in about_classes] == ["the figure x-features"]
    # Accuracies of ten classes are not those of a record of three: that row is left out by itself.
    assert any(sentence.startswith("few is left out of the accuracies per class") for sentence in sentences)


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"sar-cls\[viz\]"):
        draw_figures([], [], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_folder_that_cannot_be_made(work_dir: Path) -> None:
    (work_dir / "file").write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match=r"is where a folder should be.*another folder for the figures"):
        draw_figures([], [], work_dir / "file" / "figures")
    with pytest.raises(InputError, match="another folder for the figures"):
        draw_figures([], [], work_dir / "file")
