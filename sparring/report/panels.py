"""Scores and logs as panels: what shares an axis, in which order, and in which colour.

The page draws them as SVG (`charts`), `curves.png` shows those that a reader needs first.
"""

from __future__ import annotations

import math
from typing import Any

from sparring.metrics.provenance import comparable, differences, provenance_text
from sparring.pictures.axes import shares_axis
from sparring.pictures.curves import GREY, Panel, Series
from sparring.pictures.ink import BLUE, GREEN, ORANGE, PURPLE, SKY
from sparring.report.lenient import Row, short
from sparring.report.meaning import meaning
from sparring.report.scores import measured

MOST_SIGNALS = 32
"""Signals of the log that have a panel beside losses and beliefs."""
_SERIES = {
    "loss_d": ("discriminator", BLUE),
    "loss_g": ("generator", ORANGE),
    "d_real": ("D(real)", BLUE),
    "d_fake": ("D(fake)", ORANGE),
}
_ON_THE_PAGE_ONLY = ("class_min", "class_max", *(f"ngrams_{n}" for n in range(1, 5)))


def by_provenance(scores: list[Row]) -> list[list[Row]]:
    """Scores that may share an axis, together; in the order in which they were first made."""
    groups: list[list[Row]] = []
    for row in scores:
        if row.values:
            same = next((group for group in groups if comparable(group[0].provenance, row.provenance)), None)
            if same is None:
                groups.append([row])
            else:
                same.append(row)
    return groups


def apart(first: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """What differs between the provenance of two groups, in words."""
    return [short(text) for text in differences(first, other) if not text.startswith("remark: ")]


def score_names(rows: list[Row]) -> list[str]:
    """Values of the whole that have a panel of their own, the one that ranks first: not what they are held against."""
    names: dict[str, None] = {}
    for row in rows:
        names |= dict.fromkeys(measured(row.values)[0])
    yardsticks = {meaning(name).yardstick for name in names}
    return [name for name in names if name not in yardsticks]


def score_panel(name: str, group: list[Row], best: float | None, *, ranks: bool) -> Panel:
    """A score with its interval, of rows that compare, and beside it what real data get, where it may share the axis.

    At least one row holds the score. `best`, images seen, is marked where a row of that moment does. The score that
    `ranks` has a colour of its own.
    """
    rows = [row for row in group if name in row.values]
    values = [row.values[name] for row in rows]
    low, high = ([row.values.get(f"{name}_{end}", math.nan) for row in rows] for end in ("low", "high"))
    series = [Series(name, [row.images for row in rows], values, GREEN if ranks else PURPLE, low, high)]
    yardstick = meaning(name).yardstick
    beside = [row for row in rows if shares_axis(row.values.get(yardstick, math.nan), values)]
    if beside:
        series.append(_series(f"{yardstick} (real data)", GREY, yardstick, beside)._replace(thin=True))
    drawn = [value for each in series for value in each.y]
    log = min(drawn) > 0 and max(drawn) > 20 * min(drawn)
    return Panel(name, tuple(series), log, best if any(row.images == best for row in rows) else None)


def log_panels(log: list[Row], best: float | None) -> dict[str, list[Panel]]:
    """What the log holds of losses, of what the discriminator believes, of the pace, and of every other signal."""
    names = dict.fromkeys(name for row in log for name in row.values)

    def panels(title: str, *keys: str, note: str = "") -> list[Panel]:
        series = tuple(_series(*_SERIES.get(key, (key, SKY)), key, log) for key in keys if key in names)
        return [Panel(title, series, best=best, note=note)] if series else []

    shown = {*_SERIES, "images_per_second"}
    others = [name for name in names if name not in shown][:MOST_SIGNALS]
    return {
        "losses": panels("Losses", "loss_d", "loss_g", note="Not a measure of quality."),
        "beliefs": panels("What the discriminator believes", "d_real", "d_fake"),
        "pace": panels("Images per second", "images_per_second"),
        "others": [panel for name in others for panel in panels(name, name)],
    }


def picture_panels(log: list[Row], scores: list[Row], best: float | None) -> list[Panel]:
    """The panels of `curves.png`: losses, beliefs, then each score, with one panel for each kind of provenance that it
    has; `best` is the checkpoint that is taken away, in images seen.

    Shares of the rarest and the commonest class, and values of single classes, are left to the page.
    """
    course = log_panels(log, None)
    panels = course["losses"] + course["beliefs"]
    groups = by_provenance(scores)
    for place, name in enumerate(score_names(scores)):
        if name in _ON_THE_PAGE_ONLY:
            continue
        above: dict[str, Any] | None = None
        for group in groups:
            if not any(name in row.values for row in group):
                continue
            where = group[0].provenance
            panel = score_panel(name, group, best, ranks=place == 0)
            note = "" if above is None else f"Does not compare with the panel above: {'; '.join(apart(above, where))}."
            panels.append(panel._replace(title=f"{name}: {provenance_text(where)}", note=note))
            above = where
    return panels


def _series(name: str, color: str, key: str, rows: list[Row]) -> Series:
    kept = [row for row in rows if key in row.values]
    return Series(name, [row.images for row in kept], [row.values[key] for row in kept], color)
