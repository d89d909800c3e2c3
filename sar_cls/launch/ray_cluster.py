"""A Ray cluster: connecting to it, and whether its nodes have this very code and see the work directory."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sar_cls.errors import InputError
from sar_cls.files import refusing
from sar_cls.runs import provenance

# What must be the same on all nodes; Ray itself sees to Python and Ray.
SAME = ("sar-cls", "torch", "commit")
SECONDS_FOR_AN_ANSWER = 120.0


@dataclass(frozen=True)
class Node:
    """A node that is alive.

    Attributes:
        id: as Ray has it.
        name: for messages.
        cpus: it offers.
        gpus: it offers.
    """

    id: str
    name: str
    cpus: float
    gpus: float

    def places(self, cpus: float, gpus: float) -> int:
        """How many runs of so many CPUs and GPUs fit on it."""
        fits = [int(has / needs + 1e-6) for has, needs in ((self.cpus, cpus), (self.gpus, gpus)) if needs]
        return min(fits) if fits else 0


def import_ray() -> Any:
    """Ray; InputError where it is not installed."""
    try:
        import ray
    except ModuleNotFoundError as error:
        raise InputError("--launcher ray needs Ray: install it with pip install 'sar-cls[ray]'") from error
    return ray


def connect(address: str) -> bool:
    """Connects to the cluster; returns whether this call did it.

    Raises:
        InputError: there is no cluster.
    """
    ray = import_ray()
    if ray.is_initialized():
        return False
    remedy = "start one with ray start --head, or name its head node by --address HOST:PORT"
    if address != "auto":
        _look_for(address, remedy)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # Ray has errors of many kinds for it
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise InputError(f"no Ray cluster at {address} ({reason}): {remedy}") from error
    # Of a node that is lost Ray would print fifty lines of its log to stdout, among the results. Its debugger silences it so too.
    ray._private.worker._worker_logs_enabled = False
    return True


def _look_for(address: str, remedy: str) -> None:
    """Whether anybody answers there at all; Ray would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdecimal():
        raise InputError(f"--address {address} is not HOST:PORT: give the head node's, or auto")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"no Ray cluster at {address} ({error}): {remedy}") from error


def nodes() -> list[Node]:
    """The nodes that are alive."""
    found = []
    for node in import_ray().nodes():
        if node["Alive"]:
            resources = node["Resources"]
            name = node.get("NodeManagerHostname") or node["NodeManagerAddress"]
            found.append(Node(node["NodeID"], name, resources.get("CPU", 0.0), resources.get("GPU", 0.0)))
    return found


def own_versions() -> dict[str, str | None]:
    """What must be the same on all nodes, as it is here."""
    found = provenance.versions() | {"commit": provenance.git_state()["commit"]}
    return {name: found[name] for name in SAME}


def check_nodes(found: Sequence[Node], work_dir: Path, *, shared: bool) -> None:
    """Asks each node for its versions and, where it is to be shared, for the work directory. One gone by then is passed over.

    Raises:
        InputError: a node has another version, does not see the work directory, or does not answer.
    """
    ray = import_ray()
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def ask(token: str | None) -> tuple[dict[str, str | None] | str, bool]:
        """Goes to the nodes by value, since one of them may not have this package at all."""
        try:
            from sar_cls.launch.ray_cluster import own_versions
        except Exception as error:
            return f"{type(error).__name__}: {error}", False
        return own_versions(), token is None or Path(token).is_file()

    remote = ray.remote(ask)
    with _token(work_dir) if shared else _nothing() as token:
        answers = [  # several nodes may have one name: containers of a host, nodes of one machine
            (
                node,
                remote.options(
                    num_cpus=0, max_retries=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)
                ).remote(token),
            )
            for node in found
        ]
        ours = own_versions()
        for node, answer in answers:
            name = node.name
            try:
                versions, sees = ray.get(answer, timeout=SECONDS_FOR_AN_ANSWER)
            except ray.exceptions.RayError as error:
                if node.id not in {other.id for other in nodes()}:
                    continue  # it was lost a moment ago: the same command right after a node's death must go on
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
                raise InputError(f"node {name} does not answer ({reason}): take it out of the cluster") from error
            problem = mismatch(ours, versions)
            if problem is not None:
                raise InputError(f"node {name} {problem}: install the same on all nodes")
            if not sees:
                raise InputError(
                    f"node {name} does not see {work_dir.absolute()}: name a --work-dir that all nodes share, or add --sync"
                )


def mismatch(ours: dict[str, str | None], theirs: dict[str, str | None] | str) -> str | None:
    """What another node has that parts its results from ours, in words; None where there is nothing."""
    if isinstance(theirs, str):
        return f"cannot import sar_cls ({theirs})"
    for name in SAME:
        one, other = ours[name], theirs.get(name)
        if name == "commit" and None in (one, other):  # a package from a wheel knows no commit
            continue
        if one != other:
            return f"has {'the code of commit' if name == 'commit' else name} {other} and this machine {one}"
    return None


@contextmanager
def _token(work_dir: Path) -> Iterator[str]:
    """A file in the work directory for as long as the block is; folders that were made for it go again."""
    work_dir = work_dir.absolute()
    made = [folder for folder in (work_dir, *work_dir.parents) if not folder.exists()]
    path = work_dir / f".shared-{uuid.uuid4().hex}.tmp"
    with refusing(work_dir, "give another --work-dir"):
        work_dir.mkdir(parents=True, exist_ok=True)
        path.touch()
    try:
        yield str(path)
    finally:
        path.unlink(missing_ok=True)
        for folder in made:
            with suppress(OSError):  # something is in it by now
                folder.rmdir()


@contextmanager
def _nothing() -> Iterator[None]:
    yield None
