"""`report.html`: a run on one page that needs nothing beside itself, for people who were not there.

The page is made from the run's folder alone, whoever wrote it and whatever is missing or broken: such parts leave a
sentence. Everything from the folder is data, escaped where it is shown; the page may load nothing and runs no script
but its own few lines, which a content security policy names by their hash.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from sparring.core.files import write_atomically
from sparring.report.asked import commands, data_facts, environment_facts, recipe_facts, refusal
from sparring.report.charts import MOST_GROUPS, log_charts, score_charts
from sparring.report.course import MOST_ALARMS, alarms, files, last_checkpoint, speed
from sparring.report.lenient import as_dict, as_list, as_number, as_texts, at, read_log, read_object, short
from sparring.report.meaning import meaning
from sparring.report.panels import apart, by_provenance
from sparring.report.pictures import by_images, history, last_advice, nearest_samples, pair
from sparring.report.scores import MOST_CLASSES, class_table, judgement, score_table
from sparring.report.words import count, duration, number

MOST_LINES = 20
"""What is shown of lists of choices, notes, problems and refused files."""
SCRIPT = """
const slider = document.querySelector('#history input');
if (slider) {
  const frames = [...document.querySelectorAll('#history figure')];
  const show = () => frames.forEach((frame, n) => { frame.hidden = n !== Number(slider.value); });
  document.querySelector('#history').classList.add('sliding');
  slider.addEventListener('input', show);
  show();
}
"""


def write_report(run: Path) -> Path:
    """Writes `report.html` into a run's folder, whole or not at all, and returns its path.

    Only the folder is read: it may come from elsewhere, and parts of it may be missing or damaged. Raises `OSError`
    when the page cannot be written.
    """
    path = run / "report.html"
    write_atomically(path, page(run).encode(errors="replace"))  # names of files may hold what is no text
    return path


def page(run: Path) -> str:
    """The page as text, under 4 MB."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    return _template().render(_contents(run), script=Markup(SCRIPT), script_hash=digest, meaning=meaning)


@functools.cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": number, "count": count, "short": short, "time": duration}
    return environment.from_string((resources.files("sparring.report") / "report.html").read_text(encoding="utf-8"))


def _contents(run: Path) -> dict[str, Any]:
    """All that the template shows."""
    problems: list[str] = []
    request, data = read_object(run / "recipe.json", problems), read_object(run / "data.json", problems)
    log, scores = (read_log(run / name, problems) for name in ("log.jsonl", "scores.jsonl"))
    verdict = read_object(run / "verdict.json", problems) if (run / "verdict.json").exists() else {}
    clock = last_checkpoint(run)
    seen = max([as_number(clock.get("images")) or 0.0, *(row.images for row in log + scores)])
    judged = judgement(verdict, scores)
    best = judged["images"] if judged else None
    groups = by_provenance(scores)
    grids = by_images(run / "samples")
    spec = as_dict(request.get("data"))
    names = as_texts(spec.get("class_names")) or [str(name) for name in as_dict(data.get("classes"))]
    return {
        "name": run.resolve().name,
        "title": ", ".join(as_texts([spec.get("name") or data.get("source"), at(request, "recipe", "name")]))
        or "A run",
        "problems": problems,
        "images": seen,
        "seconds": as_number(clock.get("seconds")),
        "asked": recipe_facts(request),
        "choices": as_texts(request.get("choices")),
        "commands": commands(run, request),
        "data": data_facts(data),
        "refused": [refusal(each) for each in as_list(data.get("refused"))],
        "data_notes": as_texts(data.get("notes")),
        "judged": judged,
        "groups": [score_charts(group, best) for group in groups[:MOST_GROUPS]],
        "num_groups": len(groups),
        "apart": [apart(groups[0][0].provenance, group[0].provenance) for group in groups[:MOST_GROUPS]],
        "score_rows": score_table(scores),
        "num_scores": len(scores),
        "losses": log_charts(log, best),
        "history": history(grids, best),
        "pair": pair(grids, judged),
        "nearest": nearest_samples(run),
        "advice": last_advice(run),
        "classes": class_table(judged, names, as_dict(data.get("classes"))),
        "alarms": alarms(run / "alarms.jsonl", problems, seen),
        "speed": speed(log, clock),
        "files": files(run),
        "environment": environment_facts(request),
        "limits": {"alarms": MOST_ALARMS, "lines": MOST_LINES, "classes": MOST_CLASSES, "groups": MOST_GROUPS},
    }
