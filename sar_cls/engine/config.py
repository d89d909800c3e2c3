"""Reading a config: errors that name file and line, and the hash that says whether two runs had the same recipe."""

from __future__ import annotations

import ast
import copy
import difflib
import hashlib
import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from mmengine.config import Config

from sar_cls.engine.own_code import import_own_code
from sar_cls.errors import InputError
from sar_cls.suites.rows import Source

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

# Entries that a config need not have and a row may add.
_OPTIONAL = (
    "weights",
    "posthoc",
    "continue_classifier",
    "bn_batch",
    "data_preprocessor",
    "param_scheduler",
    "custom_imports",
)


def row_config(source: Source) -> Config:
    """The config that a row runs: what the row sets is merged as a config is with its base.

    ``_delete_`` replaces an entry, and the string ``"train"`` for ``class_counts``, ``class_names`` or ``superclasses`` means:
    to be taken from the training images.

    Raises:
        InputError: as :func:`load_config`, or a change is of something that no config has.
    """
    if source.place and not source.config.is_file():
        raise InputError(f"{source.place}: the row runs {source.config}, and there is no such file: check its name")
    config = load_config(source.config)
    known = list(dict.fromkeys([*config, *_OPTIONAL]))
    for key in source.changes:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"it can set {', '.join(known)}"
            raise InputError(f"{source}: the row sets {key!r}, which {source.config.name} does not have; {hint}")
    try:
        config.merge_from_dict(_uncounted(source.changes))
    except (TypeError, KeyError) as error:
        raise InputError(f"{source}: what the row sets does not fit {source.config.name} ({error})") from error
    if "custom_imports" in source.changes:  # else it was imported as the config was read
        import_own_code(config, source)
    return config


def load_config(path: Path) -> Config:
    """Reads an mmengine config.

    Raises:
        InputError: it, or a config that it is based on, is missing, does not parse, is based on itself, or ends the process (a
            config is a program); the sentence names file and line.
    """
    if not path.is_file():
        raise InputError(f"no config at {path}: check its name")
    chain = _chain(path.absolute())
    try:
        texts = tuple((file, file.read_bytes()) for file in chain)
        # What imports, or is filled in from the environment, may say another thing each time that it is read.
        varies = any(b"import" in text or b"{{" in text for _, text in texts)
        return Config.fromfile(path) if varies else copy.deepcopy(_read(path, texts))
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and "mmseg" in str(error):
            raise InputError(f"{path} needs mmsegmentation: install it with pip install 'sar-cls[seg]'") from error
        file, line = _place_of(error, path.absolute())
        where = f"{file}, line {line}" if line else str(file)
        # A SyntaxError's text has its own, nameless place in brackets.
        reason = str(error.msg if isinstance(error, SyntaxError) else error).strip()
        reason = reason.splitlines()[0].rstrip(".") if reason else "no further reason given"
        raise InputError(f"{where}: {type(error).__name__}: {reason}; correct the config") from error


@lru_cache(maxsize=64)
def _read(path: Path, texts: tuple[tuple[Path, bytes], ...]) -> Config:
    """A config whose files have these texts. Many rows and seeds share one, and mmengine writes three files to read it."""
    return Config.fromfile(path)


# What only the training data knows; a row writes "train" for it.
FROM_DATA = ("class_counts", "class_names", "superclasses")


def before_data(regularizer: Any) -> Any:
    """A regularizer's config that can be built before the data is there: class names that are still to come, and the anchors
    that need them, are left out."""
    if not isinstance(regularizer, dict) or not any(name in regularizer for name in FROM_DATA):
        return regularizer
    return {key: value for key, value in regularizer.items() if key not in (*FROM_DATA, "anchors", "kind")}


def _uncounted(value: Any, key: str = "") -> Any:
    """Copies what a row sets; TOML has no None, so what is not known before the data is written "train"."""
    if isinstance(value, Mapping):
        return {name: _uncounted(part, name) for name, part in value.items()}
    if isinstance(value, list):
        return [_uncounted(part) for part in value]
    return None if key in FROM_DATA and value == "train" else value


def _chain(path: Path, above: tuple[Path, ...] = ()) -> dict[Path, int | None]:
    """A config and those that it is based on, each with the line of its ``_base_``; as far as they can be read.

    The text alone is looked at, the last file of the chain first in the result, so that what is wrong with a base is found there.

    Args:
        path: absolute.
        above: configs that are based on it.

    Raises:
        InputError: one of them is based on itself.
    """
    found: dict[Path, int | None] = {path: None}
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return found
    for node in tree.body:
        names = (
            [target.id for target in node.targets if isinstance(target, ast.Name)]
            if isinstance(node, ast.Assign)
            else []
        )
        if isinstance(node, ast.Assign) and "_base_" in names:
            found[path] = node.lineno
            bases = [part.value for part in ast.walk(node.value) if isinstance(part, ast.Constant)]
            for base in bases:
                if isinstance(base, str) and "::" not in base:
                    nested = Path(os.path.abspath(path.parent / base))
                    if nested in (path, *above):
                        raise InputError(
                            f"{path}, line {node.lineno}: _base_ names {nested}, which is based on this config: no config can be "
                            "based on itself"
                            if nested != path
                            else f"{path}, line {node.lineno}: _base_ names this config itself: name the one that it is based on"
                        )
                    if nested.is_file():
                        found = {**_chain(nested, (path, *above)), **found}
    return found


def _place_of(error: BaseException, path: Path) -> tuple[Path, int | None]:
    """File and line to which an error in reading the config ``path`` belongs: those of a base, where it is at fault."""
    chain = _chain(path)
    for file in chain:
        try:
            ast.parse(file.read_bytes().decode("utf-8"))
        except SyntaxError as found:
            return file, found.lineno
        except UnicodeDecodeError as found:
            return file, file.read_bytes()[: found.start].count(b"\n") + 1
        except (OSError, ValueError):
            return file, None
    # mmengine compiles each file under its name, so the innermost line of one of them is where it happened.
    trace, place = error.__traceback__, None
    while trace is not None:
        file = Path(os.path.abspath(trace.tb_frame.f_code.co_filename))
        place = (file, trace.tb_lineno) if file in chain else place
        trace = trace.tb_next
    if place is not None:
        return place
    return path, chain[path] if isinstance(error, OSError) else None  # a base that is not there


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
