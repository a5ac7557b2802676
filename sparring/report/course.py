"""How the run went and what it left behind: its alarms, its pace and its time, and the files of its folder."""

from __future__ import annotations

import itertools
import math
import statistics
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from sparring.report.lenient import Row, as_number, read_lines, read_object, short, sound_values
from sparring.report.words import as_sentence, duration, number

MOST_ALARMS = 100
"""Alarms that are listed."""
_HELD = {
    "recipe.json": "what was asked, in full: every choice, and what made it",
    "data.json": "what was read, refused and counted",
    "log.jsonl": "losses and signals, a line for each report",
    "scores.jsonl": "scores with their provenance, a line for each",
    "alarms.jsonl": "alarms, a line for each",
    "verdict.json": "the final judgement",
    "samples": "pictures of samples of the same noise, named by images seen",
    "advice": "what the discriminator told the generator, named by images seen",
    "nearest.png": "samples beside the real data nearest to them",
    "curves.png": "the curves as one picture",
    "progress.gif": "the samples as a film",
    "checkpoints": "states to go on from, named by images seen",
    "model": "the best generator, ready for use",
}


class Alarm(NamedTuple):
    """An alarm as it is shown; `at` is where it stands on the time line, in per cent."""

    images: float
    at: float
    name: str
    cause: str
    mend: str
    values: list[tuple[str, str]]


def alarms(path: Path, problems: list[str], seen: float) -> dict[str, Any]:
    """Alarms for the list, and by name for the time line."""
    lines = read_lines(path, problems)
    end = max([seen, 1.0, *(as_number(line["images"]) or 0.0 for line in lines)])
    found = []
    for line in lines[:MOST_ALARMS]:
        images, values = as_number(line["images"]) or 0.0, sound_values(line.get("values"))
        name, cause, mend = (short(line.get(key) or "") for key in ("name", "cause", "mend"))
        said = [(key, number(value)) for key, value in itertools.islice(values.items(), 8)]
        found.append(
            Alarm(images, round(100 * images / end, 2), name or "alarm", as_sentence(cause), as_sentence(mend), said)
        )
    rows = {name: [alarm.at for alarm in found if alarm.name == name] for name in dict.fromkeys(a.name for a in found)}
    return {"all": found, "num": len(lines), "rows": rows, "end": end, "known": path.exists()}


def last_checkpoint(run: Path) -> dict[str, Any]:
    """What the newest checkpoint says beside its tensors."""
    try:
        found = sorted(path for path in (run / "checkpoints").glob("*.json") if path.stem.isdigit())
    except OSError:
        return {}
    return read_object(found[-1], []) if found else {}


def speed(log: list[Row], clock: dict[str, Any]) -> list[tuple[str, str]]:
    """The pace and the time, as a name and a text each."""
    rates = [row.values["images_per_second"] for row in log if "images_per_second" in row.values]
    told = []
    if rates:
        told.append(("Pace", f"{statistics.median(rates):,.0f} images per second (median of {len(rates):,} reports)"))
        told.append(("Slowest and fastest", f"{min(rates):,.0f} and {max(rates):,.0f} images per second"))
    seconds, scoring = as_number(clock.get("seconds")), as_number(clock.get("scoring_seconds"))
    if seconds:
        told.append(("Time", duration(seconds)))
        if scoring is not None:
            told.append(("Of it for scoring", f"{duration(scoring)} ({100 * scoring / seconds:.0f} %)"))
    return told


def files(run: Path) -> list[dict[str, str]]:
    """What the folder holds of what a run leaves behind."""
    found = []
    for name, what in _HELD.items():
        path = run / name
        try:
            if path.is_dir():
                size = f"{sum(1 for _ in path.iterdir()):,} files"
            elif path.is_file():
                size = _bytes(path.stat().st_size)
            else:
                continue
        except OSError:
            continue
        found.append({"name": name + "/" * path.is_dir(), "href": quote(name), "what": what, "size": size})
    return found


def _bytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{math.ceil(size / 1000)} kB"
