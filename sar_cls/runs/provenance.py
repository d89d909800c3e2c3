"""Where a result comes from: the code's commit, the versions of the libraries, the kind of machine.

Nothing here names a person, a host or a folder, so that records can be published as they are.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "sar-cls", "torch", "torchvision", "timm", "mmengine", "mmpretrain", "mmcv-lite",
    "pandas", "numpy", "scipy",
)  # fmt: skip
# Forks that take the folders of mmengine, mmcv and mmpretrain: the names of the originals are then not installed.
FORKS = ("onedl-mmengine", "onedl-mmcv", "onedl-mmpretrain", "onedl-mmsegmentation")
_WITH_BUILD = ("torch", "torchvision")
# What decides a result. Notes and results beside them may change without making the code another one.
_CODE = ("sar_cls", "configs", "benchmarks", "longtail", "pyproject.toml")
_PACKAGE_ROOT = Path(__file__).resolve().parents[2]


def collect(device_name: str | None = None) -> dict[str, Any]:
    """The fields ``git``, ``versions`` and ``machine`` of a record.

    Args:
        device_name: name of the accelerator, as its driver gives it; asking for it would need torch here.
    """
    return {"git": git_state(), "versions": versions(), "machine": machine(device_name)}


def git_state(root: Path = _PACKAGE_ROOT) -> dict[str, Any]:
    """Commit and whether the code differs from it: ``{"commit": str | None, "dirty": bool | None}``.

    Both are None outside a checkout of this project, for instance for a package installed from a wheel: a repository
    that only happens to hold the environment says nothing about the code.
    """
    unknown: dict[str, Any] = {"commit": None, "dirty": None}
    if _git(root, "ls-files", "--error-unmatch", "sar_cls/__init__.py") is None:
        return unknown
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    if commit is None:
        return unknown
    changes = _git(root, "status", "--porcelain", "--", *_CODE)
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


def versions() -> dict[str, str | None]:
    """Versions of Python and of the libraries that results depend on; None for one that is not installed.

    A fork of the mm libraries is named where it is installed, and not at all elsewhere.
    An imported torch says itself what it was built for (``2.13.0+cu130``); the name of its package may leave that out.
    """
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
        if name in _WITH_BUILD and name in sys.modules:
            found[name] = str(getattr(sys.modules[name], "__version__", found[name]))
    for name in FORKS:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def machine(device_name: str | None = None) -> dict[str, Any]:
    """Kind of machine: processor, usable cores, operating system, accelerator.

    ``cpu_capability`` is the set of instructions that an imported torch computes with ("AVX2", "AVX512" ...; None before torch
    is imported): processors of one name can differ in it, and sums are rounded by it.
    """
    torch = sys.modules.get("torch")
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": _cpu_name(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability() if torch else None,
        "cores": usable,
        "system": platform.system(),
        "architecture": platform.machine(),
        "accelerator": device_name,
    }


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.lower().startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def _git(root: Path, *arguments: str) -> str | None:
    """Output of a git command in ``root``; None where it fails or where there is no git."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
