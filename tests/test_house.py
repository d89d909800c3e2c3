"""Imports run one way, from the scripts down to the anchors."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# From the bottom up; a room imports from itself and from rooms on lower floors, never from its own floor or above.
FLOORS = [
    ("ranks",),
    ("bounds", "errors", "messages", "pace"),
    (
        "files",
        "memory",
        "official_images",
        "progress_bar",
        "torchvision_shim",
        "anchors",
        "dense",
        "superclasses",
        "whole_batch",
    ),
    ("class_names",),
    ("given_anchors",),
    ("regularizers", "losses"),
    ("metrics",),
    ("models", "data", "suites"),
    ("weights", "steps", "runs"),
    ("mm",),
    ("engine",),
    ("launch", "reporting"),
    ("speed",),
    ("argument_types", "exit_codes"),
    ("cli",),
    ("commands",),
    ("__main__", "benchmarks", "longtail", "examples"),
]
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}


def imports(file: Path) -> Iterator[tuple[str, int]]:
    """The rooms that a file imports anything from, with the line; imports for type checkers alone count as well."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "sar_cls":
            parts = node.module.split(".")[1:2] or [alias.name for alias in node.names]
            yield from ((part, node.lineno) for part in parts if part != "__version__")
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            yield from ((name[1], node.lineno) for name in names if name[0] == "sar_cls" and len(name) > 1)


def upward(root: Path) -> list[str]:
    """Every import that climbs, as ``file:line: room from room``."""
    found = []
    for file in [
        *root.glob("sar_cls/**/*.py"),
        *root.glob("benchmarks/*.py"),
        *root.glob("longtail/*.py"),
        *root.glob("examples/*.py"),
    ]:
        parts = file.relative_to(root).with_suffix("").parts
        room = parts[1] if parts[0] == "sar_cls" else parts[0]
        for other, line in imports(file):
            if room != "__init__" and other in LEVEL and other != room and LEVEL[other] >= LEVEL[room]:
                found.append(f"{file.relative_to(root)}:{line}: {other} from {room}")
    return found


def test_imports_run_one_way() -> None:
    assert upward(ROOT) == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("sar_cls/anchors.py", "from sar_cls.losses.base import ClassCounts"),
        ("sar_cls/steps/modes.py", "def f():\n    import sar_cls.mm.head"),
        ("sar_cls/suites/rows.py", "from sar_cls.engine import run"),
        ("sar_cls/models/classifiers.py", "from sar_cls import data"),
    ],
)
def test_a_climbing_import_is_found(tmp_path: Path, file: str, line: str) -> None:
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(line)
    assert len(upward(tmp_path)) == 1


def printing(root: Path) -> list[str]:
    """Every place that prints by itself, as ``file:line``."""
    found = []
    for file in [*root.glob("sar_cls/**/*.py"), *root.glob("benchmarks/*.py"), *root.glob("longtail/*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            prints = isinstance(node, ast.Name) and node.id == "print"
            writes = isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.stdout.write", "sys.stderr.write")
            logs = isinstance(node, ast.Import) and any(alias.name == "logging" for alias in node.names)
            if prints or writes or logs:
                found.append(f"{file.relative_to(root)}:{getattr(node, 'lineno', 0)}")
    return found


def test_one_module_prints() -> None:
    assert {place.split(":")[0] for place in printing(ROOT)} == {"sar_cls/messages.py"}


@pytest.mark.parametrize("line", ["print(1)", "say = print", "sys.stderr.write('x')", "import logging"])
def test_another_one_is_found(tmp_path: Path, line: str) -> None:
    (tmp_path / "sar_cls").mkdir()
    (tmp_path / "sar_cls" / "loose.py").write_text(f"import sys\n{line}\n")
    assert printing(tmp_path) == ["sar_cls/loose.py:2"]


def loose_folders(tests: Path) -> set[str]:
    """Folders below ``tests`` of tests that are no packages: two files of one name in such folders cannot both be collected."""
    folders = {file.parent for file in tests.glob("*/**/test_*.py")}
    return {str(folder.relative_to(tests)) for folder in folders if not (folder / "__init__.py").is_file()}


def test_every_folder_of_tests_is_a_package() -> None:
    assert loose_folders(ROOT / "tests") == set()


def test_a_folder_that_is_none_is_found(tmp_path: Path) -> None:
    for name in ("data", "weights", "weights/deep"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "test_load.py").touch()
    (tmp_path / "data" / "__init__.py").touch()
    assert loose_folders(tmp_path) == {"weights", "weights/deep"}
