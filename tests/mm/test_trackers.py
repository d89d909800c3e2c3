"""Trackers beside the record: MLflow in a folder, TensorBoard, and both refused in a sentence where they cannot be had."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sar_cls import argument_types, cli
from sar_cls.engine.options import Options
from sar_cls.engine.run import run
from sar_cls.errors import InputError
from sar_cls.mm.trackers import vis_backends

mlflow_is_here = pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="mlflow is not installed")


@pytest.fixture
def quiet_mlflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """MLflow that speaks to nobody, in an empty folder, and has no open run afterwards."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    import mlflow

    yield mlflow
    mlflow.end_run()


@mlflow_is_here
def test_a_run_is_logged_epoch_by_epoch(
    make_job: Callable[..., Any], cache: Any, tmp_path: Path, quiet_mlflow: Any
) -> None:
    uri = (tmp_path / "store").as_uri()
    job = make_job(row="row", seed=3)
    run(job, Options(mlflow=uri), cache)
    (found,) = quiet_mlflow.MlflowClient(uri).search_runs(
        [quiet_mlflow.MlflowClient(uri).get_experiment_by_name("tiny").experiment_id]
    )
    assert (found.info.run_name, found.info.status) == ("row/seed3", "FINISHED")
    assert {name: found.data.params[name] for name in ("suite", "row", "seed", "epochs")} == {
        "suite": "tiny", "row": "row", "seed": "3", "epochs": "2",
    }  # fmt: skip
    with (job.run_dir / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    logged = quiet_mlflow.MlflowClient(uri).get_metric_history(found.info.run_id, "test_top1")
    assert [(metric.step, metric.value) for metric in logged] == [
        (int(row["epoch"]), float(row["test_top1"])) for row in rows
    ]


@mlflow_is_here
def test_a_store_that_cannot_be_used_is_one_sentence(
    make_job: Callable[..., Any], cache: Any, tmp_path: Path, quiet_mlflow: Any
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--mlflow file://.*/file cannot be used: ") as error:
        run(make_job(), Options(mlflow=(tmp_path / "file").as_uri()), cache)
    assert "\n" not in str(error.value)


def test_what_was_asked_for() -> None:
    facts: dict[str, Any] = {"row": "r"}
    assert vis_backends(tensorboard=False, mlflow=None, suite="s", name="n", facts=facts) == []
    tensorboard, local = vis_backends(tensorboard=True, mlflow="", suite="s", name="n", facts=facts)
    assert tensorboard == {"type": "TensorboardVisBackend"}
    assert local["tracking_uri"] == (Path.cwd() / "mlruns").as_uri()
    (other,) = vis_backends(tensorboard=False, mlflow="http://localhost:1", suite="s", name="n", facts=facts)
    assert (other["tracking_uri"], other["exp_name"], other["run_name"]) == ("http://localhost:1", "s", "n")


@pytest.mark.parametrize("package", ["tensorboard", "mlflow"])
def test_a_tracker_that_is_not_installed(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parser = argument_types.Parser()
    cli.add_run_options(parser)
    arguments = parser.parse_args([f"--{package}"])
    here = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == package else here(name, *rest))
    with pytest.raises(InputError, match=f"--{package} needs the package {package}: install it with pip install"):
        cli.run_options(arguments)
