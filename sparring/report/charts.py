"""Panels as charts of the page: drawn as SVG, with the words around them."""

from __future__ import annotations

from typing import Any, NamedTuple

from markupsafe import Markup

from sparring.pictures.curves import Panel
from sparring.pictures.svg import color_class, svg
from sparring.report.lenient import Row
from sparring.report.panels import log_panels, score_names, score_panel
from sparring.report.scores import MOST_SCORES
from sparring.report.words import how_made

MOST_GROUPS = 4
"""Kinds of provenance whose scores are drawn."""


class Chart(NamedTuple):
    """A panel drawn, with the words around it."""

    title: str
    drawing: Markup
    legend: list[tuple[str, str]]
    """Class of the colour, and name."""


def score_charts(group: list[Row], best: float | None) -> dict[str, Any]:
    """A chart for each score of a group, the one that ranks and those that say most of it first."""
    names = score_names(group)
    charts = [_chart(score_panel(name, group, best, ranks=name == names[0])) for name in names[:MOST_SCORES]]
    return {"provenance": how_made(group[0].provenance), "charts": charts, "num": len(names)}


def log_charts(log: list[Row], best: float | None) -> dict[str, list[Chart]]:
    """The panels of the log (`log_panels`) as charts."""
    return {kind: [_chart(panel) for panel in panels] for kind, panels in log_panels(log, best).items()}


def _chart(panel: Panel) -> Chart:
    title = panel.title + (" (log scale)" if panel.log else "")
    return Chart(title, Markup(svg(panel)), [(color_class(series), series.name) for series in panel.series])
