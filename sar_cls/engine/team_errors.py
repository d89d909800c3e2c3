"""What an error in one of several processes says: whether another one has gone, and in which words it is told."""

from __future__ import annotations

from torch import distributed

from sar_cls.errors import InputError, RunFailed

# What torch says where another process has gone: gloo and the store by words alone.
_GONE = ("gloo", "Connection closed by peer", "Connection reset", "Connection refused", "Broken pipe", "Socket closed")


def is_gone(error: BaseException) -> bool:
    """Whether an error says that another process has gone, rather than that something is wrong in this one."""
    if isinstance(error, distributed.DistError):
        return True
    return type(error) is RuntimeError and any(words in str(error) for words in _GONE)


def sentence(error: BaseException) -> str:
    """What was raised, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0].rstrip(".") if lines else ""
    return (
        text if isinstance(error, (InputError, RunFailed)) else f"failed, {type(error).__name__}: {text}".rstrip(": ")
    )
