"""Reading a config: errors that name file and line, and the hash that says whether two runs had the same recipe."""

from __future__ import annotations

import hashlib
import json
import os
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
# Chooses by the data of a first stage; what it chose stands among the overrides of the run.
_NOT_RECIPE |= {"settings_by_data"}


def load_config(path: Path) -> Config:
    """Reads an mmengine config.

    Raises:
        InputError: it, or a config that it is based on, is missing or does not parse; the sentence names file and line.
    """
    if not path.is_file():
        raise InputError(f"no config at {path}: check its name")
    try:
        return Config.fromfile(path)
    except Exception as error:
        file, line = _place_of(error, path.absolute())
        where = f"{file}, line {line}" if line else str(file)
        # A SyntaxError's text has its own, nameless place in brackets.
        reason = str(error.msg if isinstance(error, SyntaxError) else error).strip()
        reason = reason.splitlines()[0].rstrip(".") if reason else "no further reason given"
        raise InputError(f"{where}: {type(error).__name__}: {reason}; correct the config") from error


def _place_of(error: BaseException, path: Path) -> tuple[Path, int | None]:
    """File and line to which an error in reading the config ``path`` belongs: those of a base, where it is at fault.

    mmengine reads each file of the chain in a call of its own and compiles it under its name (older versions: under none).
    """
    files, line = [path], None
    trace = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        if frame.f_code.co_name == "_file2dict" and "filename" in frame.f_locals:
            file = Path(os.path.abspath(frame.f_locals["filename"]))
            if file != files[-1]:
                files.append(file)
        elif frame.f_code.co_filename in ("", str(files[-1])):
            line = trace.tb_lineno
        trace = trace.tb_next
    file = next(name for name in reversed(files) if name.is_file() or name == path)
    if isinstance(error, SyntaxError):
        line = error.lineno
    elif isinstance(error, UnicodeDecodeError):
        line = file.read_bytes()[: error.start].count(b"\n") + 1
    elif isinstance(error, OSError) and line is None:  # a base that is not there
        lines = file.read_text(encoding="utf-8").splitlines()
        line = next((number for number, text in enumerate(lines, 1) if text.startswith("_base_")), None)
    return file, line


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
