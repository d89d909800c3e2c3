"""Geometry and confusion of a suite: over seeds, beside the baseline, and with what runs lack said in sentences."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_runs import make_features, make_record, write_run

from sar_cls import cli
from sar_cls.commands import report
from sar_cls.reporting.confusion import compare_confusion
from sar_cls.reporting.geometry import GeometryLine, compare_geometry
from sar_cls.reporting.stats import paired_difference
from sar_cls.reporting.tables.geometry_tables import geometry_tables
from sar_cls.runs.features import write_features
from sar_cls.runs.geometry import geometry_of
from sar_cls.runs.ledger import scan
from sar_cls.suites.rows import load_suite

COUNTS = [150, 120, 60, 30, 15, 6]
SEEDS = (1, 2, 3)
SUITE = load_suite(cli.CONFIGS, "digits_lt")


def add_run(work_dir: Path, row: str, seed: int, *, recorded: bool = True, **changes: Any) -> Path:
    """A finished run whose features are tighter with SAR."""
    is_sar = row == "mixup_sar"
    counts = changes.pop("train_counts", COUNTS)
    features = make_features(seed, counts, spread=0.7 if is_sar else 1.0, anchors=is_sar)
    extra = {"geometry": geometry_of(features, counts)} if recorded else {}
    record = write_run(
        work_dir,
        make_record("digits_lt", row, seed, 70.0, train_counts=counts, extra=extra, dataset="digits", **changes),
    )
    run_dir = work_dir / "digits_lt" / row / f"seed{seed}"
    write_features(run_dir, features)
    assert record["extra"] == extra
    return run_dir


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    for row in ("mixup", "mixup_sar"):
        for seed in SEEDS:
            add_run(tmp_path, row, seed)
    return tmp_path


def lines(work_dir: Path) -> tuple[dict[str, GeometryLine], list[str]]:
    warnings: list[str] = []
    found = compare_geometry(SUITE, scan(work_dir), warnings.append)
    return {line.group.row.name: line for line in found}, warnings


def test_figures_and_differences(work_dir: Path) -> None:
    found, warnings = lines(work_dir)
    assert warnings == []
    assert list(found) == ["mixup", "mixup_sar"]
    assert found["mixup"].shot_groups == ["all", "many_shot", "medium_shot", "few_shot"]
    key = ("test", "few_shot", "nc1")
    values = {
        row: {
            record["seed"]: record["extra"]["geometry"]["test"]["few_shot"]["nc1"]
            for _, record in scan(work_dir)
            if record["row"] == row
        }
        for row in found
    }
    ours = found["mixup_sar"].figures[key]
    assert ours.summary.mean == pytest.approx(np.mean(list(values["mixup_sar"].values())))
    assert ours.summary.n == 3
    assert ours.difference == paired_difference(values["mixup_sar"], values["mixup"])
    assert ours.difference.mean < 0
    assert found["mixup"].figures[key].difference is None


def test_agreement_between_seeds(work_dir: Path) -> None:
    found, _ = lines(work_dir)
    agreement = found["mixup_sar"].agreement["prototypes", "all"]
    assert agreement.pairs == 3
    assert agreement.mean is not None
    assert agreement.mean > 0.9  # the seeds' centres are the same up to a rotation and a little noise
    assert agreement.to_baseline is not None
    assert ("anchors", "all") in found["mixup_sar"].agreement
    assert ("anchors", "all") not in found["mixup"].agreement
    assert ("prototypes", "few_shot") not in found["mixup"].agreement  # two classes have one pair


def test_the_tables(work_dir: Path) -> None:
    tables = geometry_tables([(SUITE, compare_geometry(SUITE, scan(work_dir), cli.warn))])
    titles = [table.title.partition(": ")[2] for table in tables.tables]
    assert titles == [
        "compactness and separation of test features",
        "compactness and separation of test features, difference to the baseline",
        "class means, classifier and anchors (training images)",
        "class means, classifier and anchors (training images), difference to the baseline",
        "agreement of the class geometry between seeds",
    ]
    values, differences = tables.tables[0].frame, tables.tables[1].frame
    assert values["method"].tolist() == ["MixUp"] * 4 + ["MixUp+SAR"] * 4
    assert values["classes"].tolist() == ["all", "many", "medium", "few"] * 2
    assert set(differences["method"]) == {"MixUp+SAR"}
    assert differences["within"][0].startswith("-0.")
    means = tables.tables[2]
    few = means.frame[means.frame["classes"] == "few"]
    assert few["NC2 angles"].tolist() == ["– [1]", "– [1]"]
    assert "[1] two classes have a single angle." in means.notes
    frame = tables.frame
    row = frame[(frame["row"] == "mixup_sar") & (frame["classes"] == "all") & (frame["figure"] == "nc4")].iloc[0]
    assert row["n"] == row["pairs"] == 3
    assert frame[frame["reason"] == "two classes have a single angle"]["mean"].isna().all()
    assert "agreement_prototypes" in set(frame["figure"])


def test_a_figure_of_some_runs_says_of_how_many_and_why(work_dir: Path) -> None:
    """One seed's gate has never opened, so that its run has no such figure."""
    runs = scan(work_dir)
    record = next(record for _, record in runs if record["row"] == "mixup_sar" and record["seed"] == 2)
    found = record["extra"]["geometry"]["train"]["all"]
    others = [r["extra"]["geometry"]["train"]["all"]["anchor_cosine"] for _, r in runs if r["row"] == "mixup_sar"]
    others.remove(found["anchor_cosine"])
    found["anchor_cosine"] = None
    tables = geometry_tables([(SUITE, compare_geometry(SUITE, runs, cli.warn))])
    frame = tables.tables[2].frame
    line = frame[(frame["method"] == "MixUp+SAR") & (frame["classes"] == "all")].iloc[0]
    assert line["n"] == "3"
    assert line["cos to anchors"].startswith(f"{np.mean(others):.3g} ± ")
    assert " (2 of 3)" in line["cos to anchors"]
    assert "of 3" not in line["to anchors"]


def test_records_are_enough_and_so_are_features(work_dir: Path) -> None:
    before, _ = lines(work_dir)
    for file in work_dir.glob("digits_lt/mixup/*/features.npz"):
        file.unlink()  # as in kept runs
    for seed in SEEDS:
        add_run(work_dir, "mixup_sar", seed, recorded=False)  # as copied from elsewhere
    after, warnings = lines(work_dir)
    assert warnings == []
    for row in before:
        for key, figure in before[row].figures.items():
            assert after[row].figures[key].reasons == figure.reasons
            if figure.reasons:
                continue
            assert after[row].figures[key].summary.mean == pytest.approx(figure.summary.mean, rel=0.02, abs=1e-3)
    assert not after["mixup"].agreement
    assert after["mixup_sar"].agreement["prototypes", "all"].to_baseline is None


class TestSaidAndLeftOut:
    def test_runs_without_features(self, work_dir: Path) -> None:
        for seed in (7, 8):
            run_dir = add_run(work_dir, "mixup", seed, recorded=False)
            (run_dir / "features.npz").unlink()
        found, warnings = lines(work_dir)
        assert found["mixup"].figures["test", "all", "nc1"].summary.n == 3
        assert len(warnings) == 1
        assert "mixup/seed7 and 1 more have no features: sar-cls features makes them" in warnings[0]
        # Those of a segmentation net are too many: it keeps none, and nothing can make them.
        record = json.loads((run_dir / "record.json").read_text(encoding="utf-8"))
        record["metrics"]["last"]["miou"] = 50.0
        (run_dir / "record.json").write_text(json.dumps(record), encoding="utf-8")
        assert "mixup/seed7 has no features" in lines(work_dir)[1][0]

    def test_damaged_and_foreign_features(self, work_dir: Path) -> None:
        sar = work_dir / "digits_lt" / "mixup_sar"
        (sar / "seed1" / "features.npz").write_bytes(b"PK half")
        write_features(sar / "seed2", make_features(2, [5] * 4))
        found, warnings = lines(work_dir)
        assert found["mixup_sar"].figures["test", "all", "nc1"].summary.n == 3  # from the records
        assert not found["mixup_sar"].agreement  # one run is left
        assert len(warnings) == 2
        assert "is damaged" in warnings[0]
        assert "of another run than its record (4 classes instead of 6)" in warnings[1]

    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            ({"format": 99}, "of a newer version"),
            ("text", "is damaged"),
            ({"format": 1, "test": []}, "is damaged"),
            ({"format": 1, "test": {"all": {"nc1": []}}, "train": {}}, "is damaged"),
        ],
        ids=str,
    )
    def test_a_damaged_entry(self, work_dir: Path, entry: Any, message: str) -> None:
        record = make_record(
            "digits_lt", "mixup", 9, 70.0, train_counts=COUNTS, extra={"geometry": entry}, dataset="digits"
        )
        write_run(work_dir, record)
        found, warnings = lines(work_dir)
        assert found["mixup"].figures["test", "all", "nc1"].summary.n == 3
        assert len(warnings) == 1
        assert message in warnings[0]

    def test_runs_of_other_classes_are_not_mixed(self, work_dir: Path) -> None:
        add_run(work_dir, "mixup", 11, train_counts=[40] * 4, data_fingerprint={"train": "c" * 64, "test": "d" * 64})
        add_run(work_dir, "mixup", 12, train_counts=[40] * 4, data_fingerprint={"train": "c" * 64, "test": "d" * 64})
        found = compare_geometry(SUITE, scan(work_dir), cli.warn)
        sizes = sorted((line.group.row.name, len(line.group.runs)) for line in found)
        assert sizes == [("mixup", 2), ("mixup", 3), ("mixup_sar", 3)]


class TestConfusion:
    def test_flows_and_pairs(self, work_dir: Path) -> None:
        found = {line.group.row.name: line for line in compare_confusion(SUITE, scan(work_dir), cli.warn)}
        for line in found.values():
            assert list(line.flows) == ["many_shot", "medium_shot", "few_shot"]
            for flow in line.flows.values():
                assert sum(summary.mean or 0 for summary, _ in flow.values()) == pytest.approx(100)
        difference = found["mixup_sar"].flows["few_shot"]["right"][1]
        assert difference is not None
        assert difference.n == 3
        pair = found["mixup"].pairs[0]
        assert pair.lost >= pair.returned
        assert pair.lost_before is None
        assert found["mixup_sar"].pairs[0].lost_before is not None

    def test_from_test_outputs(self, work_dir: Path) -> None:
        expected = compare_confusion(SUITE, scan(work_dir), cli.warn)
        for run_dir, _ in scan(work_dir):
            features = dict(np.load(run_dir / "features.npz"))
            logits = np.eye(6)[features["test_predictions"]].astype(np.float32)
            np.savez(run_dir / "test_outputs.npz", logits=logits, labels=features["test_labels"])
            (run_dir / "features.npz").unlink()
        assert compare_confusion(SUITE, scan(work_dir), cli.warn) == expected

    def test_damaged_and_absent_files(self, work_dir: Path) -> None:
        runs = [run_dir for run_dir, _ in scan(work_dir)]
        (runs[0] / "features.npz").write_bytes(b"no archive")
        (runs[1] / "features.npz").unlink()
        warnings: list[str] = []
        found = compare_confusion(SUITE, scan(work_dir), warnings.append)
        assert [line.runs for line in found] == [1, 3]
        assert len(warnings) == 1
        assert "left out of the confusion" in warnings[0]


class TestTheCommand:
    def call(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, *arguments: Any) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["report.py", *map(str, arguments)])
        assert report.main() == 0
        return capsys.readouterr()

    def test_markdown_and_kept(
        self, work_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
    ) -> None:
        kept = tmp_path / "kept"
        out, err = self.call(monkeypatch, capsys, "--work-dir", work_dir, "--geometry", "--keep", kept)
        assert err.splitlines() == [f"kept 6 runs in {kept}"]
        assert "compactness and separation" in out
        assert "head against tail" in out
        assert "classes most confused" in out
        assert (kept / "digits_lt" / "geometry.md").read_text(encoding="utf-8") in out
        assert (kept / "digits_lt" / "geometry.csv").read_text(encoding="utf-8").startswith("suite,imbalance,row")
        # From what is kept the figures come again, without the agreement.
        again, _ = self.call(monkeypatch, capsys, "--work-dir", kept, "--geometry")
        assert "compactness and separation" in again
        assert "agreement of the class geometry" not in again

    def test_nothing_to_show(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
    ) -> None:
        write_run(tmp_path, make_record("digits_lt", "mixup", 1, 70.0, train_counts=COUNTS, dataset="digits"))
        out, err = self.call(monkeypatch, capsys, "--work-dir", tmp_path, "--geometry")
        assert out.endswith("\nNo run has features or test outputs.\n")
        assert len(err.splitlines()) == 1
        assert "has no features: sar-cls features makes them" in err


def test_without_the_option_torch_is_not_imported(work_dir: Path) -> None:
    code = "import sys; from sar_cls.commands.report import main; main(); assert 'torch' not in sys.modules"
    arguments = ["--work-dir", str(work_dir)]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": str(cli.ROOT)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
