"""The errors that a script turns into one line and an exit code."""


class InputError(ValueError):
    """Bad input from outside: an argument, a config, a file, a data set.

    The message is one sentence that says what was wrong and what to do. The scripts print it without a traceback and exit
    with code 2; in Python it is an ordinary ``ValueError``.
    """


class RunLocked(Exception):
    """Another process is at this run: nothing is wrong, but it cannot be had now."""


class RunFailed(Exception):
    """A run, or what comes after it, has failed with its inputs good; the message is one line that says how."""


class ProcessLost(Exception):
    """Of several processes that train one run together one is gone, so that no run can be had any more; the message is one line."""
