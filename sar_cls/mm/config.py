"""Reading a config: errors that name file and line, and the hash that says whether two runs had the same recipe."""

from __future__ import annotations

import ast
import hashlib
import json
from pathlib import Path
from typing import Any

from mmengine.config import Config

from sar_cls.errors import InputError

# What may differ between two runs of one recipe.
_NOT_RECIPE = {
    "work_dir",
    "seed",
    "randomness",
    "load_from",
    "resume",
    "launcher",
    "env_cfg",
    "log_level",
    "visualizer",
}
_NOT_RECIPE |= {"vis_backends", "default_hooks", "custom_hooks", "custom_imports", "default_scope", "auto_scale_lr"}


def load_config(path: Path) -> Config:
    """Reads an mmengine config.

    Raises:
        InputError: it is missing or does not parse; the sentence names file and line.
    """
    if not path.is_file():
        raise InputError(f"no config at {path}: check its name")
    try:
        ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except SyntaxError as error:
        raise InputError(f"{path}, line {error.lineno}: {error.msg}; correct the config") from error
    try:
        return Config.fromfile(path)
    except Exception as error:
        line = _line_of(error)
        where = f"{path}, line {line}" if line else str(path)
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{where}: {type(error).__name__}: {reason}; correct the config") from error


def _line_of(error: BaseException) -> int | None:
    """The line at which a config raised: mmengine compiles configs under an empty file name."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _plain(value: Any) -> Any:
    """Tuples and lists, Config and dict are the same recipe."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    return repr(value)


def recipe_hash(config: Config) -> str:
    """Twelve hex digits of the sha256 of everything in a config that shapes the result; seed, paths and hooks do not count."""
    recipe = {key: value for key, value in _plain(config.to_dict()).items() if key not in _NOT_RECIPE}
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:12]
