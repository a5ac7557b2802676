"""Configuration is data: frozen keyword-only dataclasses that turn into JSON and back.

A `Spec` names its class as `module:Class`. Loading resolves only subclasses of `Spec` that live in this package, so a
recipe read from disk can choose among our parts but can never run anything else. What is read is measured before it is
looked at: nesting, the number of values, and the size of each are bounded, so that a file of a stranger's is refused
in one short line, whatever it holds.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import re
import types
import typing
from typing import Any, Self, cast, dataclass_transform

from sparring.core.errors import RequestError, nearest
from sparring.core.fits import fits
from sparring.core.written import holds_specs, written

Json = dict[str, Any]

# Far beyond any recipe: the largest have some hundred values, 5 levels deep, or names of some thousand classes.
_MOST_VALUES, _MOST_SPECS, _DEEPEST, _LONGEST = 1_000_000, 10_000, 50, 10_000
_LARGEST = 2**63 - 1
_PARTS = 8  # of the name of a module, below the package: Python imports one within the other
_SHOWN = 300
_NUMBER = re.compile(r"[+-]?([0-9]{1,30}\.?[0-9]{0,30}|\.[0-9]{1,30})(e[+-]?[0-9]{1,2})?", re.IGNORECASE)
"""Numbers as people write them and JSON does not: .05, 1., +3."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Spec:
    """Base of everything configurable; each subclass becomes a frozen, keyword-only dataclass.

    Fields are JSON scalars, tuples of them, other specs, or tuples of specs. `__post_init__` of a subclass may check
    ranges and raises `RequestError`. `class Dense(Layer, kw_only=False)` is for the few that read better by position.
    """

    def __init_subclass__(cls, kw_only: bool = True, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclasses.dataclass(frozen=True, kw_only=kw_only)(cls)

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        changed: Self = dataclasses.replace(cast(Any, self), **changes)
        return changed

    def with_path(self, path: str, text: str) -> Self:
        """A copy with the field at a dotted path set from text, as `--set train.batch=64` does.

        The text is read as JSON where it is JSON; for a field that holds specs, as `Hinge` or
        `R1(weight=0.5), R2(weight=0.5)`; else as a plain string. It must fit the field's type.
        Raises `RequestError` naming the nearest field when the path does not exist.
        """
        return cast(Self, _set(self, path.split("."), text, path, type(self)))


def to_json(value: Any) -> Any:
    """A spec as plain JSON data: its class under `spec`, then its fields."""
    if isinstance(value, Spec):
        fields = dataclasses.fields(cast(Any, value))
        name = f"{type(value).__module__}:{type(value).__qualname__}"
        return {"spec": name} | {f.name: to_json(getattr(value, f.name)) for f in fields}
    if isinstance(value, tuple | list):
        return [to_json(v) for v in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a spec holds JSON scalars, tuples and specs, not {type(value).__name__}")


def from_json(data: Any, trusted: tuple[types.ModuleType, ...] = ()) -> Any:
    """The inverse of `to_json`; unknown classes and fields are refused by name.

    `trusted` modules, such as a recipe file that was named on the command line, may define specs too. Raises
    `RequestError`, in one short line, for all that is not as `to_json` writes it, numbers that are not finite among it.
    """
    _measure(data)
    try:
        return _read(data, trusted)
    except RequestError as error:
        said = " ".join(str(error).split())
        if len(said) > _SHOWN:  # a message shows what was found, which may be long
            said = f"{said[: _SHOWN * 2 // 3]} ... {said[-_SHOWN // 3 :]}"
        raise RequestError(said) from None


def _measure(data: Any) -> None:
    """Refuses what is too large to be a recipe, in time and memory that do not depend on how it is nested."""
    values = specs = 0
    level, depth = [data], 0
    while level:
        values, depth = values + len(level), depth + 1
        specs += sum(isinstance(value, dict) for value in level)
        if values > _MOST_VALUES or specs > _MOST_SPECS or depth > _DEEPEST:
            raise RequestError(
                f"expected at most {_MOST_VALUES:,} values in {_MOST_SPECS:,} parts, {_DEEPEST} levels deep, found more"
            )
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += value.keys()
                below += value.values()
            elif isinstance(value, list):
                below += value
            elif isinstance(value, str) and len(value) > _LONGEST:
                raise RequestError(
                    f"expected at most {_LONGEST:,} characters, found {len(value):,}: {value[:40]!r} ..."
                )
            elif isinstance(value, int) and abs(value) > _LARGEST:
                raise RequestError("expected whole numbers below 2^63, found a larger one")
            elif isinstance(value, float) and not math.isfinite(value):
                raise RequestError(f"expected finite numbers, found {value}")
        level = below


def _read(data: Any, trusted: tuple[types.ModuleType, ...]) -> Any:
    if isinstance(data, list):
        return tuple(_read(v, trusted) for v in data)
    if not isinstance(data, dict):
        return data
    cls = _resolve(data.get("spec"), trusted)
    names = [f.name for f in dataclasses.fields(cast(Any, cls))]
    for key in data:
        if key != "spec" and key not in names:
            raise RequestError(f"{cls.__name__} has no field {key!r}: {nearest(key, names)}")
    hints = typing.get_type_hints(cls)
    values = {k: fits(_read(v, trusted), hints[k], f"{cls.__name__}.{k}") for k, v in data.items() if k != "spec"}
    try:
        return cls(**values)
    except RequestError:
        raise
    except (TypeError, ValueError, ArithmeticError) as error:
        raise RequestError(f"{cls.__name__} cannot be read: {error}") from None


def _resolve(name: object, trusted: tuple[types.ModuleType, ...]) -> type[Spec]:
    if not isinstance(name, str) or name.count(":") != 1:
        raise RequestError(f"expected the name of a spec as 'module:Class', found {name!r}")
    module, _, qualname = name.partition(":")
    own = {m.__name__: m for m in trusted}
    if module not in own and not _is_ours(module):
        raise RequestError(f"{name!r} is not a part of sparring; name the file it comes from: --recipe FILE.py:FUNC")
    try:
        found = getattr(own.get(module) or importlib.import_module(module), qualname, None)
    except ModuleNotFoundError:
        found = None
    if not (isinstance(found, type) and issubclass(found, Spec)):
        raise RequestError(f"this version of sparring has no {name!r}")
    return found


def _is_ours(module: str) -> bool:
    """Whether a name is that of a module of this package that may be imported: `__main__` would run the command."""
    package, *parts = module.split(".")
    named = all(part.isidentifier() and not part.startswith("_") for part in parts)
    return package == "sparring" and 1 <= len(parts) <= _PARTS and named


def _set(value: Any, path: list[str], text: str, whole: str, hint: Any) -> Any:
    """The value, declared as `hint`, with what lies at the path set from text."""
    if not path:
        new = _parse(text)
        if isinstance(new, str) and holds_specs(hint, Spec):
            new = written(text, hint, Spec, f"--set {whole}")
        return fits(new, hint, f"--set {whole}")
    head, rest = path[0], path[1:]
    if isinstance(value, tuple):
        if not head.isdecimal() or int(head) >= len(value):  # "²" is a digit
            raise RequestError(f"--set {whole}: {head!r} is not an index of a list of {len(value)}")
        at = int(head)
        return (*value[:at], _set(value[at], rest, text, whole, _item(hint, at)), *value[at + 1 :])
    if not isinstance(value, Spec):
        raise RequestError(f"--set {whole}: there is nothing below {value!r}")
    names = [f.name for f in dataclasses.fields(cast(Any, value))]
    if head not in names:
        raise RequestError(f"--set {whole}: {type(value).__name__} has no {head!r}, {nearest(head, names)}")
    hints = typing.get_type_hints(type(value))
    return value.replace(**{head: _set(getattr(value, head), rest, text, whole, hints[head])})


def _item(hint: Any, at: int) -> Any:
    """What the item at a position of a tuple is declared as."""
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    options = typing.get_args(hint) if is_union else (hint,)
    for option in options:
        if typing.get_origin(option) is tuple:
            items = typing.get_args(option)
            return items[0] if items[-1] is Ellipsis else items[at]
    return Any


def _parse(text: str) -> Any:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):  # no JSON, a number of thousands of digits, or too deep
        return float(text) if _NUMBER.fullmatch(text) else text
    return from_json(data)
