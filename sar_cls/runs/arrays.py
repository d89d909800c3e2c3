"""Reading a run's npz files: whole and sound, or one sentence; nothing in them is unpickled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from sar_cls.errors import InputError
from sar_cls.files import why
from sar_cls.runs.folder import again

T = TypeVar("T")


def read_arrays(path: Path, build: Callable[[Any], T], problem: Callable[[T], str | None], what: str) -> T:
    """What ``build`` makes of the arrays in a file.

    Args:
        path: of the file.
        build: from the open npz to what is returned.
        problem: what is wrong with that, in a few words; None where it is sound.
        what: the file holds, for the sentence that says it is missing.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = build(arrays)
    except FileNotFoundError:
        raise InputError(f"{path} is missing; {again(path.parent)} to have its {what}.") from None
    except OSError as error:
        raise InputError(why(error, path)) from error
    # What NumPy and zipfile raise depends on where a file was cut off or overwritten.
    except Exception as error:
        raise InputError(f"{path} is damaged ({error}); {again(path.parent)}.") from error
    reason = problem(found)
    if reason:
        raise InputError(f"{path} is damaged ({reason}); {again(path.parent)}.")
    return found
