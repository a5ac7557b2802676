"""Scores and logs as charts: what shares an axis, in which order, and in which colour."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from sparring.metrics.provenance import comparable, differences
from sparring.pictures.axes import shares_axis
from sparring.pictures.curves import Panel, Series
from sparring.pictures.ink import BLUE, GREEN, ORANGE, PURPLE, SKY
from sparring.pictures.svg import color_class, svg
from sparring.report.lenient import Row, short
from sparring.report.meaning import meaning
from sparring.report.scores import MOST_SCORES, measured
from sparring.report.words import provenance_text

MOST_GROUPS, MOST_SIGNALS = 4, 32
"""Kinds of provenance whose scores are drawn, and signals of the log that are drawn beside losses and beliefs."""
_SERIES = {"loss_d": "discriminator", "loss_g": "generator", "d_real": "D(real)", "d_fake": "D(fake)"}


class Chart(NamedTuple):
    """A panel drawn, with the words around it."""

    title: str
    drawing: Markup
    legend: list[tuple[str, str]]
    """Class of the colour, and name."""


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


def score_charts(group: list[Row], best: float | None) -> dict[str, Any]:
    """A chart for each score of a group, the one that ranks and those that say most of it first."""
    names: dict[str, None] = {}
    for row in group:
        names |= dict.fromkeys(measured(row.values)[0])
    yardsticks = {meaning(name).yardstick for name in names}
    charts: list[Chart] = []
    shown = [name for name in names if name not in yardsticks]
    for name in shown[:MOST_SCORES]:
        rows = [row for row in group if name in row.values]
        series = [_score_series(name, rows, GREEN if not charts else PURPLE)]
        yardstick = meaning(name).yardstick
        scores = [row.values[name] for row in rows]
        # One that lies far away is in the table all the same.
        beside = [row for row in rows if shares_axis(row.values.get(yardstick, math.nan), scores)]
        if beside:
            series.append(_series(f"{yardstick} (real data)", yardstick, beside, "", thin=True))
        values = [v for s in series for v in s.y]
        log = min(values) > 0 and max(values) > 20 * min(values)
        mark = best if any(row.images == best for row in rows) else None
        charts.append(_chart(Panel(name, tuple(series), log=log, best=mark)))
    return {"provenance": provenance_text(group[0].provenance), "charts": charts, "num": len(shown)}


def log_charts(log: list[Row], best: float | None) -> dict[str, Any]:
    """Curves of the log: losses, what the discriminator believes, the pace, and every other signal."""
    names = dict.fromkeys(name for row in log for name in row.values)

    def chart(title: str, *keys: str) -> list[Chart]:
        found = [key for key in keys if key in names]
        colors = itertools.cycle((BLUE, ORANGE) if len(found) > 1 else (SKY,))
        series = tuple(_series(_SERIES.get(k, k), k, log, c) for k, c in zip(found, colors, strict=False))
        return [_chart(Panel(title, series, best=best))] if series else []

    shown = {*_SERIES, "images_per_second"}
    others = [name for name in names if name not in shown][:MOST_SIGNALS]
    return {
        "losses": chart("Losses", "loss_d", "loss_g"),
        "beliefs": chart("What the discriminator believes", "d_real", "d_fake"),
        "pace": chart("Images per second", "images_per_second"),
        "others": [drawn for name in others for drawn in chart(name, name)],
    }


def _score_series(name: str, rows: list[Row], color: str) -> Series:
    low, high = ([row.values.get(f"{name}_{end}", math.nan) for row in rows] for end in ("low", "high"))
    return _series(name, name, rows, color)._replace(low=low, high=high)


def _series(name: str, key: str, rows: Sequence[Row], color: str, *, thin: bool = False) -> Series:
    kept = [row for row in rows if key in row.values]
    return Series(name, [row.images for row in kept], [row.values[key] for row in kept], color, thin=thin)


def _chart(panel: Panel) -> Chart:
    title = panel.title + (" (log scale)" if panel.log else "")
    return Chart(title, Markup(svg(panel)), [(color_class(series), series.name) for series in panel.series])
