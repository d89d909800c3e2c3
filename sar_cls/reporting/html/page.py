"""Writes the report: everything that is known of some suites' runs in one HTML file.

The page is ``templates/report.html.jinja`` (jinja2, which escapes every text), with styles, scripts and data in it; its policy lets
it load nothing from elsewhere. Charts are drawn by its own scripts from the data, so that rows and columns can be chosen.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sar_cls import __version__
from sar_cls.errors import InputError
from sar_cls.files import replacing
from sar_cls.reporting.class_metric import is_dense
from sar_cls.reporting.html.answers import Answers, answers
from sar_cls.reporting.html.cells import Column, HtmlTable, plain_table, view_tables
from sar_cls.reporting.html.content import Content, content_of
from sar_cls.reporting.html.environment import RUN_COLUMNS, facts, run_rows
from sar_cls.reporting.html.figures import figures_of
from sar_cls.reporting.html.pictures import Pictures
from sar_cls.reporting.html.rerun import ELSEWHERE, commands
from sar_cls.reporting.html.views import Runs, View, make_views
from sar_cls.reporting.tables.suite_tables import Table
from sar_cls.runs.ledger import Warn, default_warn
from sar_cls.suites.rows import Suite

TEMPLATES = Path(__file__).with_name("templates")
PAGE = "report.html.jinja"
STYLES = "report.css"
SCRIPTS = (
    "nodes.js", "sorting.js", "behind.js", "axes.js", "dots.js", "curves.js", "classes.js", "confusion.js", "maps.js", "page.js",
)  # fmt: skip
# Own words for a work directory in the command that makes the report again: the folder itself can be anybody's.
_WORK_DIR = "work_dirs"


def write_report(
    suites: Iterable[Suite],
    runs: Runs,
    path: Path | str,
    *,
    title: str = "",
    tables: Sequence[Table] = (),
    own_command: Sequence[str] = (),
    warn: Warn = default_warn,
    left_out: Sequence[str] = (),
    work_dir: Path | None = None,
) -> Path:
    """Writes the report of the given suites, without those that they include, to ``path``: whole or not at all.

    Args:
        suites: the suites.
        runs: run directories and records, as :func:`sar_cls.runs.ledger.scan` gives them.
        path: the HTML file; its folder is there.
        title: heading; by default the suites' titles.
        tables: further tables to show, for instance of what was measured and not trained.
        own_command: words of the command that makes this report, for its last part; by default ``report.py``'s.
        warn: called with a sentence for whatever is left out; the page says the same.
        left_out: sentences about what was left out before.
        work_dir: folder of the runs, to be left out of those sentences; by default that of the runs that are given.

    Returns:
        The path.

    Raises:
        InputError: jinja2 is not installed.
    """
    text = render(
        suites,
        runs,
        title=title,
        tables=tables,
        own_command=own_command,
        warn=warn,
        left_out=left_out,
        work_dir=work_dir,
    )
    path = Path(path)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def render(
    suites: Iterable[Suite],
    runs: Runs,
    *,
    title: str = "",
    tables: Sequence[Table] = (),
    own_command: Sequence[str] = (),
    warn: Warn = default_warn,
    left_out: Sequence[str] = (),
    work_dir: Path | None = None,
) -> str:
    """The text of the page; arguments as for :func:`write_report`."""
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
        from markupsafe import Markup
    except ImportError as error:
        raise InputError("the HTML report needs jinja2; install it with: pip install 'sar-cls[bench]'") from error
    sentences = list(left_out)

    def note(sentence: str) -> None:
        if sentence not in sentences:
            sentences.append(sentence)
            warn(sentence)

    runs = list(runs)
    views = make_views(list(suites), runs, note)
    content = content_of(views, runs, note)
    found = answers(views)
    names = [view.suite.name for view in views]
    pictures = Pictures(runs, note)
    shown = [
        _shown(view, content, pictures, first=names.index(view.suite.name) == number)
        for number, view in enumerate(views)
    ]
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=False
    )
    return environment.get_template(PAGE).render(
        title=title or _title(views),
        subtitle=_subtitle(content),
        version=__version__,
        today=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        answers=found,
        basis=_basis(content, found),
        caution=_caution(found),
        views=shown,
        tables=[plain_table(table) for table in tables],
        runs=_runs_table(views, content) if content.runs else None,
        run_count=len(content.runs),
        facts=facts([record for record, _ in content.runs]),
        commands=(again := commands(content.runs)),
        own_suites=any(f"--configs {ELSEWHERE} " in command.text for command in again),
        own_command=shlex.join(
            own_command or ["python", "benchmarks/report.py", "--work-dir", _WORK_DIR, "--html", "report.html"]
        ),
        left_out=[_without_folders(sentence, runs, work_dir) for sentence in sentences],
        css=Markup((TEMPLATES / STYLES).read_text(encoding="utf-8")),
        script=Markup("\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in SCRIPTS)),
        data=Markup(_json(content.data)),
    )


def _json(data: Any) -> str:
    """JSON that can stand in a script element: no text in it can end that, nor begin a comment."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _title(views: Sequence[View]) -> str:
    titles = list(dict.fromkeys(view.suite.title for view in views))
    if not titles:
        return "Report without runs"
    return titles[0] if len(titles) == 1 else f"{titles[0]} and {len(titles) - 1} more"


def _subtitle(content: Content) -> str:
    if not content.runs:
        return "No run is here yet: the paper's figures stand beside empty columns."
    records = [record for record, _ in content.runs]
    first, last = min(run["finished_at"] for run in records)[:10], max(run["finished_at"] for run in records)[:10]
    when = f"on {first}" if first == last else f"from {first} to {last}"
    seeds = len({run["seed"] for run in records})
    return f"{_plural(len(records), 'run')}, {_plural(seeds, 'seed')}, finished {when}"


def _basis(content: Content, found: Answers) -> str:
    changed = sum(entry["changed"] != "" for view in content.data["views"] for entry in view["entries"])
    total = sum(len(view["entries"]) for view in content.data["views"])
    rule = (
        "A claim came out where the 95 % interval of the difference over paired seeds lies on the claimed side of 0. "
    )
    text = (f"{rule}{found.comparisons()} " if found.claims else "") + "Figures are of the last epoch."
    if changed:
        text += (
            f" {changed} of the {total} lines with runs are by another recipe than their row's (fewer epochs, part of the "
            "data, another "
            "net): they are marked, and neither support nor refute the paper."
        )
    return text


def _caution(found: Answers) -> str:
    number = found.intervals
    looked = f"{_plural(number, 'interval')} {'was' if number == 1 else 'were'} looked at, each at 95 % on its own"
    chance = (
        "" if number < 5 else f": of {number}, about {max(1, round(number / 20))} would leave 0 out by chance alone"
    )
    holm = (
        " Where rows share a baseline, a difference counts only if Holm's adjusted p is below 0.05 as well."
        if number > 1
        else ""
    )
    seeds = "With few seeds intervals are wide, and a difference that cannot be told from 0 is no proof of equality."
    return f"{looked}{chance}.{holm} {seeds}"


def _shown(view: View, content: Content, pictures: Pictures, first: bool) -> dict[str, Any]:
    data = next(part for part in content.data["views"] if part["key"] == view.key)
    figures = figures_of(
        data["entries"], data["maps"], content.data["readings"], content.data["training"], is_dense(view.suite)
    )
    counts = {len(entry.group.runs[0]["train_counts"]) for entry in view.entries}
    missing = ""
    if len(counts) > 1:
        numbers = " and ".join(str(number) for number in sorted(counts))
        missing = f"Lines with {numbers} classes are not compared class by class: only lines with as many can be chosen together."
    elif view.entries and "classes" not in {figure.kind for figure in figures}:
        missing = "No view of the classes: the runs have kept neither test outputs nor accuracies per class."
    return {
        "key": view.key,
        "title": view.title,
        "tables": view_tables(view),
        "geometry": content.geometry.get(view.suite.name, []) if first else [],
        "figures": figures,
        "pictures": pictures.of(view.suite) if first and view.entries else [],
        "missing": missing,
    }


def _runs_table(views: Sequence[View], content: Content) -> HtmlTable:
    metrics = {view.suite.name: view.suite.metric for view in views}
    rows = run_rows([record for record, _ in content.runs], metrics)
    return HtmlTable("Runs with their provenance", tuple(Column(name) for name in RUN_COLUMNS), tuple(rows))


def _without_folders(sentence: str, runs: Runs, work_dir: Path | None = None) -> str:
    """The sentence with the runs named within their work directory: where that lies is nobody's business but its owner's."""
    folders = {str(run_dir.parents[2]) for run_dir, _ in runs if len(run_dir.parents) > 2}
    folders |= set() if work_dir is None else {str(work_dir)}
    for folder in sorted(folders, key=len, reverse=True):
        sentence = sentence.replace(f"{folder}/", "") if folder != "." else sentence
    return sentence


def _plural(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
