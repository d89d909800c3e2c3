"""A suite and its rows as text, for ``--list``."""

from __future__ import annotations

from sar_cls.suites.rows import Row, Suite


def describe(suite: Suite) -> str:
    """The suite and its rows as plain text, for ``--list``."""
    lines: list[str] = []
    for part in suite.all_suites:
        lines.append(f"{part.name}: {part.title}{part.origin}{', measured' if part.measure else ''}")
        families: dict[str, list[Row]] = {}
        for row in part.rows:
            families.setdefault(row.family or row.name, []).append(row)
        width = max(len(name) for name in families)
        for name, rows in families.items():
            row = rows[0]
            if row.family:
                shown = ", ".join(other.name for other in rows)
                lines.append(f"  {name:<{width}}  a grid of {len(rows)}: {shown}" + _remarks(row, part.name))
            else:
                lines.append(f"  {name:<{width}}  {row.label}" + _remarks(row, part.name))
    return "\n".join(lines)


def _remarks(row: Row, suite: str) -> str:
    remarks = [f"after {row.after}"] if row.after and not row.family else []
    remarks += [f"runs of {row.suite}"] if row.suite != suite else []
    remarks += ["only with --only or --all"] if row.optional else []
    return f" ({', '.join(remarks)})" if remarks else ""
