"""Pictures: drawn for what there is, with the right curves in them."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
from synthetic_runs import make_record, second_stage, write_history, write_outputs, write_run

from sar_cls.cli import CONFIGS
from sar_cls.errors import InputError
from sar_cls.reporting.figures import pictures, plots
from sar_cls.reporting.figures.series import Series
from sar_cls.runs.ledger import scan
from sar_cls.runs.per_class import write_per_class
from sar_cls.suites.rows import load_suite

pytest.importorskip("matplotlib")

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

[[rows]]
name = "mixup_mislas"
label = "MiSLAS"
after = "mixup"
"""


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    for row in ("mixup", "mixup_sar"):
        for seed in (1, 2):
            one = write_run(tmp_path, make_record("lt", row, seed, 39.0, train_counts=list(range(500, 0, -50))))
            write_outputs(tmp_path / "lt" / row / f"seed{seed}", seed, num_images=300)
            write_history(tmp_path / "lt" / row / f"seed{seed}", seed, epochs=5, sar=row == "mixup_sar")
    write_run(tmp_path, second_stage("lt", "mixup_mislas", 47.0, one | {"row": "mixup"}))
    return tmp_path


def entry(work_dir: Path, row: str, label: str | None = None, runs: int = 2) -> Series:
    run_dirs = sorted((work_dir / "lt" / row).iterdir())[:runs]
    return Series(label or row, tuple(run_dirs), tuple(range(500, 0, -50)))


def test_every_picture_of_every_stage_as_png_and_svg(work_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "configs" / "lt"
    folder.mkdir(parents=True)
    (folder / "suite.toml").write_text(SUITE, encoding="utf-8")
    sentences: list[str] = []
    out_dir = tmp_path / "new" / "plots"
    written = plots.plot_suites([load_suite(tmp_path / "configs", "lt")], scan(work_dir), out_dir, sentences.append)
    assert {path.stem for path in written} == {
        f"lt-if100-stage1-{picture}" for picture in ("reliability", "per-class", "epochs", "readings")
    }
    assert sorted(path.name for path in out_dir.iterdir()) == sorted(path.name for path in written)
    for path in written:
        start = path.read_bytes()[:200]
        assert start.startswith(b"\x89PNG") if path.suffix == ".png" else b"<?xml" in start
    # The second stage has a record and nothing else.
    assert sentences == [
        f"MixUp, MiSLAS is left out of the {pictures}: no {files}, for example in {work_dir / 'lt/mixup_mislas/seed2'}"
        for pictures, files in (
            ("reliability diagrams", "test_outputs.npz"),
            ("accuracies per class", "test_outputs.npz nor per_class.csv"),
            ("plots over epochs", "history.csv"),
        )
    ]


def test_kept_runs_without_logits__accuracies_per_class_from_their_file_and_one_warning(
    work_dir: Path, tmp_path: Path
) -> None:
    entries = [entry(work_dir, row) for row in ("mixup", "mixup_sar")]
    from_logits = [np.array(one.class_accuracies) for one in entries]
    for one in entries:
        for run_dir in one.run_dirs:
            write_per_class(run_dir, {"train_counts": one.train_counts})
            (run_dir / "test_outputs.npz").unlink()
    sentences: list[str] = []
    again = [entry(work_dir, row) for row in ("mixup", "mixup_sar")]
    written = plots.plot_series(again, tmp_path / "out", "x", sentences.append)
    assert {path.stem for path in written} == {"x-per-class", "x-epochs", "x-readings"}
    for one, expected in zip(again, from_logits, strict=True):
        np.testing.assert_allclose(one.class_accuracies, expected, atol=5e-5)
    assert len(sentences) == 1
    assert sentences[0].startswith(
        "mixup and 1 other row are left out of the reliability diagrams: no test_outputs.npz"
    )


def test_a_group_is_drawn_beside_its_baselines_and_the_rows_that_name_it() -> None:
    suite = load_suite(CONFIGS, "cifar100_lt")
    ran = [(row.name, 100.0) for row in suite.rows] + [("mixup_sar", 50.0)]
    sets = {name: [row.name for row in rows] for name, rows, _ in plots._sets(suite, ran)}
    first = sets["cifar100_lt-if100-readings-of-sar-stage1"]
    assert first[:2] == ["mixup", "mixup_sar"]
    assert "mixup_sar_per_class" in first
    assert "mixup_car" not in first
    second = sets["cifar100_lt-if100-readings-of-sar-stage2"]
    assert second[:2] == ["mixup_mislas", "mixup_sar_mislas"]
    assert "cifar100_lt-if50-readings-of-sar-stage1" not in sets  # none of the group's own rows was run there
    assert not any("per_class" in row for row in sets["cifar100_lt-if100-stage1"])


def test_same_runs_same_svg(work_dir: Path, tmp_path: Path) -> None:
    first, second = (plots.plot_series([entry(work_dir, "mixup")], tmp_path / name, "x") for name in ("a", "b"))
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes()


def test_epochs_plot_shows_the_mean_over_seeds(work_dir: Path) -> None:
    one = entry(work_dir, "mixup")
    axis = pictures.epochs_plot([one]).axes[0]
    expected = np.mean([history["test_top1"] for history in one.histories], axis=0)
    np.testing.assert_allclose(axis.lines[0].get_ydata(), expected)
    assert list(axis.lines[0].get_xdata()) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(("epochs", "ticks"), [(1, [1]), (2, [1, 2]), (5, [1, 2, 3, 4, 5])])
def test_only_whole_epochs_are_ticks(work_dir: Path, epochs: int, ticks: list[int]) -> None:
    one = entry(work_dir, "mixup_sar", runs=1)
    write_history(one.run_dirs[0], 1, epochs=epochs, sar=True)
    gate = pictures.readings_plot([one])
    assert gate is not None
    for axis in (*pictures.epochs_plot([one]).axes, *gate.axes):
        low, high = axis.get_xlim()
        assert [tick for tick in axis.get_xticks() if low <= tick <= high] == ticks
        assert low < 1 < high


def test_a_small_difference_after_one_epoch_does_not_fill_the_axis(work_dir: Path) -> None:
    one = entry(work_dir, "mixup")
    for seed, run_dir in enumerate(one.run_dirs):
        write_history(run_dir, seed, epochs=1, top=75.0 + seed)
    axis = pictures.epochs_plot([one]).axes[0]
    low, high = axis.get_ylim()
    assert high - low >= pictures.LEAST_SPAN


def test_names_say_what_differs_and_the_caption_what_does_not(tmp_path: Path) -> None:
    shared = ("5 of 10 epochs", "weights efficientnet-lite0-57934424-57934424")
    one = Series("Net", (tmp_path,) * 3, (1,), shared)
    two = Series("Net+SAR", (tmp_path,) * 3, (1,), (*shared, "memory format contiguous"))
    three = Series("Net+CAR", (tmp_path,), (1,), shared)
    assert pictures.names([one, two]) == (
        ["Net", "Net+SAR (memory format contiguous)"],
        "5 of 10 epochs, weights efficientnet-lite0, 3 runs each",
    )
    assert pictures.names([one, three]) == (
        ["Net (3 runs)", "Net+CAR (1 run)"],
        "5 of 10 epochs, weights efficientnet-lite0",
    )
    assert pictures.names([one], with_runs=False) == (["Net"], "5 of 10 epochs, weights efficientnet-lite0")
    assert pictures.names([Series("a", (tmp_path,), (1,))]) == (["a"], "1 run")


def test_readings_plot_leaves_out_rows_without_readings(work_dir: Path) -> None:
    assert pictures.readings_plot([entry(work_dir, "mixup")]) is None
    figure = pictures.readings_plot([entry(work_dir, "mixup"), entry(work_dir, "mixup_sar")])
    assert figure is not None
    assert [len(axis.lines) for axis in figure.axes] == [1, 1, 1]
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [4, 8, 12, 16, 20])  # epoch / 25, in percent


def test_per_class_plot_sorts_by_frequency(work_dir: Path) -> None:
    rising = Series("rising", entry(work_dir, "mixup").run_dirs, tuple(range(10, 110, 10)))
    accuracy = pictures.per_class_plot([rising]).axes[1].lines[0].get_ydata()
    falling = pictures.per_class_plot([entry(work_dir, "mixup")]).axes[1].lines[0].get_ydata()
    np.testing.assert_allclose(accuracy, falling[::-1])


def test_reliability_diagram_against_a_loop(work_dir: Path) -> None:
    one = entry(work_dir, "mixup", runs=1)
    logits, labels = one.outputs[0].logits.astype(np.float64), one.outputs[0].labels
    hits: dict[int, list[bool]] = {}
    for scores, label in zip(logits, labels, strict=True):
        probability = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        hits.setdefault(min(14, int(probability.max() * 15)), []).append(scores.argmax() == label)
    expected = [100 * np.mean(hits[index]) for index in sorted(hits)]
    figure = pictures.reliability_diagram([one])
    heights = [bar.get_height() for bar in figure.axes[0].containers[0]]
    np.testing.assert_allclose(heights, expected)
    assert figure.axes[0].get_title().endswith(", 1 run")


def test_entries_differ_by_more_than_colour() -> None:
    styles = pictures._styles(14)
    assert len({(style["color"], style["linestyle"]) for style in styles}) == 14
    assert all(a["linestyle"] != b["linestyle"] for a, b in itertools.pairwise(styles))


@pytest.mark.parametrize("content", ["", "epoch,lr\n", "a,b\n1,2\n", "epoch,lr\n1,0.1\n"])
def test_damaged_history_leaves_that_picture_out(work_dir: Path, tmp_path: Path, content: str) -> None:
    for run_dir in entry(work_dir, "mixup").run_dirs:
        (run_dir / "history.csv").write_text(content, encoding="utf-8")
    sentences: list[str] = []
    written = plots.plot_series([entry(work_dir, "mixup")], tmp_path / "out", "x", sentences.append)
    assert {path.stem for path in written} == {"x-reliability", "x-per-class"}
    assert len(sentences) == 1


def test_classes_that_do_not_match_are_not_drawn_together(work_dir: Path) -> None:
    other = Series("other", entry(work_dir, "mixup").run_dirs, (1, 2, 3))
    with pytest.raises(InputError, match="other has 3 classes, the others 10"):
        pictures.per_class_plot([entry(work_dir, "mixup"), other])


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"sar-cls\[viz\]"):
        plots.plot_series([Series("a", (), ())], tmp_path / "out", "x")
    assert not (tmp_path / "out").exists()


def test_folder_that_cannot_be_made(work_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match=r"is where a folder should be.*another folder for the plots"):
        plots.plot_series([entry(work_dir, "mixup")], tmp_path / "file" / "plots", "x")
