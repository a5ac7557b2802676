"""Specs as people write them: `Hinge`, `R1(weight=0.5, every=8)`, `R1, R2(weight=2)`.

The text is parsed as a Python expression and never evaluated: names are looked up among the classes that the field may
hold, arguments are constants, tuples and specs.
"""

from __future__ import annotations

import ast
import dataclasses
import types
import typing
from collections.abc import Iterator
from typing import Any, cast

from sparring.core.errors import RequestError, nearest
from sparring.core.fits import fits

_CONSTANTS = {"true": True, "false": False, "null": None}  # as JSON has them; Python's own are constants already


def written(text: str, hint: Any, base: type, where: str) -> Any:
    """What the text says where a field of type `hint` is asked for; `base` is the class of all specs.

    Raises `RequestError`, beginning with `where`, for names that fit no class of the field, and for other expressions.
    """
    try:
        return _read(ast.parse(text.strip(), mode="eval").body, hint, base, where)
    except RequestError:
        raise
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):  # any text is parsed, of any depth
        raise RequestError(f"{where}: expected JSON, or parts such as {_example(hint, base)}, found {text!r}") from None


def holds_specs(hint: Any, base: type) -> bool:
    """Whether a field of this type may hold a spec."""
    return any(True for _ in _classes(hint, base))


def _read(node: ast.expr, hint: Any, base: type, where: str) -> Any:
    several = typing.get_origin(hint) is tuple
    if isinstance(node, ast.Tuple | ast.List):
        if holds_specs(hint, base) and not several:
            raise RequestError(f"{where}: expected one of {_example(hint, base)} ..., found {ast.unparse(node)}")
        inner = typing.get_args(hint)[0] if several else Any
        return tuple(_read(each, inner, base, where) for each in node.elts)
    if isinstance(node, ast.Name) and node.id in _CONSTANTS:
        return _CONSTANTS[node.id]
    if isinstance(node, ast.Name | ast.Call):
        found = _made(node, hint, base, where)
        return (found,) if several else found
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise RequestError(f"{where}: {ast.unparse(node)!r} is no name, number or text") from None


def _made(node: ast.Name | ast.Call, hint: Any, base: type, where: str) -> Any:
    name = node.func if isinstance(node, ast.Call) else node
    known = {cls.__name__: cls for cls in _classes(hint, base)}
    if not isinstance(name, ast.Name) or name.id not in known:
        given = ast.unparse(name)
        raise RequestError(f"{where}: there is no {given!r} here, {nearest(given, known) if known else 'nothing fits'}")
    cls = known[name.id]
    fields = [field.name for field in dataclasses.fields(cast(Any, cls))]
    hints = typing.get_type_hints(cls)
    values = {}
    if isinstance(node, ast.Call):
        if node.args or any(keyword.arg is None for keyword in node.keywords):
            raise RequestError(f"{where}: write what {name.id} takes by name, such as {name.id}({fields[0]}=...)")
        for keyword in node.keywords:
            key = str(keyword.arg)
            if key not in fields:
                raise RequestError(f"{where}: {name.id} has no {key!r}, {nearest(key, fields)}")
            values[key] = fits(_read(keyword.value, hints[key], base, where), hints[key], f"{where}: {name.id}.{key}")
    try:
        return cls(**values)
    except TypeError as error:
        raise RequestError(f"{where}: {name.id} cannot be made: {error}") from None


def _classes(hint: Any, base: type) -> Iterator[type]:
    """Every class of specs that a field of this type may hold."""
    if isinstance(hint, type) and issubclass(hint, base):
        yield hint
        for cls in hint.__subclasses__():
            yield from _classes(cls, base)
    elif typing.get_origin(hint) in (tuple, typing.Union, types.UnionType):
        for inner in typing.get_args(hint):
            yield from _classes(inner, base)


def _example(hint: Any, base: type) -> str:
    names = sorted(cls.__name__ for cls in _classes(hint, base))
    return " or ".join(names[:3])
