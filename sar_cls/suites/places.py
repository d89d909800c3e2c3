"""Where suites are: those that come with the package, and those of one's own that build on them."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
# In an installed package they lie inside it, in a clone beside it.
CONFIGS = _PACKAGE / "configs" if (_PACKAGE / "configs").is_dir() else _PACKAGE.parent / "configs"
SUITE_FILE = "suite.toml"


def home_of(suite: str, configs: Path) -> Path:
    """The folder of suites that has this one: ``configs``, else that of those that come along; ``configs`` where neither has it."""
    elsewhere = not (configs / suite / SUITE_FILE).is_file() and (CONFIGS / suite / SUITE_FILE).is_file()
    return CONFIGS if elsewhere else configs
