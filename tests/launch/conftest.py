"""A Ray cluster for the tests of launchers: three nodes on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from sar_cls.cli import ROOT


@dataclass
class Three:
    """A cluster of a head without places and two nodes with one each."""

    cluster: Any
    nodes: list[Any]

    def complete(self) -> None:
        """Adds what was killed; to be called in the main thread, since Ray sets handlers of signals."""
        while len(self.nodes) < 2:
            self.nodes.append(self.cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20))


@pytest.fixture(scope="module")
def three() -> Iterator[Three]:
    """The cluster, to which this process is connected; skips without Ray."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'sar-cls[ray]'")
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 100 * 2**20, "include_dashboard": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small}, connect=True)
        try:
            yield Three(cluster, [])
        finally:
            ray.shutdown()
            cluster.shutdown()
