"""What was asked and what was read, in names and short texts; and what to type next."""

from __future__ import annotations

import itertools
import shlex
from pathlib import Path
from typing import Any

from sparring.report.lenient import as_dict, as_list, as_number, as_texts, at, is_scalar, short
from sparring.report.words import count, duration, number


def recipe_facts(request: dict[str, Any]) -> list[tuple[str, str]]:
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


def commands(run: Path, request: dict[str, Any]) -> list[tuple[str, str]]:
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


def data_facts(data: dict[str, Any]) -> list[tuple[str, str]]:
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
    told += [("SHA-256", short(data.get("sha256") or "")), ("Read in", duration(as_number(data.get("seconds"))))]
    return [(name, text) for name, text in told if text] if data else []


def _counts(found: dict[str, Any], most: int) -> str:
    said = [f"{short(name)}: {count(value)}" for name, value in itertools.islice(found.items(), most)]
    more = f" and {len(found) - most:,} more" if len(found) > most else ""
    return f"{len(found):,} ({', '.join(said)}{more})" if found else ""


def refusal(entry: object) -> tuple[str, str]:
    """A file that was not read, and why."""
    found = as_dict(entry)
    return short(found.get("file", "a file")), short(found.get("reason", "no reason given"))


def environment_facts(request: dict[str, Any]) -> list[tuple[str, str]]:
    """Where the run was made: versions and devices."""
    found = [("sparring", request.get("sparring")), *as_dict(request.get("environment")).items()]
    return [(short(name), short(value)) for name, value in found if is_scalar(value)]
