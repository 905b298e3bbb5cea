"""The exceptions that commands turn into a sentence instead of a traceback."""


class UserError(Exception):
    """Something the user gave is wrong; the text says what, where, the rule, the value, the mend.

    Commands print it and exit with status 2.
    """


class DivergedError(Exception):
    """Training met a non-finite number; the text says which, and when (step and kimg)."""


class InterruptedRunError(Exception):
    """Someone stopped a search or an ablation before its end, which it has told already.

    Commands exit with status 130, as the shell has it for Ctrl-C.
    """
