"""Prints the lowest versions that pyproject.toml allows as constraints for pip: `name==version` lines.

Every package of the library, [bench] and [export] but torch and torchvision, whose build is chosen by constraints-cpu.txt.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

try:
    import tomllib
except ImportError:  # Python 3.10; pip is in every environment that this is for
    from pip._vendor import tomli as tomllib

EXTRAS = ("bench-common", "bench", "export")
CHOSEN_ELSEWHERE = ("torch", "torchvision", "sar-cls")


def main() -> str | None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = [*project["dependencies"]]
    for extra in EXTRAS:
        requirements += project["optional-dependencies"][extra]
    for requirement in requirements:
        text, _, marker = requirement.partition(";")
        name = re.split(r"[^\w.-]", text)[0]
        if name in CHOSEN_ELSEWHERE:
            continue
        floor = re.search(r">=([\w.]+)", text)
        if floor is None:
            return f"pyproject.toml: {requirement!r} has no lowest version"
        print(f"{name}=={floor[1]}" + (f"; {marker.strip()}" if marker else ""))
    return None


if __name__ == "__main__":
    sys.exit(main())
