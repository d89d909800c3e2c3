"""Files that are either whole or not there, and what the operating system has against one, in a sentence."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sar_cls.errors import InputError

_NO_SPACE = "the disk is full: free some space, then give the same command again"
_NO_RIGHT = "permission denied: give this user the right to it"
_IN_THE_WAY = "a file, or a link that leads nowhere, is where a folder should be: move it away"
# errno -> what is wrong and what to do about it.
_REMEDIES = {
    errno.EACCES: _NO_RIGHT,
    errno.EPERM: _NO_RIGHT,
    errno.EROFS: "the file system is read-only: name another place",
    errno.ENOSPC: _NO_SPACE,
    getattr(errno, "EDQUOT", errno.ENOSPC): _NO_SPACE,
    errno.EFBIG: "the file system takes no file this large: name another place",
    errno.ELOOP: "its symbolic links lead in a circle: remove the link",
    errno.ENAMETOOLONG: "the name is too long for the file system: give a shorter one",
    errno.EISDIR: "a folder is where a file should be: move it away",
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EEXIST: _IN_THE_WAY,
    errno.ENOENT: "it is not there, or a link on the way leads nowhere: check the name",
    errno.EMFILE: "too many files are open: raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine: close some programs",
    errno.EIO: "the disk cannot be read or written: check it",
}


def why(error: OSError, path: Path | str | None = None) -> str:
    """One sentence about an error of the file system: the path, what is wrong with it, what to do.

    The one place where the scripts take their words for such errors from.

    Args:
        error: what was raised.
        path: what was being read or written, where the error itself does not say it.
    """
    named = next((name for name in (error.filename2, error.filename, path) if isinstance(name, (str, Path))), None)
    reason = _REMEDIES.get(error.errno or 0)
    reason = reason or f"{(error.strerror or str(error) or type(error).__name__).rstrip('.')}: check the file system"
    return reason if named is None else f"{named}: {reason}"


@contextmanager
def refusing(path: Path | str | None = None, remedy: str = "") -> Iterator[None]:
    """Turns what the file system has against something that is done before any work begins into an :class:`InputError`.

    Args:
        path: what is read or written, for errors that do not name it.
        remedy: what else to do, such as "give another --work-dir".
    """
    try:
        yield
    except BrokenPipeError:  # the reader of our output went away: no fault of a file
        raise
    except OSError as error:
        raise InputError(f"{why(error, path)}{f', or {remedy}' if remedy else ''}") from error


def check_folder(path: Path, remedy: str = "give another --work-dir") -> Path:
    """Makes sure that ``path`` is or can become a folder to write in, without leaving anything behind.

    Args:
        path: the folder.
        remedy: what to do, for the message.

    Returns:
        The path.

    Raises:
        InputError: it is a file, a link that leads nowhere or in a circle, has too long a name, or is not writable.
    """
    with refusing(path, remedy):
        nearest = path.absolute()
        while not os.path.lexists(nearest) and nearest != nearest.parent:
            _check_length(nearest)
            nearest = nearest.parent
        if not os.path.isdir(nearest):
            nearest.stat()  # raises for a link that leads nowhere or in a circle
            raise InputError(f"{path} cannot be a folder, {nearest} is a file: {remedy}")
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise InputError(f"{path} is not writable: {remedy}")
    return path


def check_file(path: Path, remedy: str) -> Path:
    """Makes sure that ``path`` is or can become a file to write, without leaving anything behind.

    Args:
        path: the file.
        remedy: what to do, for the message.

    Returns:
        The path.

    Raises:
        InputError: it is a folder, or its folder is none to write in.
    """
    with refusing(path, remedy):
        if os.path.isdir(path):
            raise InputError(f"{path} is a folder, and a file is to be written there: {remedy}")
        _check_length(path)
    check_folder(path.absolute().parent, remedy)
    return path


def _check_length(path: Path) -> None:
    """Raises ``OSError`` where the file system takes no such name; others are only said by whoever makes the file."""
    try:
        path.lstat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Gives a temporary path in the same folder, which takes the place of ``path`` when the block ends well.

    Readers see the old file or the whole new one, also after a kill or on a full disk.
    """
    path = Path(path)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    except OSError as error:
        _name_the_file(error, Path(error.filename or path), path)
        raise
    temporary = Path(name)
    try:
        os.close(handle)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp makes it private; results are shared like any other file
        temporary.replace(path)
    except OSError as error:
        _name_the_file(error, temporary, path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _name_the_file(error: OSError, temporary: Path, path: Path) -> None:
    """Lets an error about a temporary file, or one that names none (a full disk), speak of the file that is written."""
    if error.errno is not None and (error.filename is None or str(temporary) in (error.filename, error.filename2)):
        error.filename, error.filename2 = str(path), None
