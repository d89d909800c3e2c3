"""The one error that means: the user's input was wrong, here is what to do."""


class InputError(ValueError):
    """Bad input from outside: an argument, a config, a file, a data set.

    The message is one sentence that says what was wrong and what to do. The scripts print it without a traceback and exit
    with code 2; in Python it is an ordinary ``ValueError``.
    """
