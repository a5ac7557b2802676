"""`report.html`: a run on one page that needs nothing beside itself, for people who were not there.

The page is made from the run's folder alone, whoever wrote it and whatever is missing or broken: such parts leave a
sentence. Everything from the folder is data, escaped where it is shown; the page may load nothing and runs no script
but its own few lines, which a content security policy names by their hash.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import itertools
import math
import re
import shlex
import statistics
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup
from PIL import Image

from sparring.core.files import write_atomically
from sparring.lenient import (
    Row,
    as_dict,
    as_list,
    as_number,
    as_texts,
    at,
    is_scalar,
    read_lines,
    read_log,
    read_object,
    short,
    sound_provenance,
    sound_values,
)
from sparring.meaning import meaning
from sparring.metrics.provenance import comparable, differences
from sparring.pictures.axes import shares_axis
from sparring.pictures.curves import Panel, Series
from sparring.pictures.ink import BLUE, GREEN, ORANGE, PURPLE, SKY
from sparring.pictures.svg import color_class, svg

MOST_FRAMES = 12
"""Grids of the sample history."""
FRAME_BYTES, PICTURE_BYTES = 80_000, 220_000
"""The most that a grid of the history and any other picture may take; a third more in the page. With 12 grids and five
pictures these are under 3 MB."""
MOST_PIXELS = 40_000_000
"""Of a picture in the folder; larger ones are not opened."""
MOST_GROUPS, MOST_CHARTS, MOST_CLASSES, MOST_ROWS, MOST_ALARMS, MOST_LINES = 4, 32, 300, 100, 100, 20
"""What is shown of long lists, each followed by how many there are."""
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

_FILES = {
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
_OF_CLASS = re.compile(r"(.{1,80})_class_(\d{1,6})")
_SERIES = {"loss_d": "discriminator", "loss_g": "generator", "d_real": "D(real)", "d_fake": "D(fake)"}


class Measure(NamedTuple):
    """A value with the ends of its 95 % interval, if it has one."""

    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        return number(self.value) + (f" [{number(self.low)}, {number(self.high)}]" if self.low is not None else "")


class Chart(NamedTuple):
    """A panel drawn, with the words around it."""

    title: str
    drawing: Markup
    legend: list[tuple[str, str]]
    """Class of the colour, and name."""


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
    environment.filters |= {"number": number, "count": count, "short": short, "time": _time}
    return environment.from_string((resources.files("sparring") / "report.html").read_text(encoding="utf-8"))


def _contents(run: Path) -> dict[str, Any]:
    """All that the template shows."""
    problems: list[str] = []
    request, data = read_object(run / "recipe.json", problems), read_object(run / "data.json", problems)
    log, scores = (read_log(run / name, problems) for name in ("log.jsonl", "scores.jsonl"))
    verdict = read_object(run / "verdict.json", problems) if (run / "verdict.json").exists() else {}
    clock = _last_checkpoint(run)
    seen = max([as_number(clock.get("images")) or 0.0, *(row.images for row in log + scores)])
    judged = _judged(verdict, scores)
    best = judged["images"] if judged else None
    groups = _groups(scores)
    grids = _pictures(run / "samples")
    spec = as_dict(request.get("data"))
    names = as_texts(spec.get("class_names")) or [str(name) for name in as_dict(data.get("classes"))]
    return {
        "name": run.resolve().name,
        "title": ", ".join(as_texts([spec.get("name") or data.get("source"), at(request, "recipe", "name")]))
        or "A run",
        "problems": problems,
        "images": seen,
        "seconds": as_number(clock.get("seconds")),
        "asked": _asked(request),
        "choices": as_texts(request.get("choices")),
        "commands": _commands(run, request),
        "data": _data(data),
        "refused": [_refusal(each) for each in as_list(data.get("refused"))],
        "data_notes": as_texts(data.get("notes")),
        "judged": judged,
        "groups": [_charts(group, best) for group in groups[:MOST_GROUPS]],
        "num_groups": len(groups),
        "apart": [_apart(groups[0][0].provenance, group[0].provenance) for group in groups[:MOST_GROUPS]],
        "score_rows": _score_rows(scores),
        "num_scores": len(scores),
        "losses": _log_charts(log, best),
        "history": _history(grids, best),
        "pair": _pair(grids, judged),
        "nearest": _embed(run / "nearest.png", PICTURE_BYTES) if (run / "nearest.png").exists() else None,
        "advice": _last_advice(run),
        "classes": _classes(judged, names, as_dict(data.get("classes"))),
        "alarms": _alarms(run / "alarms.jsonl", problems, seen),
        "speed": _speed(log, clock),
        "files": _files(run),
        "environment": _environment(request),
        "limits": {"alarms": MOST_ALARMS, "lines": MOST_LINES, "classes": MOST_CLASSES, "groups": MOST_GROUPS},
    }


def number(value: float | None) -> str:
    """A number in four digits.

    >>> number(0.245312), number(1234567.0), number(10.0), number(None)
    ('0.2453', '1,234,567', '10', 'unknown')
    """
    if value is None:
        return "unknown"
    return f"{value:,.0f}" if abs(value) >= 10_000 and abs(value) < 1e12 else f"{value:.4g}"


def count(value: object, what: str = "") -> str:
    """How many, in full: '1,500 samples'; 'an unknown number of samples' for what is no number."""
    found = as_number(value)
    said = "an unknown number of" if found is None else f"{found:,.0f}"
    return f"{said} {what}".rstrip() if what or found is not None else "unknown"


def provenance_text(found: dict[str, Any]) -> str:
    """How scores came about, in sentences."""
    if not found:
        return "How these scores came about is not known."

    def source(about: dict[str, Any]) -> str:
        split = about.get("split")
        return f"{count(about.get('count'), 'samples')} of {about.get('name', 'unknown data')}" + (
            f" ({split})" if split else ""
        )

    weights = {"ema": "averaged weights (EMA)", "raw": "raw weights", "given": "samples as given"}
    made = [weights.get(str(found.get("weights")), f"weights {found.get('weights', 'unknown')}")]
    made += [f"arithmetic {found['arithmetic']}"] if found.get("arithmetic") else []
    made += [f"seed {found['seed']}"] if found.get("seed") is not None else []
    network = f"{found.get('features', 'unknown')}"
    network += f" ({count(found['feature_dim'])} numbers a sample)" if found.get("feature_dim") else ""
    if found.get("features_sha256"):
        network += f", whose hash begins {str(found['features_sha256'])[:8]}"
    parts = [
        f"{count(found.get('num_samples'), 'samples')} ({', '.join(made)}) were compared with "
        f"{source(as_dict(found.get('reference')))}, in the features {network}."
    ]
    if found.get("kept") is not None and found.get("kept") != found.get("num_samples"):
        parts.append(f"All but the Fréchet distance looks at {count(found['kept'])} of them.")
    if found.get("held_out"):
        parts.append(f"Held out from training: {source(as_dict(found['held_out']))}.")
    if found.get("resize") not in (None, "none"):
        parts.append(f"Samples were resized: {found['resize']}.")
    parts.append("Scores compare only with scores that were made in just this way.")
    return " ".join(parts)


def _apart(first: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return [short(text) for text in differences(first, other) if not text.startswith("remark: ")]


def _measures(values: dict[str, float]) -> dict[str, Measure]:
    """Values with the ends that are stored beside them."""
    ends = {f"{name}_{end}" for name in values for end in ("low", "high")} & set(values)
    found = {}
    for name, value in values.items():
        if name not in ends:
            low, high = values.get(f"{name}_low"), values.get(f"{name}_high")
            known = low is not None and high is not None
            found[name] = Measure(value, low, high) if known else Measure(value)
    return found


def _split_classes(found: dict[str, Measure]) -> tuple[dict[str, Measure], dict[int, dict[str, Measure]]]:
    """The values of the whole, and those of each class."""
    whole: dict[str, Measure] = {}
    classes: dict[int, dict[str, Measure]] = {}
    for name, measure in found.items():
        match = _OF_CLASS.fullmatch(name)
        if match:
            classes.setdefault(int(match[2]), {})[match[1]] = measure
        else:
            whole[name] = measure
    return whole, classes


def _asked(request: dict[str, Any]) -> list[tuple[str, str]]:
    """The recipe in short: a name and what it is, for each part."""
    recipe = as_dict(request.get("recipe"))
    train, scoring = as_dict(recipe.get("train")), as_dict(recipe.get("scoring"))
    budget = as_dict(train.get("budget"))
    parts = [
        ("Recipe", as_texts([request.get("origin")])[:1] or as_texts([recipe.get("name")])),
        ("Data", as_texts([_spec_text(recipe.get("source"))])),
        (
            "Budget",
            [f"{number(amount)} {short(budget.get('unit'))}"] if (amount := as_number(budget.get("amount"))) else [],
        ),
        ("Seed", as_texts([train.get("seed")])),
        ("Batch", [f"{count(train['batch'])} samples a step"] if as_number(train.get("batch")) else []),
        ("Noise", as_texts([_spec_text(recipe.get("prior"))])),
        ("Generator", as_texts([_spec_text(recipe.get("generator"))])),
        ("Discriminator", as_texts([_spec_text(recipe.get("discriminator"))])),
        ("Game", as_texts([_spec_text(recipe.get("game"))])),
        ("Optimisers", _optimizers(as_dict(recipe.get("optimizers")))),
        ("Average", as_texts([_spec_text(train.get("average"))])),
        ("Arithmetic", [", ".join(as_texts([train.get("precision"), train.get("matmul")]))]),
        ("Scoring", as_texts([_spec_text({k: v for k, v in scoring.items() if k != "patience"})])),
        ("Mends", as_texts([_spec_text(train["mend"])]) if as_list(train.get("mend")) else []),
        ("Patience", as_texts([_spec_text(scoring.get("patience"))])),
    ]
    return [(name, "; ".join(texts)) for name, texts in parts if any(texts)]


def _optimizers(found: dict[str, Any]) -> list[str]:
    """Both players' optimiser in one line where they are alike."""
    generator, discriminator = (_spec_text(found.get(name)) for name in ("generator", "discriminator"))
    if generator == discriminator:
        return as_texts([generator])
    return as_texts([f"generator: {generator}", f"discriminator: {discriminator}"])


def _spec_text(value: object, depth: int = 0) -> str | None:
    """A spec's JSON as it would be written: `R1(weight=0.08, every=8)`."""
    if value is None:
        return None
    if depth > 6:
        return "..."
    if isinstance(value, dict):
        name = str(value.get("spec", "")).rpartition(":")[2]
        fields = [f"{k}={_spec_text(v, depth + 1)}" for k, v in value.items() if k != "spec" and v is not None]
        return f"{name}({', '.join(fields)})" if name else ", ".join(fields)
    if isinstance(value, list):
        return f"[{', '.join(str(_spec_text(item, depth + 1)) for item in value)}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _commands(run: Path, request: dict[str, Any]) -> list[tuple[str, str]]:
    """What to type: a purpose and a command."""
    source, train = as_dict(at(request, "recipe", "source")), as_dict(at(request, "recipe", "train"))
    origin = request.get("origin")
    file = ["--recipe", origin] if isinstance(origin, str) and ".py" in origin else []
    folder = str(run)
    named = source.get("source") if isinstance(source.get("source"), str) else None
    found = []
    if named:
        again: list[str] = ["train", named, *(["--recipe", origin] if isinstance(origin, str) else [])]
        budget = as_dict(train.get("budget"))
        unit = {"seconds": "s", "images": "img", "epochs": "epochs"}.get(str(budget.get("unit")))
        if unit and (amount := as_number(budget.get("amount"))) is not None:
            again += ["--budget", f"{amount:.10g}{unit}"]
        again += ["--seed", str(train["seed"])] if isinstance(train.get("seed"), int) else []
        size = as_list(source.get("size"))
        again += ["--size", f"{size[0]}x{size[1]}"] if len(size) == 2 else []
        again += ["--labels", "ignore"] if source.get("labels") == "ignore" else []
        again += ["--hold-out", str(source["hold_out"])] if as_number(source.get("hold_out")) else []
        found.append(("The same again; what was changed with other options is in recipe.json", again))
    found += [
        ("Go on, when it was stopped", ["resume", folder, *file]),
        ("Go on beyond its budget (20min is an example)", ["resume", folder, "--budget", "20min", *file]),
        (
            "A picture of 64 samples of the best checkpoint",
            ["sample", folder, "-n", "64", "--out", "samples.png", *file],
        ),
        (
            "1,000 samples as files, of the last checkpoint",
            ["sample", folder, "-n", "1000", "--checkpoint", "last", "--out", "samples", *file],
        ),
    ]
    if named:
        found.append(("Judge it again, on more samples", ["score", folder, "--against", named, "-n", "50000", *file]))
    return [(why, short(shlex.join(["sparring", *words]))) for why, words in found]


def _data(data: dict[str, Any]) -> list[tuple[str, str]]:
    """What was read, as a name and a text each."""
    shape = [int(v) for v in as_list(data.get("shape")) if as_number(v) is not None]
    kind = {1: "grey", 3: "colour", 4: "colour with transparency"}
    if len(shape) == 3:
        what = f"images of {shape[1]}×{shape[2]} (height × width), {kind.get(shape[0], f'{shape[0]} channels')}"
    else:
        what = f"vectors of {count(shape[0])} numbers" if shape else "samples"
    depth = {256: "8-bit", 65536: "16-bit", 0: "floats"}.get(int(as_number(data.get("levels")) or 0), "")
    classes, sizes, converted = (as_dict(data.get(key)) for key in ("classes", "sizes", "converted"))
    told = [
        ("Source", ", ".join(as_texts([data.get(key) for key in ("source", "split", "kind")]))),
        ("Samples", f"{count(data.get('count'))} {what}, {depth}".rstrip(", ") if "count" in data else ""),
        ("Classes", _counts(classes, 12) if classes else "none: the run is unconditional"),
        ("Sizes found", _counts(sizes, 8) if len(sizes) > 1 else ""),
        ("Converted", _counts(converted, 8)),
    ]
    for key, text in (
        ("resized", "{} samples were resized"),
        ("cropped", "{} samples were cropped"),
        ("duplicates", "{} samples repeat an earlier one exactly"),
        ("ignored", "{} files are no images"),
    ):
        if as_number(data.get(key)):
            told.append((key.capitalize(), text.format(count(data[key]))))
    told.append(("Refused", f"{len(refused):,} files" if (refused := as_list(data.get("refused"))) else ""))
    told += [("SHA-256", short(data.get("sha256") or "")), ("Read in", _time(as_number(data.get("seconds"))))]
    return [(name, text) for name, text in told if text] if data else []


def _counts(found: dict[str, Any], most: int) -> str:
    said = [f"{short(name)}: {count(value)}" for name, value in itertools.islice(found.items(), most)]
    more = f" and {len(found) - most:,} more" if len(found) > most else ""
    return f"{len(found):,} ({', '.join(said)}{more})" if found else ""


def _refusal(entry: object) -> tuple[str, str]:
    found = as_dict(entry)
    return short(found.get("file", "a file")), short(found.get("reason", "no reason given"))


def _time(seconds: float | None) -> str:
    """A duration in words.

    >>> _time(0.335), _time(75.0), _time(7265.0)
    ('0.34 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = round(seconds)
    return f"{whole // 3600:,} h {whole % 3600 // 60} min" if whole >= 3600 else f"{whole // 60} min {whole % 60} s"


def _judged(verdict: dict[str, Any], scores: list[Row]) -> dict[str, Any] | None:
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
    whole, classes = _split_classes(_measures(values))
    whole_last = _split_classes(_measures(last["values"]))[0] if last else {}
    first = next(iter(whole.items()), None)
    sentence = f"Best after {count(images)} images"
    if first:
        sentence += f": {first[0]} {number(first[1].value)}"
        if first[1].low is not None:
            sentence += f" (95 % interval from {number(first[1].low)} to {number(first[1].high)})"
    return {
        "final": final,
        "images": float(images),
        "sentence": sentence + ".",
        "values": whole,
        "classes": classes,
        "provenance": provenance_text(provenance),
        "notes": notes,
        "last": whole_last,
        "last_images": as_number(last.get("images")) if last else None,
        "stopped": _ended(stopped, capital=False),
        "sure": _ended(sure, capital=False),
    }


def _ended(text: str, *, capital: bool = True) -> str:
    """A sentence with its capital and its full stop."""
    text = text.strip()
    first = text[:1].upper() if capital else text[:1]
    return first + text[1:] + ("" if text.endswith((".", "!", "?")) else ".") if text else ""


def _groups(scores: list[Row]) -> list[list[Row]]:
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


def _charts(group: list[Row], best: float | None) -> dict[str, Any]:
    """A chart for each score of a group, the one that ranks and those that say most of it first."""
    names: dict[str, None] = {}
    for row in group:
        names |= dict.fromkeys(_split_classes(_measures(row.values))[0])
    yardsticks = {meaning(name).yardstick for name in names}
    charts: list[Chart] = []
    shown = [name for name in names if name not in yardsticks]
    for name in shown[:MOST_CHARTS]:
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


def _score_series(name: str, rows: list[Row], color: str) -> Series:
    low, high = ([row.values.get(f"{name}_{end}", math.nan) for row in rows] for end in ("low", "high"))
    return _series(name, name, rows, color)._replace(low=low, high=high)


def _series(name: str, key: str, rows: Sequence[Row], color: str, *, thin: bool = False) -> Series:
    kept = [row for row in rows if key in row.values]
    return Series(name, [row.images for row in kept], [row.values[key] for row in kept], color, thin=thin)


def _chart(panel: Panel) -> Chart:
    title = panel.title + (" (log scale)" if panel.log else "")
    return Chart(title, Markup(svg(panel)), [(color_class(series), series.name) for series in panel.series])


def _log_charts(log: list[Row], best: float | None) -> dict[str, Any]:
    """Curves of the log: losses, what the discriminator believes, the pace, and every other signal."""
    names = dict.fromkeys(name for row in log for name in row.values)

    def chart(title: str, *keys: str) -> list[Chart]:
        found = [key for key in keys if key in names]
        colors = itertools.cycle((BLUE, ORANGE) if len(found) > 1 else (SKY,))
        series = tuple(_series(_SERIES.get(k, k), k, log, c) for k, c in zip(found, colors, strict=False))
        return [_chart(Panel(title, series, best=best))] if series else []

    shown = {*_SERIES, "images_per_second"}
    others = [name for name in names if name not in shown][:MOST_CHARTS]
    return {
        "losses": chart("Losses", "loss_d", "loss_g"),
        "beliefs": chart("What the discriminator believes", "d_real", "d_fake"),
        "pace": chart("Images per second", "images_per_second"),
        "others": [drawn for name in others for drawn in chart(name, name)],
    }


def _score_rows(scores: list[Row]) -> dict[str, Any]:
    """Every scoring of the run in one table, the latest rows where there are many."""
    kept = scores[-MOST_ROWS:]
    found = [_split_classes(_measures(row.values))[0] for row in kept]
    names = list(dict.fromkeys(name for values in found for name in values))[:MOST_CHARTS]
    rows = [
        {"images": row.images, "best": row.best, "values": values, "notes": row.notes}
        for row, values in zip(kept, found, strict=True)
    ]
    return {"names": names, "rows": rows}


def _pictures(folder: Path) -> list[tuple[float, Path]]:
    """The pictures of a folder that are named by images seen, in that order."""
    try:
        named = [path for path in folder.iterdir() if re.fullmatch(r"\d{1,18}\.png", path.name, re.ASCII)]
    except OSError:
        return []
    return sorted((float(path.stem), path) for path in named)


def _embed(path: Path, most: int) -> dict[str, Any]:
    """A picture as a data URL of at most about 4/3 of `most` bytes, reduced as far as that takes; or why not."""
    try:
        content, kind = path.read_bytes(), "png"
        with Image.open(io.BytesIO(content), formats=("PNG",)) as file:
            if file.width * file.height > MOST_PIXELS:
                return {"problem": f"{path.name} is too large to be shown here ({file.width}×{file.height} pixels)."}
            picture = file.convert("L" if file.mode in ("1", "L") else "RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return {"problem": f"{path.name} cannot be read as a picture."}
    width, height = picture.size
    while len(content) > most:
        if kind == "jpeg":
            smaller = (max(1, picture.width * 4 // 5), max(1, picture.height * 4 // 5))
            picture = picture.resize(smaller, Image.Resampling.LANCZOS)
        out, kind = io.BytesIO(), "jpeg"
        picture.save(out, kind, quality=82)
        content = out.getvalue()
    url = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return {"url": url, "width": width, "height": height, "problem": ""}


def _history(grids: list[tuple[float, Path]], best: float | None) -> list[dict[str, Any]]:
    """A handful of grids from first to last, the best checkpoint's among them."""
    last = len(grids) - 1
    chosen = {round(n * last / (MOST_FRAMES - 2)) for n in range(MOST_FRAMES - 1)} if last > 0 else {0}
    if best is not None and grids:
        chosen.add(_closest(grids, best))
    return [{"images": grids[n][0]} | _embed(grids[n][1], FRAME_BYTES) for n in sorted(chosen)] if grids else []


def _closest(grids: list[tuple[float, Path]], images: float) -> int:
    return min(range(len(grids)), key=lambda n: abs(grids[n][0] - images))


def _pair(grids: list[tuple[float, Path]], judged: dict[str, Any] | None) -> dict[str, Any] | None:
    """The grids of the best checkpoint and of the end, where they differ."""
    if judged is None or not grids:
        return None
    at = _closest(grids, judged["images"])
    if at == len(grids) - 1:
        return {"same": True}
    sides = []
    for title, images, values, (drawn, path) in (
        ("Best", judged["images"], judged["values"], grids[at]),
        ("Last", judged["last_images"] or grids[-1][0], judged["last"], grids[-1]),
    ):
        scores = [(name, str(value)) for name, value in itertools.islice(values.items(), 4)]
        sides.append({"title": title, "images": images, "drawn": drawn, "scores": scores} | _embed(path, PICTURE_BYTES))
    return {"same": False, "sides": sides}


def _last_advice(run: Path) -> dict[str, Any] | None:
    found = _pictures(run / "advice")
    return {"images": found[-1][0]} | _embed(found[-1][1], PICTURE_BYTES) if found else None


def _classes(judged: dict[str, Any] | None, names: list[str], counts: dict[str, Any]) -> dict[str, Any] | None:
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


class Alarm(NamedTuple):
    """An alarm as it is shown; `at` is where it stands on the time line, in per cent."""

    images: float
    at: float
    name: str
    cause: str
    mend: str
    values: list[tuple[str, str]]


def _alarms(path: Path, problems: list[str], seen: float) -> dict[str, Any]:
    """Alarms for the list, and by name for the time line."""
    lines = read_lines(path, problems)
    end = max([seen, 1.0, *(as_number(line["images"]) or 0.0 for line in lines)])
    found = []
    for line in lines[:MOST_ALARMS]:
        images, values = as_number(line["images"]) or 0.0, sound_values(line.get("values"))
        name, cause, mend = (short(line.get(key) or "") for key in ("name", "cause", "mend"))
        said = [(key, number(value)) for key, value in itertools.islice(values.items(), 8)]
        found.append(Alarm(images, round(100 * images / end, 2), name or "alarm", _ended(cause), _ended(mend), said))
    rows = {name: [alarm.at for alarm in found if alarm.name == name] for name in dict.fromkeys(a.name for a in found)}
    return {"all": found, "num": len(lines), "rows": rows, "end": end, "known": path.exists()}


def _last_checkpoint(run: Path) -> dict[str, Any]:
    """What the newest checkpoint says beside its tensors."""
    try:
        found = sorted(path for path in (run / "checkpoints").glob("*.json") if path.stem.isdigit())
    except OSError:
        return {}
    return read_object(found[-1], []) if found else {}


def _speed(log: list[Row], clock: dict[str, Any]) -> list[tuple[str, str]]:
    rates = [row.values["images_per_second"] for row in log if "images_per_second" in row.values]
    told = []
    if rates:
        told.append(("Pace", f"{statistics.median(rates):,.0f} images per second (median of {len(rates):,} reports)"))
        told.append(("Slowest and fastest", f"{min(rates):,.0f} and {max(rates):,.0f} images per second"))
    seconds, scoring = as_number(clock.get("seconds")), as_number(clock.get("scoring_seconds"))
    if seconds:
        told.append(("Time", _time(seconds)))
        if scoring is not None:
            told.append(("Of it for scoring", f"{_time(scoring)} ({100 * scoring / seconds:.0f} %)"))
    return told


def _files(run: Path) -> list[dict[str, str]]:
    found = []
    for name, what in _FILES.items():
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


def _environment(request: dict[str, Any]) -> list[tuple[str, str]]:
    found = [("sparring", request.get("sparring")), *as_dict(request.get("environment")).items()]
    return [(short(name), short(value)) for name, value in found if is_scalar(value)]
