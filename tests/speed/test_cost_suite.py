"""A suite whose rows are measured: what is measured, kept, shown and refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from sar_cls.cli import CONFIGS
from sar_cls.commands import report, run
from sar_cls.engine.options import Options
from sar_cls.errors import InputError
from sar_cls.mm.loaders import DataSplits
from sar_cls.reporting.tables.costs import cost_tables, costs_file, read_costs
from sar_cls.speed.cost import measure_cost, measure_costs
from sar_cls.speed.cost_suite import families, measure_suite
from sar_cls.speed.setting import Setting
from sar_cls.suites.rows import Suite, load_suite, select_rows

SUITE = load_suite(CONFIGS, "cost")
PAPER = "paper (segmentation, HRNet on Cityscapes, 1024x1024): "


@pytest.fixture(scope="module")
def work_dir(splits: DataSplits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work_dirs")
    rows = select_rows(SUITE, ["resnet32_sar"])
    measure_suite(SUITE, rows, Options(), folder, splits=splits, rounds=2, steps=2, batch_size=8)
    return folder


def test_a_row_brings_its_baseline_along(work_dir: Path) -> None:
    (part,) = read_costs(SUITE, work_dir).values()
    assert list(part["rows"]) == ["resnet32", "resnet32_sar"]
    assert part["setting"].startswith("resnet32, batch 8, fp32")
    assert part["git"]
    assert part["versions"]["torch"] == torch.__version__


def test_figures_are_those_of_speed_py(work_dir: Path, splits: DataSplits) -> None:
    setting = Setting("resnet32", torch.device("cpu"), batch_size=8)
    rows = read_costs(SUITE, work_dir)["resnet32"]["rows"]
    for name, cost in zip(rows, measure_costs(setting, splits, ("none", "SAR")), strict=True):
        expected = {key: value for key, value in asdict(cost).items() if key != "method"}
        assert {key: rows[name][key] for key in expected} == expected


def test_two_views_cost_two_batches(work_dir: Path, splits: DataSplits) -> None:
    setting = Setting("resnet32", torch.device("cpu"), batch_size=8)
    alone = read_costs(SUITE, work_dir)["resnet32"]["rows"]["resnet32"]
    two, supcon = (
        measure_cost(setting, splits, name, SUITE.row(name).source)
        for name in ("resnet32_two_views", "resnet32_supcon")
    )
    assert (two.forward, two.step) == (2 * alone["forward"], 2 * alone["step"])
    larger = measure_cost(replace(setting, batch_size=16), splits, "none")
    assert (two.forward, two.step, two.peak_bytes) == (larger.forward, larger.step, larger.peak_bytes)
    assert (two.parameters, two.inference_peak_bytes) == (alone["parameters"], alone["inference_peak_bytes"])
    classes = len(splits.train.classes)
    assert supcon.parameters - two.parameters == 64 * 64 + 64 + 64 * 128 + 128
    assert supcon.forward - two.forward == 2 * 16 * (64 * 64 + 64 * 128 + 16 * 128 + 16 * classes)
    assert supcon.inference == two.inference


def test_times_of_training_and_inference(work_dir: Path) -> None:
    rows = read_costs(SUITE, work_dir)["resnet32"]["rows"]
    for costs in rows.values():
        for key in ("step_seconds", "inference_seconds"):
            assert 0 < costs[key]["low"] <= costs[key]["median"] <= costs[key]["high"]
        assert costs["inference_seconds"]["low"] < costs["step_seconds"]["high"]
        assert costs["inference_peak_bytes"] < costs["peak_bytes"]
    assert "step_seconds_ratio" not in rows["resnet32"]
    assert set(rows["resnet32_sar"]["step_seconds_ratio"]) == {"median", "low", "high"}
    assert rows["resnet32_sar"]["inference_peak_bytes"] == rows["resnet32"]["inference_peak_bytes"]


def test_table(work_dir: Path) -> None:
    tables = cost_tables(SUITE, work_dir)
    (table,) = tables.tables
    plain, sar = table.frame.to_dict("records")
    assert table.title == "Cost of the regularizers (paper Tab. 20, of another task)"
    assert [plain[PAPER + "parameters [M]"], sar[PAPER + "GFLOP"]] == ["65.86", "374.37"]
    # Two linear layers of 64 x 64 with bias and two batch norms on 0.4644 M.
    figures = read_costs(SUITE, work_dir)["resnet32"]["rows"]
    added = 100 * 8576 / figures["resnet32"]["parameters"]
    assert sar["training: parameters [M]"] == f"{figures['resnet32_sar']['parameters'] / 1e6:.4f} (+{added:.3f} %)"
    assert sar["inference: parameters [M]"].endswith(" (=)")
    assert plain["step [ms]"].count("[") == 1
    assert "%" not in plain["step [ms]"]
    assert "%" in sar["step [ms]"]
    assert any("of another task" in note for note in table.notes)
    line = tables.frame.set_index("row").loc["resnet32_sar"]
    assert line["parameters"] == figures["resnet32_sar"]["parameters"]
    assert line["paper_task"] == SUITE.paper_task
    assert "to_paper" not in tables.frame.columns


def test_another_baseline_leaves_the_first_ones_figures(work_dir: Path, splits: DataSplits, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(work_dir, tmp_path / "copy"))
    before = read_costs(SUITE, folder)
    small = replace_name(SUITE)
    measure_suite(small, small.rows[:1], Options(), folder, splits=splits, rounds=1, steps=1, batch_size=8)
    after = read_costs(SUITE, folder)
    assert list(after) == ["resnet32", "other"]
    assert after["resnet32"] == before["resnet32"]


def replace_name(suite: Suite) -> Suite:
    """The suite with one row, of another name."""
    return replace(suite, rows=(replace(suite.rows[0], name="other"),))


def test_rows_are_measured_beside_their_own_baseline() -> None:
    found = families(SUITE, select_rows(SUITE, all_rows=True))
    assert {name: [row.name for row in rows] for name, rows in found.items()} == {
        "resnet32": ["resnet32", *(f"resnet32_{name}" for name in ("car", "sar", "two_views", "supcon"))],
        **{net: [net, f"{net}_car", f"{net}_sar"] for net in ("resnet18", "resnet50")},
    }


@pytest.mark.parametrize("text", ["{", "[]", '{"resnet32": {"rows": {"resnet32": {}}}}', '{"resnet32": 1}'])
def test_a_damaged_file_is_one_sentence(tmp_path: Path, text: str) -> None:
    costs_file(SUITE, tmp_path).parent.mkdir()
    costs_file(SUITE, tmp_path).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"cost.json is damaged \(.*\): delete it and measure again"):
        cost_tables(SUITE, tmp_path)


class TestScripts:
    def test_run_measures_and_prints(
        self,
        splits: DataSplits,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        capsys: pytest.CaptureFixture,
    ) -> None:
        monkeypatch.setattr("sar_cls.speed.cost_suite.load_images", lambda root: (splits, "images: tiny"))
        monkeypatch.setattr("sar_cls.speed.cost_suite.measure_suite.__kwdefaults__", {**QUICK, "splits": None})
        monkeypatch.setattr(
            "sys.argv", ["run.py", "--suite", "cost", "--only", "resnet32_sar", "--work-dir", str(tmp_path)]
        )
        assert run.main() == 0
        printed = capsys.readouterr().out
        assert "| ResNet-32+SAR" in printed
        assert "images: tiny" in printed
        assert sorted(path.name for path in (tmp_path / "cost").iterdir()) == ["cost.json", "table.csv", "table.md"]
        assert json.loads((tmp_path / "cost" / "cost.json").read_text())["resnet32"]["rows"]["resnet32_sar"]
        assert (tmp_path / "cost" / "table.md").read_text() == printed.removeprefix("\n").removesuffix("\n")

    @pytest.mark.parametrize(
        ("option", "said"),
        [
            (["--epochs", "2"], "--epochs"),
            (["--seeds", "1"], "--seeds"),
            (["--download"], "--download"),
            (["--iterations", "10"], "--iterations"),
            (["--mlflow"], "--mlflow"),
            (["--mlflow", "runs.db"], "--mlflow"),
            (["--no-features"], "--no-features"),
        ],
    )
    def test_run_refuses_what_is_for_training(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, option: list[str], said: str
    ) -> None:
        monkeypatch.setattr("sys.argv", ["run.py", "--suite", "cost", "--work-dir", str(tmp_path / "w"), *option])
        with pytest.raises(InputError, match=f"^{said} is for training, and the rows of suite 'cost' are measured"):
            run.main()
        assert not (tmp_path / "w").exists()

    def test_report_shows_and_keeps(
        self, work_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
    ) -> None:
        for arguments in ([], ["--suite", "cost", "--keep", str(tmp_path / "kept")]):
            monkeypatch.setattr("sys.argv", ["report.py", "--work-dir", str(work_dir), *arguments])
            assert report.main() == 0
            printed = capsys.readouterr().out
            assert printed == cost_tables(SUITE, work_dir).to_markdown()
        assert read_costs(SUITE, tmp_path / "kept") == read_costs(SUITE, work_dir)
        assert (tmp_path / "kept" / "cost" / "table.md").read_text(encoding="utf-8") == printed

    def test_report_without_measurements_and_with_a_view_of_runs(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.argv", ["report.py", "--suite", "cost"])
        assert report.main() == 0
        lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ResNet")]
        assert ["374.34" in lines[0], "374.37" in lines[2], len(lines)] == [True, True, 3]
        monkeypatch.setattr("sys.argv", ["report.py", "--suite", "cost", "--by-seed"])
        with pytest.raises(InputError, match="--by-seed is for runs, and the rows of suite 'cost' are measured"):
            report.main()


QUICK = {"rounds": 1, "steps": 1, "batch_size": 8}
