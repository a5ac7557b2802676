"""A run's folder, read so that nothing in it can do harm: what is sound is kept, the rest is left out with a sentence.

A folder may come from elsewhere, be half copied or edited by hand. Nothing here raises for what a file holds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

LONGEST, LONGEST_NAME = 400, 60
"""Letters of a text, and of the name of a value."""


class Row(NamedTuple):
    """A line of a log: what of it is sound."""

    images: float
    values: dict[str, float]
    best: bool
    notes: list[str]
    provenance: dict[str, Any]


def read_object(path: Path, problems: list[str]) -> dict[str, Any]:
    """A JSON object, or nothing and a sentence."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        problems.append(f"{path.name} is missing.")
    except (OSError, ValueError, RecursionError) as error:
        problems.append(f"{path.name} cannot be read ({type(error).__name__}).")
    else:
        if isinstance(found, dict):
            return found
        problems.append(f"{path.name} does not hold what is expected.")
    return {}


def read_lines(path: Path, problems: list[str]) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file that can be read; a last line that was cut off is no problem."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        problems.append(f"{path.name} cannot be read ({type(error).__name__}).")
        return []
    rows, bad = [], 0
    lines = text.split(b"\n")
    for line in lines[:-1]:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        images = as_number(as_dict(row).get("images"))
        if images is not None and images >= 0:
            rows.append(row)
        else:
            bad += 1
    if bad:
        problems.append(f"{path.name}: {bad} of {len(lines) - 1} lines cannot be read and are left out.")
    return rows


def read_log(path: Path, problems: list[str]) -> list[Row]:
    """The rows of a log in the order of images seen; see `read_lines`."""
    rows = [
        Row(
            images=as_number(row["images"]) or 0.0,
            values=sound_values(row),
            best=row.get("best") is True,
            notes=as_texts(row.get("notes")),
            provenance=sound_provenance(row.get("provenance")),
        )
        for row in read_lines(path, problems)
    ]
    return sorted(rows, key=lambda row: row.images)


def sound_values(row: object) -> dict[str, float]:
    """The finite numbers of an object, but for those that say when they were found."""
    found = {key[:LONGEST_NAME]: as_number(value) for key, value in as_dict(row).items()}
    return {k: v for k, v in found.items() if v is not None and k not in ("images", "step", "epoch")}


def sound_provenance(found: object) -> dict[str, Any]:
    """Of a score's provenance what has the kind that it should have: scalars, and the two sources' scalars."""
    sound: dict[str, Any] = {}
    for key, value in as_dict(found).items():
        if key in ("reference", "held_out"):
            if isinstance(value, dict):
                sound[key] = {short(k): _bounded(v) for k, v in value.items() if is_scalar(v)}
        elif is_scalar(value):
            sound[key] = _bounded(value)
    return sound


def as_number(value: object) -> float | None:
    """A finite number that can be drawn; true and false are none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        return None
    return float(value) if abs(value) > 1e-300 else 0.0


def as_dict(value: object) -> dict[str, Any]:
    """The value where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """The value where it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def as_texts(value: object) -> list[str]:
    """The scalars of a list as texts."""
    return [short(item) for item in as_list(value) if is_scalar(item)]


def is_scalar(value: object) -> bool:
    """Whether it is a text, a number, true or false."""
    return isinstance(value, str | int | float | bool)


def at(data: dict[str, Any], *path: str) -> Any:
    """What lies at a path of keys; None where it leads nowhere."""
    found: Any = data
    for key in path:
        found = as_dict(found).get(key)
    return found


def short(value: object) -> str:
    """A value as text of bounded length."""
    text = str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def _bounded(value: Any) -> Any:
    return short(value) if isinstance(value, str) else value
