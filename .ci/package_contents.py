"""Compares what a wheel and an sdist hold with the files of the repository: `package_contents.py WHEEL SDIST`.

The wheel: sar_cls, and configs as sar_cls/configs. The sdist: all but results.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import PurePosixPath

# Read by code that is installed, or by tools beside it: were one untracked or ignored, both lists below would lack it.
NEEDED = (
    "configs/digits/suite.toml",
    "reporting/paper.csv",
    "reporting/html/templates/report.html.jinja",
    "data/cifar100_order.npz",
    "py.typed",
)


def of_wheel(tracked: set[str]) -> set[str]:
    return {name for name in tracked if name.startswith("sar_cls/")} | {
        f"sar_cls/{name}" for name in tracked if name.startswith("configs/")
    }


def main() -> str | None:
    wheel, sdist = sys.argv[1:]
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, check=True).stdout
    tracked = {name for name in listed.split("\0") if name}
    wheel_has = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    with tarfile.open(sdist) as archive:
        files = {PurePosixPath(entry.name) for entry in archive if not entry.isdir()}
    sdist_has = {str(PurePosixPath(*path.parts[1:])) for path in files} - {"PKG-INFO"}

    problems = [f"the wheel lacks sar_cls/{name}" for name in NEEDED if f"sar_cls/{name}" not in wheel_has]
    for kind, has, wanted in (
        ("wheel", wheel_has, of_wheel(tracked)),
        ("sdist", sdist_has, {name for name in tracked if not name.startswith("results/")}),
    ):
        problems += [f"the {kind} lacks {name}" for name in sorted(wanted - has)]
        problems += [f"the {kind} should not hold {name}" for name in sorted(has - wanted)]
        print(f"package: the {kind} holds {len(has)} files")
    return "\n".join(problems) or None


if __name__ == "__main__":
    sys.exit(main())
