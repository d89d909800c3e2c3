"""What is wrong with a cluster, as the user of the command meets it: exit code 2, one sentence, nothing started."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sar_cls.cli import ROOT

from .conftest import Three

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

Refused = Callable[..., str]


@pytest.fixture
def refused(tmp_path: Path) -> Refused:
    """Runs the command and returns its one line."""

    def run(address: str, *arguments: str, work_dir: str = "work") -> str:
        here = tmp_path / "here"
        here.mkdir()
        whole = ["--suite", "digits", "--only", "baseline", "--epochs", "1", "--seeds", "1", "--device", "cpu"]
        whole += ["--work-dir", work_dir, "--launcher", "ray", "--address", address, *arguments]
        done = subprocess.run(
            [sys.executable, str(ROOT / "benchmarks" / "run.py"), *whole],
            capture_output=True,
            text=True,
            check=False,
            cwd=here,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            timeout=200,
        )
        assert (done.returncode, done.stdout) == (2, ""), done.stdout + done.stderr
        (line,) = done.stderr.splitlines()
        assert list(here.iterdir()) == []
        return line.removeprefix("run.py: ")

    return run


@contextmanager
def odd_node(three: Three, folder: Path, program: str) -> Iterator[None]:
    """A node more, whose Python runs something first."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(program)
    path = os.pathsep.join([str(folder), str(ROOT)])
    node: Any = three.cluster.add_node(
        num_cpus=1, object_store_memory=100 * 2**20, env_vars={"PYTHONPATH": path}, node_name="odd"
    )
    try:
        yield
    finally:
        three.cluster.remove_node(node)


def test_nobody_is_there(refused: Refused) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'sar-cls[ray]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    line = refused(address)
    assert line.startswith(f"no Ray cluster at {address} (")
    assert line.endswith("start one with ray start --head, or name its head node by --address HOST:PORT")


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import torch\ntorch.__version__ = '1.0'\n", "has torch 1.0 and this machine "),
        (
            "from importlib import metadata\nfound = metadata.version\n"
            "metadata.version = lambda name: '99' if name == 'sar-cls' else found(name)\n",
            "has sar-cls 99 and this machine ",
        ),
        ("import sys\nsys.modules['sar_cls'] = None\n", "cannot import sar_cls (ModuleNotFoundError: "),
    ],
    ids=["torch", "sar-cls", "no sar-cls"],
)
def test_a_node_has_something_else_installed(
    three: Three, refused: Refused, tmp_path: Path, program: str, words: str
) -> None:
    with odd_node(three, tmp_path / "odd", program):
        line = refused(three.cluster.address)
    assert line.startswith("node ")
    assert f" {words}" in line
    assert line.endswith(": install the same on all nodes")


def test_the_work_directory_is_not_shared(three: Three, refused: Refused) -> None:
    """Each process has a current folder of its own, under one name."""
    three.complete()
    line = refused(three.cluster.address, work_dir="/proc/self/cwd/work")
    assert line.startswith("node ")
    assert line.endswith(" does not see /proc/self/cwd/work: name a --work-dir that all nodes share, or add --sync")


def test_no_room_for_a_run(three: Three, refused: Refused) -> None:
    three.complete()
    line = refused(three.cluster.address, "--threads", "64")
    assert line == "no node of the cluster has the CPUs of one run: add nodes, or give --device or --threads"
