"""Metrics of segmentation nets anew, from the confusion matrices that their runs keep."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dense_runs import COUNTS, PLAIN, ious, write_runs

from sar_cls.errors import InputError
from sar_cls.runs.dense_outputs import read_dense_outputs, recompute_dense
from sar_cls.runs.per_class import read_per_class
from sar_cls.runs.recomputed import recomputed


def test_metrics_and_the_file_of_the_classes_are_made_anew(tmp_path: Path) -> None:
    run_dir, record = write_runs(tmp_path)[0]
    wrong = {**record, "metrics": {epoch: {"miou": 1.0, "val_miou": 2.0} for epoch in ("last", "best")}}
    (run_dir / "per_class.csv").unlink()
    found = recomputed(wrong, run_dir, pytest.fail)["metrics"]
    for epoch in ("last", "best"):
        assert found[epoch]["miou"] == pytest.approx(np.nanmean(ious(PLAIN)))
        assert found[epoch]["val_miou"] == 2.0
        assert found[epoch]["undefined_classes"] == ["Pole"]
    assert read_per_class(run_dir).last == pytest.approx(np.array(ious(PLAIN)), abs=1e-4, nan_ok=True)


def test_without_the_matrices_the_record_is_kept_and_the_sentence_names_their_file(tmp_path: Path) -> None:
    run_dir, record = write_runs(tmp_path)[0]
    (run_dir / "segmentation.npz").unlink()
    warnings: list[str] = []
    assert recomputed(record, run_dir, warnings.append) == record
    (said,) = warnings
    assert "segmentation.npz" in said
    assert "test_outputs" not in said
    assert "logits" not in said


def test_matrices_of_other_classes_are_refused(tmp_path: Path) -> None:
    run_dir, record = write_runs(tmp_path)[0]
    with pytest.raises(InputError, match="has 5 classes and its record 4"):
        recompute_dense({**record, "train_counts": COUNTS[1:]}, read_dense_outputs(run_dir))
