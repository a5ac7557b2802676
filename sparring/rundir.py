"""A run's folder: what was asked, what was read, the log, the scores, pictures, checkpoints and the finished model.

`record` passes a trainer's events through and keeps what they carry, so whoever shows the run reads the same events.
All files are written whole or not at all; the logs are appended to, and cut back to the checkpoint on resume.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from PIL import Image
from safetensors.torch import save
from torch import Tensor

from sparring import __version__
from sparring.core.errors import RequestError
from sparring.core.files import read_json, write_atomically, write_json
from sparring.core.game import Prior
from sparring.core.protocols import DataSpec, NetworkSpec, Source
from sparring.core.spec import from_json, to_json
from sparring.data.toys import toy_of
from sparring.metrics.features import FeatureNetwork
from sparring.metrics.neighbours import nearest_in
from sparring.metrics.provenance import provenance_text
from sparring.pictures.advice import advice_picture
from sparring.pictures.curves import curves
from sparring.pictures.film import film
from sparring.pictures.grid import sample_grid, save_png
from sparring.pictures.nearest import nearest
from sparring.pictures.plane import View, draw_plane
from sparring.report.lenient import read_log
from sparring.report.page import write_report
from sparring.report.panels import picture_panels
from sparring.train.checkpoint import checkpoints, load_checkpoint, prune, save_checkpoint
from sparring.train.events import Alarmed, Event, Mended, Sampled, Saved, Scored, Stepped
from sparring.train.plane import Plane
from sparring.train.recipe import Recipe
from sparring.train.trainer import GRID_COLUMNS
from sparring.trained import averaged_weights

FORMAT = 1


class Request(NamedTuple):
    """What `recipe.json` holds: the recipe, the name or file it came from, why its choices were made, and where."""

    recipe: Recipe
    origin: str
    reasons: tuple[str, ...]
    environment: dict[str, Any]


class RunFolder:
    """One run's folder, open for writing."""

    def __init__(self, path: Path, request: Request, data: DataSpec) -> None:
        self.path, self.request, self.data = path, request, data
        self.recipe_hash = hashlib.sha256((path / "recipe.json").read_bytes()).hexdigest()[:16]

    @classmethod
    def create(cls, path: Path, request: Request, data: DataSpec, data_report: dict[str, Any]) -> RunFolder:
        """A new folder; an existing one is refused, nothing is overwritten."""
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            raise taken(path) from None
        except OSError as error:
            raise RequestError(f"--out {path}: cannot be created ({error.strerror}); choose a writable place") from None
        write_json(path / "data.json", data_report)
        folder = cls.write_request(path, request, data)
        (path / "samples").mkdir()
        (path / "checkpoints").mkdir()
        return folder

    @classmethod
    def write_request(cls, path: Path, request: Request, data: DataSpec) -> RunFolder:
        """Writes `recipe.json`, also when a resumed run was given a new budget."""
        write_json(
            path / "recipe.json",
            {
                "format": FORMAT,
                "sparring": __version__,
                "origin": request.origin,
                "recipe": to_json(request.recipe),
                "data": to_json(data),
                "choices": list(request.reasons),
                "environment": request.environment,
            },
        )
        return cls(path, request, data)

    def record(self, events: Iterator[Event]) -> Iterator[Event]:
        """Passes events on, each after it has been stored."""
        for event in events:
            if isinstance(event, Stepped):
                self._append("log.jsonl", _clock(event) | event.values | {"images_per_second": round(event.rate, 1)})
            elif isinstance(event, Sampled):
                self._save_grid(event)
            elif isinstance(event, Scored):
                row = _clock(event) | event.values
                row |= {"best": event.best, "notes": list(event.notes), "provenance": event.provenance}
                self._append("scores.jsonl", row)
            elif isinstance(event, Alarmed):
                self._append("alarms.jsonl", _clock(event) | event.alarm._asdict())
            elif isinstance(event, Mended):
                self._append("alarms.jsonl", _clock(event) | event.mending._asdict())
            else:
                self._save(event)
            yield event

    def rewind(self, images: int) -> None:
        """Drops what was logged and drawn after a checkpoint at `images`, because it will happen again, and what was
        found at the end."""
        for name in ("verdict.json", "nearest.png"):
            (self.path / name).unlink(missing_ok=True)
        for name in ("log.jsonl", "scores.jsonl", "alarms.jsonl"):
            path = self.path / name
            if path.exists():
                rows = [line for line in path.read_bytes().splitlines(keepends=True) if _images_of(line) <= images]
                write_atomically(path, b"".join(row for row in rows if row.endswith(b"\n")))
        for folder in ("samples", "advice"):
            for picture in (self.path / folder).glob("*.png"):
                if picture.stem.isdigit() and int(picture.stem) > images:
                    picture.unlink()

    def draw(self) -> list[Path]:
        """Draws `curves.png` and `progress.gif` from what the folder holds and puts it all on one page, `report.html`;
        returns what was made."""
        drawn = []
        log, scores = (read_log(self.path / name, []) for name in ("log.jsonl", "scores.jsonl"))
        best = self.path / "checkpoints" / "best.json"
        panels = picture_panels(log, scores, int(read_json(best)["checkpoint"]) if best.exists() else None)
        if panels:
            curves(self.path / "curves.png", panels, info=self._info())
            drawn.append(self.path / "curves.png")
        frames = sorted(p for p in (self.path / "samples").glob("*.png") if p.stem.isdigit())
        if frames:
            film(frames, [int(p.stem) for p in frames], self.path / "progress.gif")
            drawn.append(self.path / "progress.gif")
        return [*drawn, write_report(self.path)]

    def draw_nearest(self, samples: Tensor, source: Source, network: FeatureNetwork, k: int = 5) -> Path:
        """Draws `nearest.png`: samples [n, *shape] in [-1, 1], each beside the k training samples nearest to it in the
        network's features. All of the source passes through the network, once."""
        found = nearest_in(network, source, samples, min(k, len(source)))
        x = source.take(found.positions.flatten()).x.cpu().reshape(*found.positions.shape, *samples.shape[1:])
        picture = nearest(samples.cpu(), x, found.distances, levels=self.data.levels)
        save_png(picture, self.path / "nearest.png", self._info())
        return self.path / "nearest.png"

    def write_model(self) -> Path:
        """Writes `model/` from the best checkpoint: weights, what they need to be used, and a card."""
        path = find_checkpoint(self.path, "best")
        tensors, meta = load_checkpoint(path)
        weights = {name: tensor.contiguous() for name, tensor in averaged_weights(tensors).items()}
        folder = self.path / "model"
        folder.mkdir(exist_ok=True)
        scores = [row for row in read_rows(self.path / "scores.jsonl") if row["images"] == meta["images"]]
        config = {
            "format": FORMAT,
            "sparring": __version__,
            "weights": "exponential moving average",
            "images": meta["images"],
            "data": to_json(self.data),
            "prior": to_json(self.request.recipe.prior),
            "generator": to_json(self.request.recipe.generator),
            "scores": scores[-1] if scores else None,
        }
        write_atomically(folder / "generator.safetensors", save(weights))
        write_json(folder / "config.json", config)
        write_atomically(folder / "README.md", _card(config).encode())
        return folder

    def name_best(self, checkpoint: Path) -> None:
        """From now on this checkpoint is what `best` means."""
        write_json(self.path / "checkpoints" / "best.json", {"checkpoint": checkpoint.stem})

    def write_verdict(self, verdict: dict[str, Any]) -> None:
        """Writes `verdict.json`, what came of the run; `draw` puts it on the page."""
        write_json(self.path / "verdict.json", verdict)

    def _append(self, name: str, row: dict[str, Any]) -> None:
        line = json.dumps(row, allow_nan=False, ensure_ascii=False) + "\n"
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.write(line)

    def _save_grid(self, event: Sampled) -> None:
        name, info = f"{event.clock.images:012d}.png", self._info(event.clock.images)
        if event.plane is not None:  # its arrows are the advice
            save_png(_plane_picture(event.plane, self.data), self.path / "samples" / name, info)
            return
        picture = sample_grid(event.samples.x, GRID_COLUMNS, levels=self.data.levels)
        save_png(picture, self.path / "samples" / name, info)
        lesson = event.lesson
        advice_picture(
            self.path / "advice" / name,
            lesson.x,
            lesson.advice,
            lesson.after,
            lesson.beliefs(),
            [] if lesson.y is None or self.data.y_shape else [self._class_name(label) for label in lesson.y.tolist()],
            info=info,
        )

    def _class_name(self, label: int) -> str:
        return self.data.class_names[label] if self.data.class_names else str(label)

    def _save(self, event: Saved) -> None:
        folder = self.path / "checkpoints"
        save_checkpoint(folder, event.clock.images, event.tensors, event.meta)
        leaders = [f"{images:012d}" for images, _ in event.meta["scores"]["leaders"]]
        if leaders:
            self.name_best(folder / f"{leaders[0]}.json")
        prune(folder, set(leaders))

    def _info(self, images: int | None = None) -> dict[str, str]:
        info = {
            "sparring": __version__,
            "data": self.data.name,
            "seed": str(self.request.recipe.train.seed),
            "recipe_sha256": self.recipe_hash,
            "weights": "ema",
        }
        return info | ({} if images is None else {"images": str(images)})


def open_run(path: Path, trusted: tuple[ModuleType, ...] = ()) -> tuple[Request, DataSpec]:
    """What a run folder was asked to do, and what its data looked like.

    Raises `RequestError` when it is no run folder, or one of another version.
    """
    data = _read_request(path)
    recipe = from_json(data.get("recipe"), trusted)
    spec = from_json(data.get("data"))
    if not isinstance(recipe, Recipe) or not isinstance(spec, DataSpec):
        raise RequestError(f"{path / 'recipe.json'}: holds no recipe")
    return Request(recipe, data["origin"], tuple(data["choices"]), data["environment"]), spec


def open_generator(path: Path, trusted: tuple[ModuleType, ...] = ()) -> tuple[NetworkSpec, Prior, DataSpec]:
    """What is needed of a run folder to draw from it: the rest of its recipe may come from a file that is not here."""
    data = _read_request(path)
    recipe = data.get("recipe") or {}
    generator, prior = (from_json(recipe.get(part), trusted) for part in ("generator", "prior"))
    spec = from_json(data.get("data"))
    if not (isinstance(generator, NetworkSpec) and isinstance(prior, Prior) and isinstance(spec, DataSpec)):
        raise RequestError(f"{path / 'recipe.json'}: holds no generator")
    return generator, prior, spec


def _read_request(path: Path) -> dict[str, Any]:
    if not (path / "recipe.json").exists():
        raise RequestError(f"{path}: not a run folder (it has no recipe.json); expected one that `sparring train` made")
    data = read_json(path / "recipe.json")
    if data.get("format") != FORMAT:
        raise RequestError(
            f"{path}: run folder of format {data.get('format')!r} written by sparring {data.get('sparring')}, "
            f"this is {__version__} and reads format {FORMAT}"
        )
    return data


def find_checkpoint(run: Path, which: str) -> Path:
    """A checkpoint's JSON file: `best` (the last where nothing was scored), `last`, or the images it was made at."""
    folder = run / "checkpoints"
    found = checkpoints(folder)
    if not found:
        raise RequestError(f"{run}: has no checkpoint yet; train for longer, or resume it")
    if which == "last":
        return found[-1]
    if which == "best":
        best = folder / "best.json"
        return folder / f"{read_json(best)['checkpoint']}.json" if best.exists() else found[-1]
    for path in found:
        if which.isdigit() and int(path.stem) == int(which):
            return path
    kept = ", ".join(str(int(p.stem)) for p in found)
    raise RequestError(f"--checkpoint {which!r}: expected best, last or one of {kept}")


def taken(path: Path) -> RequestError:
    """What is said of a folder that is there already."""
    return RequestError(
        f"--out {path}: exists already; choose another name, or `sparring resume {path}` to go on with it"
    )


def new_folder(name: str) -> Path:
    """`runs/NAME`, or `runs/NAME-2`, `-3` ... where that exists."""
    base = Path("runs") / "".join(c if c.isalnum() or c in "-_." else "-" for c in name)
    path, number = base, 1
    while path.exists():
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    return path


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file; a last line that was cut off is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _plane_picture(plane: Plane, data: DataSpec) -> Image.Image:
    """In the units of the law, where the data are drawn from a known one."""
    toy = toy_of(data)
    scale = 1.0 if toy is None else toy.scale
    view = View(tuple(v * scale for v in plane.low), tuple(v * scale for v in plane.high))
    logits, slopes = (None if t is None else t.double().numpy() for t in (plane.logits, plane.slopes))
    return draw_plane(plane.real.double().numpy() * scale, plane.fake.double().numpy() * scale, view, logits, slopes)


def _clock(event: Stepped | Scored | Alarmed | Mended) -> dict[str, Any]:
    clock = event.clock
    return {"images": clock.images, "step": clock.step, "epoch": round(clock.epoch, 4)}


def _images_of(line: bytes) -> float:
    try:
        return float(json.loads(line)["images"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


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
            f"Scores of {provenance_text(scores['provenance'])}:",
            "",
            *(f"- {name}: {value:.4g}" for name, value in shown.items()),
        ]
    return "\n".join(lines) + "\n"
