"""Puts what a part of the checks needs into its environment as links to the files that .venv-ci has already.

`borrow.py FROM TO CONSTRAINTS REQUIREMENT…`: of the packages in the site-packages FROM, those that the requirements ask for, and
what they ask for in turn, unless FROM has a version that a requirement or a line of CONSTRAINTS excludes. What is missing then,
pip installs as ever; what nobody asks for is not there, so a dependency that was forgotten is still found. The compiled files of
.venv-ci come along. Reading the index for some seventy packages, unpacking and compiling them takes a minute in each environment.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import Distribution, distributions
from importlib.util import cache_from_source
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

OURS = "sar-cls"  # its requirements are followed; itself is installed by the part, as a user would


def wanted(place: Path, requirements: list[str], constraints: list[str]) -> dict[str, Distribution]:
    """The distributions of `place` by name that the requirements lead to."""
    there = {canonicalize_name(found.metadata["Name"]): found for found in distributions(path=[str(place)])}
    limits = {canonicalize_name(limit.name): limit.specifier for limit in map(Requirement, constraints)}
    todo, seen, chosen = [Requirement(text) for text in requirements], set(), {}
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        found = there.get(name)
        if found is None or not all(
            allowed.contains(found.version, prereleases=True)
            for allowed in (requirement.specifier, limits.get(name, requirement.specifier))
        ):
            continue
        chosen[name] = found
        for extra in {"", *requirement.extras} - {extra for of, extra in seen if of == name}:
            seen.add((name, extra))
            asked = [Requirement(text) for text in found.requires or []]
            todo += [one for one in asked if one.marker is None or one.marker.evaluate({"extra": extra})]
    return chosen


def link(distribution: Distribution, place: Path, target: Path) -> None:
    """All files of a distribution below site-packages; those that pip knows it by come last, so that it sees nothing half done."""
    files = [place / str(file) for file in distribution.files or [] if not str(file).startswith("..")]
    for file in sorted(files, key=lambda file: ".dist-info" in str(file)):
        copies = [file]
        if file.suffix == ".py":
            copies.append(Path(cache_from_source(str(file))))
        for one in copies:
            to = target / one.relative_to(place)
            to.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(one, to)
            except FileNotFoundError:  # not compiled yet
                if one is file:
                    raise
            except FileExistsError:  # listed twice, or a folder that two packages share
                pass


def main() -> None:
    place, target, constraints = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]).read_text(encoding="utf-8")
    lines = [line for line in constraints.splitlines() if line.strip() and not line.startswith("#")]
    chosen = wanted(place, sys.argv[4:], lines)
    for name in sorted(chosen.keys() - {OURS}):
        try:
            link(chosen[name], place, target)
        except OSError as error:  # another file system, a file that has gone: pip does it
            print(f"borrow: {name} is left to pip ({error})", file=sys.stderr)


if __name__ == "__main__":
    main()
