"""Experiment trackers beside the record of a run, through mmengine's visualisation backends: TensorBoard and MLflow.

mmengine has no backend that writes CSV; ``history.csv`` of each run is that.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mmengine.registry import VISBACKENDS
from mmengine.visualization import MLflowVisBackend
from mmengine.visualization.vis_backend import force_init_env

from sar_cls.errors import InputError
from sar_cls.runs.folder import CONFIG

LOCAL_STORE = "mlruns"


def vis_backends(
    *, tensorboard: bool, mlflow: str | None, suite: str, name: str, facts: dict[str, Any]
) -> list[dict[str, Any]]:
    """The backends that were asked for.

    Args:
        tensorboard: whether TensorBoard files are written beside the run.
        mlflow: address of an MLflow store; "" for the folder ``mlruns`` where the command was given; None for none.
        suite: becomes MLflow's experiment.
        name: becomes the name of the run there.
        facts: its parameters: row, seed, ...
    """
    found: list[dict[str, Any]] = [dict(type="TensorboardVisBackend")] if tensorboard else []
    if mlflow is not None:
        uri = mlflow or Path(LOCAL_STORE).absolute().as_uri()
        found.append(dict(type="RunMLflowVisBackend", exp_name=suite, run_name=name, params=facts, tracking_uri=uri))
    return found


@VISBACKENDS.register_module()
class RunMLflowVisBackend(MLflowVisBackend):
    """mmengine's backend for one run of this project: a folder serves as store, nothing is sent but figures, parameters and config.

    A resumed run goes on as another run of the store, under the same name.
    """

    def _init_env(self) -> None:
        # A folder as store has to be asked for since MLflow 3.17. That it is used is nobody's business, and telling would wait for
        # a network.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        try:
            import mlflow

            mlflow.end_run()  # of a run before this one in the process that has failed
            super()._init_env()
        except ImportError as error:
            raise InputError(
                "--mlflow needs the package mlflow: install it with pip install 'sar-cls[mlflow]'"
            ) from error
        except Exception as error:  # MLflow's own, the file system's, a server's
            reason = " ".join(str(error).split()) or type(error).__name__
            raise InputError(f"--mlflow {self._tracking_uri} cannot be used: {reason[:300]}") from error

    @force_init_env
    def add_config(self, config: Any, **kwargs: Any) -> None:
        """The config as a file; its hundreds of entries are no parameters that anybody compares."""
        self._mlflow.log_text(config.pretty_text, CONFIG)

    def close(self) -> None:
        """Ends the run; checkpoints and logs stay where they are."""
        if hasattr(self, "_mlflow"):
            self._mlflow.end_run()
