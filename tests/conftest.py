"""Fixtures shared by all tests."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import TINY

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def pytest_configure(config: pytest.Config) -> None:
    # A shell starts what it puts in the background with Ctrl-C ignored, and all that it starts; the tests of Ctrl-C need it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Of the programs that tests start: beside those of another worker, two threads each would wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if hasattr(config.option, "loadscopereorder"):  # with pytest-xdist
        config.option.loadscopereorder = False  # files as they are sorted below


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """One thread for every test: on tensors this small more threads only wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def no_open_logs() -> Iterator[None]:
    """mmengine keeps the log of every runner open, and writes into the last one whenever it initialises a net. Where another
    library sets up its own logging meanwhile (submitit does), that file is closed and the next test fails."""
    yield
    loggers = getattr(sys.modules.get("mmengine.logging.logger"), "MMLogger", None)
    for logger in [] if loggers is None else list(loggers._instance_dict.values()):
        for handler in [handler for handler in logger.handlers if isinstance(handler, logging.FileHandler)]:
            logger.removeHandler(handler)
            handler.close()


@pytest.fixture(autouse=True)
def no_scope() -> Iterator[None]:
    """A runner leaves the scope of its library behind, "mmseg" for example, in which a later test would look for its parts."""
    yield
    scopes = getattr(sys.modules.get("mmengine.registry.default_scope"), "DefaultScope", None)
    if scopes is not None:
        scopes._instance_dict.clear()


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> torch.device:
    """Every device of this machine in turn: the CPU, and CUDA where there is one."""
    return torch.device(request.param)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images named by the environment variable SAR_CLS_DATA; skips the test where it is unset."""
    root = os.environ.get("SAR_CLS_DATA")
    if not root:
        pytest.skip("real images are not here: set SAR_CLS_DATA to the folder that holds cifar100/ and CUB_200_2011/")
    return Path(root)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("cuda") is not None:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device and there is none"))
    # Files of few long tests last would leave one worker alone with them. They wait for the programs they start, too.
    slow = {item.path for item in items if item.get_closest_marker("slow") is not None}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def cache() -> Any:
    """Image sets, read once."""
    from sar_cls.engine.run import DataCache

    return DataCache()


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., Any]:
    """Writes a config and returns a job that runs it: ``make_job(text, row="row", seed=1, run_dir=..., stage1_dir=None)``."""
    from sar_cls.engine.run import Job
    from sar_cls.suites.rows import Source

    def make(
        text: str = TINY,
        *,
        row: str = "row",
        seed: int = 1,
        run_dir: Path | None = None,
        stage1_dir: Path | None = None,
    ) -> Any:
        path = tmp_path / "configs" / f"{row}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        folder = run_dir or tmp_path / "work" / "tiny" / row / f"seed{seed}"
        return Job("tiny", row, Source(path), seed, folder, stage1_dir, f"tiny/{row} seed {seed}")

    return make
