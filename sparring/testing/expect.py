"""What all checks share."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from sparring.core.game import Game, Part
from sparring.core.spec import from_json, to_json
from sparring.train.recipe import Recipe


def expect(holds: bool, otherwise: str) -> None:
    # Not an assert statement: the checks must hold under `python -O`, too.
    if not holds:
        raise AssertionError(otherwise)


def round_trip(spec: Part | Game | Recipe) -> str:
    """The name of a spec that comes back from JSON as it was."""
    name = type(spec).__name__
    data = json.loads(json.dumps(to_json(spec)))
    modules = {found for found in _modules(data) if not found.startswith("sparring.")}
    back = from_json(data, tuple(sys.modules[module] for module in modules))
    expect(back == spec, f"{name}: comes back from JSON as {back}")
    return name


def _modules(data: Any) -> Iterator[str]:
    """Where the specs in JSON data are defined."""
    if isinstance(data, dict):
        if "spec" in data:
            yield data["spec"].partition(":")[0]
        data = list(data.values())
    if isinstance(data, list):
        for value in data:
            yield from _modules(value)
