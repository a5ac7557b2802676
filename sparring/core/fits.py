"""Whether a value is what a field is declared to hold."""

from __future__ import annotations

import types
import typing
from typing import Any

from sparring.core.errors import RequestError


def fits(value: Any, hint: Any, where: str) -> Any:
    """The value, as its declared type; an int is widened to a float. Raises `RequestError` when it does not fit."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        for option in args:
            try:
                return fits(value, option, where)
            except RequestError:
                continue
    elif origin is tuple and isinstance(value, tuple):
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(fits(v, args[0], where) for v in value)
        if len(args) == len(value):
            return tuple(fits(v, a, where) for v, a in zip(value, args, strict=True))
    elif origin is typing.Literal:
        if value in args:
            return value
    elif hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise RequestError(f"{where}: expected a number that a float can hold, found one of more") from None
    elif hint is Any or (
        isinstance(hint, type) and isinstance(value, hint) and (hint is bool or type(value) is not bool)
    ):
        return value
    expected = " or ".join(map(repr, args)) if origin is typing.Literal else getattr(hint, "__name__", str(hint))
    raise RequestError(f"{where}: expected {expected}, found {value!r}")
