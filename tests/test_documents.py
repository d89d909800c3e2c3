"""The documents say what is there: the table of methods, the citation, the guide."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml

import sar_cls
from sar_cls.cli import CONFIGS
from sar_cls.engine.two_stage import second_stage_methods
from sar_cls.losses import LOSSES
from sar_cls.regularizers import REGULARIZERS
from sar_cls.suites.rows import load_suite

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
COLUMNS = ["method", "name", "paper", "file", "test", "row"]


def methods() -> dict[str, list[dict[str, str]]]:
    """The entries of CONTENTS.md below each of its headings, cells by column."""
    found: dict[str, list[dict[str, str]]] = {}
    for part in (ROOT / "CONTENTS.md").read_text(encoding="utf-8").split("\n## ")[1:]:
        heading, *lines = part.splitlines()
        head, _, *rows = [
            [cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")
        ]
        assert head == COLUMNS
        found[heading] = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    return found


ENTRIES = [entry for entries in methods().values() for entry in entries]
each_entry = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["name"].strip("`"))


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize(
    ("heading", "known"),
    [("Regularizers", REGULARIZERS), ("Losses", LOSSES), ("Second stages", second_stage_methods(CONFIGS))],
    ids=["regularizers", "losses", "second stages"],
)
def test_every_method_stands_in_the_table_once(heading: str, known: list[str]) -> None:
    (entries,) = [entries for title, entries in methods().items() if title.startswith(heading)]
    assert sorted(name for entry in entries for name in quoted(entry["name"])) == sorted(known)


@each_entry
def test_files_tests_and_rows_are_there(entry: dict[str, str]) -> None:
    files, tests, rows = (quoted(entry[column]) for column in ("file", "test", "row"))
    assert files
    assert tests
    for name in (*files, *tests):
        assert (ROOT / name).is_file(), name
    assert all(name.startswith("sar_cls/") for name in files)
    assert all(name.startswith("tests/") for name in tests)
    assert rows or entry["row"] == "–"
    for suite, _, row in (name.partition("/") for name in rows):
        load_suite(CONFIGS, suite).row(row)


@pytest.mark.parametrize("name", [*REGULARIZERS, *LOSSES])
def test_a_class_is_in_the_file_that_is_named_for_it(name: str) -> None:
    (entry,) = [entry for entry in ENTRIES if name in quoted(entry["name"])]
    module = {**REGULARIZERS, **LOSSES}[name].__module__
    assert module.replace(".", "/") + ".py" in quoted(entry["file"])


def test_citation() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert citation["version"] == sar_cls.__version__
    (paper,) = citation["references"]
    assert {"type", "title", "authors"} <= set(paper)


def test_the_version_is_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["version"] == sar_cls.__version__
    assert (ROOT / "sar_cls" / "py.typed").is_file()


def sections(text: str) -> dict[str, str]:
    """What stands below each heading of a document, by the name of its place on GitHub."""
    found = {}
    for part in re.split(r"^#+ ", text, flags=re.MULTILINE)[1:]:
        heading, _, below = part.partition("\n")
        found[re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")] = " ".join(below.split())
    return found


def test_short_answers_have_their_figures_in_the_section_that_they_name() -> None:
    text = (ROOT / "results" / "README.md").read_text(encoding="utf-8")
    answers = re.findall(r"^\| \[.+\]\(#(.+)\) \| (.+) \|$", text, flags=re.MULTILINE)
    assert [place for place, _ in answers] == list(sections(text))[1 : 1 + len(answers)]
    figures = [(place, figure) for place, answer in answers for figure in re.findall(r"[+-]?\d[\d.]*\d", answer)]
    assert len(figures) > 20
    for place, figure in figures:
        assert figure in sections(text)[place], (place, figure)


@pytest.mark.parametrize(
    "document",
    [
        str(path.relative_to(ROOT))
        for pattern in ("*.md", "docs/*.md", "results/README.md", "results/*/README.md")
        for path in sorted(ROOT.glob(pattern))
        if path.name != "CHANGELOG.md"  # which tells of what is no longer there
    ],
)
def test_paths_in_the_documents_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for path in re.findall(r"`((?:sar_cls|tests|configs|longtail|benchmarks)/[\w./]*)`", text):
        assert (ROOT / path).exists() or "SUITE" in path, path
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (ROOT / document).parent.joinpath(link).exists(), link
    for place in re.findall(r"\]\(#([^)]+)\)", text):
        assert place in sections(text), place
