"""Scores as the page tells them: each with its interval, the whole apart from its classes, and the best judged."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from sparring.metrics.provenance import comparable
from sparring.report.lenient import Row, as_dict, as_number, as_texts, short, sound_provenance, sound_values
from sparring.report.words import as_sentence, count, how_made, number

MOST_SCORES, MOST_ROWS, MOST_CLASSES = 32, 100, 300
"""What is shown of long tables: columns, rows of scorings, and rows of classes."""
_OF_CLASS = re.compile(r"(.{1,80})_class_(\d{1,6})")


class Measure(NamedTuple):
    """A value with the ends of its 95 % interval, if it has one."""

    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        return number(self.value) + (f" [{number(self.low)}, {number(self.high)}]" if self.low is not None else "")


def measured(values: dict[str, float]) -> tuple[dict[str, Measure], dict[int, dict[str, Measure]]]:
    """The values of the whole, and those of each class (`NAME_class_K` is NAME of class K), each with its ends."""
    whole: dict[str, Measure] = {}
    classes: dict[int, dict[str, Measure]] = {}
    for name, measure in _with_ends(values).items():
        match = _OF_CLASS.fullmatch(name)
        if match:
            classes.setdefault(int(match[2]), {})[match[1]] = measure
        else:
            whole[name] = measure
    return whole, classes


def _with_ends(values: dict[str, float]) -> dict[str, Measure]:
    """Values with the ends that are stored beside them as `NAME_low` and `NAME_high`."""
    ends = {f"{name}_{end}" for name in values for end in ("low", "high")} & set(values)
    found = {}
    for name, value in values.items():
        if name not in ends:
            low, high = values.get(f"{name}_low"), values.get(f"{name}_high")
            known = low is not None and high is not None
            found[name] = Measure(value, low, high) if known else Measure(value)
    return found


def judgement(verdict: dict[str, Any], scores: list[Row]) -> dict[str, Any] | None:
    """The best checkpoint's scores and the last one's: the verdict's, else what was found on the way."""
    stopped, sure = (short(verdict[key]) if isinstance(verdict.get(key), str) else "" for key in ("stopped", "sure"))
    last: dict[str, Any] = {}
    final = as_number(verdict.get("images")) is not None and bool(sound_values(verdict.get("values")))
    if final:
        images, values = verdict["images"], sound_values(verdict["values"])
        provenance = sound_provenance(verdict.get("provenance"))
        notes = as_texts(verdict.get("notes"))
        other = as_dict(verdict.get("last"))
        if as_number(other.get("images")) is not None:
            last = {"images": other["images"], "values": sound_values(other.get("values"))}
    else:
        row = next((row for row in reversed(scores) if row.best), None)
        row = row or next((row for row in reversed(scores) if row.values), None)
        if row is None:
            return None
        images, values, provenance, notes = row.images, row.values, row.provenance, row.notes
        end = scores[-1]
        if end.images != images and end.values and comparable(provenance, end.provenance):
            last = {"images": end.images, "values": end.values}
    whole, classes = measured(values)
    whole_last = measured(last["values"])[0] if last else {}
    first = next(iter(whole.items()), None)
    headline = f"Best after {count(images)} images"
    if first:
        headline += f": {first[0]} {number(first[1].value)}"
        if first[1].low is not None:
            headline += f" (95 % interval from {number(first[1].low)} to {number(first[1].high)})"
    return {
        "final": final,
        "images": float(images),
        "sentence": headline + ".",
        "values": whole,
        "classes": classes,
        "provenance": how_made(provenance),
        "notes": notes,
        "last": whole_last,
        "last_images": as_number(last.get("images")) if last else None,
        "stopped": as_sentence(stopped, capital=False),
        "sure": as_sentence(sure, capital=False),
    }


def score_table(scores: list[Row]) -> dict[str, Any]:
    """Every scoring of the run in one table, the latest rows where there are many."""
    kept = scores[-MOST_ROWS:]
    found = [measured(row.values)[0] for row in kept]
    names = list(dict.fromkeys(name for values in found for name in values))[:MOST_SCORES]
    rows = [
        {"images": row.images, "best": row.best, "values": values, "notes": row.notes}
        for row, values in zip(kept, found, strict=True)
    ]
    return {"names": names, "rows": rows}


def class_table(judged: dict[str, Any] | None, names: list[str], counts: dict[str, Any]) -> dict[str, Any] | None:
    """The table of what is known of each class."""
    if judged is None or not judged["classes"]:
        return None
    found = judged["classes"]
    columns = list(dict.fromkeys(name for values in found.values() for name in values))[:12]
    held = [as_number(counts.get(name)) or 0.0 for name in names]
    total = sum(held)
    rows = []
    for k in sorted(found)[:MOST_CLASSES]:
        share = held[k] / total if k < len(held) and total > 0 else None
        name = names[k] if k < len(names) else str(k)
        rows.append({"name": name, "share": share, "values": [found[k].get(column) for column in columns]})
    return {"columns": columns, "rows": rows, "num": len(found)}
