"""The finished model: weights that safetensors reads, what they need to be used, and a card that says what they are."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from safetensors.torch import save

from sparring import __version__
from sparring.core.files import write_atomically, write_json
from sparring.core.protocols import DataSpec
from sparring.core.spec import to_json
from sparring.metrics.provenance import provenance_text
from sparring.opening import Opened
from sparring.report.lenient import sound_provenance
from sparring.train.recipe import Recipe
from sparring.trained import averaged_weights

FORMAT = 1


def write_model(folder: Path, best: Opened, recipe: Recipe, data: DataSpec, scores: dict[str, Any] | None) -> Path:
    """Writes the averaged generator of a checkpoint into `folder`, which it returns; `scores` are the checkpoint's row
    of `scores.jsonl`, if there is one. Raises `OSError`."""
    content = save({name: tensor.contiguous() for name, tensor in averaged_weights(best.tensors).items()})
    config = {
        "format": FORMAT,
        "sparring": __version__,
        "weights": "exponential moving average",
        "sha256": hashlib.sha256(content).hexdigest(),
        "images": best.meta["images"],
        "data": to_json(data),
        "prior": to_json(recipe.prior),
        "generator": to_json(recipe.generator),
        "scores": scores,
    }
    folder.mkdir(exist_ok=True)
    write_atomically(folder / "generator.safetensors", content)
    write_json(folder / "config.json", config)
    write_atomically(folder / "README.md", _card(config).encode(errors="backslashreplace"))
    return folder


def _card(config: dict[str, Any]) -> str:
    data, scores = config["data"], config["scores"]
    lines = [
        f"# Generator of {data['name']}",
        "",
        f"Averaged weights after {config['images']} images, made with sparring {config['sparring']}.",
        f"Samples have the shape {data['shape']} in [-1, 1], with {data['num_classes'] or 'no'} classes.",
    ]
    if scores:
        shown = {k: v for k, v in scores.items() if isinstance(v, float) and k != "epoch"}
        lines += [
            "",
            f"Scores of {provenance_text(sound_provenance(scores.get('provenance')))}:",
            "",
            *(f"- {name}: {value:.4g}" for name, value in shown.items()),
        ]
    return "\n".join(lines) + "\n"
