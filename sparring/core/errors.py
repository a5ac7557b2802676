"""The ways in which a request can end badly, and how a message names what was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RequestError(ValueError):
    """The request cannot be met: the message says in one line what happened, what was expected and how to mend it.

    The command prints it without a traceback and exits with 2. It is a `ValueError`, so that Python callers can
    catch what they already catch.
    """


class TrainingError(RuntimeError):
    """Training failed and could not recover; the last good checkpoint is kept. The command exits with 3."""


class SourceError(RuntimeError):
    """Data that could be read at first no longer can, after several tries; the message names the file and why."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """The end of an error message for an unknown name: the nearest choice, or all of them.

    >>> nearest("dcgna", ["dcgan", "mlp"])
    "did you mean 'dcgan'?"
    >>> nearest("zzz", ["dcgan", "mlp"])
    'choose from dcgan, mlp'
    """
    choices = sorted(choices)
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(choices)}"
