"""Runs to draw, and principal components in place of UMAP, whose compilation takes many seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_runs import make_record, second_stage, write_history, write_outputs, write_run

pytest.importorskip("matplotlib")

COUNTS = list(range(500, 0, -50))


@pytest.fixture(autouse=True)
def principal_components(monkeypatch: pytest.MonkeyPatch) -> None:
    from sar_cls.reporting.figures import projection

    monkeypatch.setattr(projection, "has_umap", lambda: False)


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    """Two rows of a first stage with two seeds each, and a second stage that has a record and nothing else."""
    for row in ("mixup", "mixup_sar"):
        for seed in (1, 2):
            top = 39.0 + seed * (row == "mixup_sar")
            one = write_run(tmp_path, make_record("lt", row, seed, top, train_counts=COUNTS, epochs=5, epochs_recipe=5))
            write_outputs(tmp_path / "lt" / row / f"seed{seed}", seed + 10 * (row == "mixup_sar"), num_images=300)
            write_history(tmp_path / "lt" / row / f"seed{seed}", seed, epochs=5, sar=row == "mixup_sar")
    write_run(tmp_path, second_stage("lt", "mixup_mislas", 47.0, one | {"row": "mixup"}))
    return tmp_path
