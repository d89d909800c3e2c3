"""What is asked of a cluster, as far as it needs none; with one it is in test_ray_pool.py."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from sar_cls.errors import InputError
from sar_cls.launch import ray_cluster
from sar_cls.launch.ray_cluster import Node, mismatch, own_versions

OURS: dict[str, str | None] = {"sar-cls": "0.1.0", "torch": "2.13.0", "commit": "abc"}


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (OURS, None),
        (OURS | {"torch": "2.6.0"}, "has torch 2.6.0 and this machine 2.13.0"),
        (OURS | {"sar-cls": None}, "has sar-cls None and this machine 0.1.0"),
        (OURS | {"commit": "def"}, "has the code of commit def and this machine abc"),
        (OURS | {"commit": None}, None),  # a wheel knows none
        ("ModuleNotFoundError: No module named 'sar_cls'", "cannot import sar_cls (ModuleNotFoundError"),
    ],
)
def test_versions(theirs: dict[str, str | None] | str, words: str | None) -> None:
    found = mismatch(OURS, theirs)
    assert found is None if words is None else found is not None and found.startswith(words)


def test_a_machine_has_its_own_versions() -> None:
    assert mismatch(own_versions(), own_versions()) is None
    assert set(own_versions()) == set(ray_cluster.SAME)


@pytest.mark.parametrize(
    ("cpus", "gpus", "places"),
    [(1.0, 0.0, 8), (3.0, 0.0, 2), (0.5, 0.0, 16), (0.1, 0.0, 80), (0.0, 1.0, 2), (0.0, 1 / 3, 6), (16.0, 0.0, 0)],
)
def test_places_of_a_node(cpus: float, gpus: float, places: int) -> None:
    assert Node("id", "name", cpus=8.0, gpus=2.0).places(cpus, gpus) == places


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"needs Ray: install it with pip install 'sar-cls\[ray\]'"):
        ray_cluster.import_ray()


@pytest.mark.parametrize("address", ["nowhere", "host:", "host:port", ":6379"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(InputError, match="is not HOST:PORT"):
        ray_cluster._look_for(address, "start one")


def test_nobody_at_the_address() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(InputError, match=rf"no Ray cluster at 127\.0\.0\.1:{port} \(.*refused.*\): start one"):
        ray_cluster._look_for(f"127.0.0.1:{port}", "start one")


def test_the_token_leaves_nothing_behind(tmp_path: Path) -> None:
    with ray_cluster._token(tmp_path / "deep" / "work") as path:
        assert Path(path).is_file()
    assert list(tmp_path.iterdir()) == []
    with ray_cluster._token(tmp_path / "kept"):
        (tmp_path / "kept" / "run").mkdir()
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["run"]
