"""A run's folder: what was asked, what was read, the log, the scores, pictures, checkpoints and the finished model.

`record` passes a trainer's events through and keeps what they carry, so whoever shows the run reads the same events.
All files are written whole or not at all; the logs are appended to, and cut back to the checkpoint on resume. Logs are
on the disk before the checkpoint that comes after them. Without a checkpoint, a log or a model a run is not what it
promises, so what prevents those ends it; a picture that cannot be written is counted, and the run goes on.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from safetensors.torch import save
from torch import Tensor

from sparring import __version__
from sparring.core.errors import RequestError, TrainingError
from sparring.core.files import DamagedError, append_line, failure_text, flush, read_json, write_atomically, write_json
from sparring.core.protocols import DataSpec, Source
from sparring.core.spec import to_json
from sparring.data.toys import toy_of
from sparring.metrics.features import FeatureNetwork
from sparring.metrics.neighbours import nearest_in
from sparring.model import write_model
from sparring.opening import FORMAT, Opened, Request, hash_but_budget
from sparring.pictures.advice import advice_picture
from sparring.pictures.curves import curves
from sparring.pictures.film import film as write_film
from sparring.pictures.forms import draw_samples
from sparring.pictures.grid import sample_grid, save_png
from sparring.pictures.nearest import nearest
from sparring.pictures.plane import View, draw_plane
from sparring.report.lenient import as_number, read_lines, read_log
from sparring.report.page import write_report
from sparring.report.panels import picture_panels
from sparring.train.checkpoint import name_best, named_best, prune, save_checkpoint
from sparring.train.events import Alarmed, Event, Faulted, Mended, Sampled, Saved, Scored, Stepped
from sparring.train.plane import Plane
from sparring.train.samples import GRID_COLUMNS

_NUMBERED = re.compile("[0-9]{12,15}")
LOGS = ("log.jsonl", "scores.jsonl", "alarms.jsonl")


class RunFolder:
    """One run's folder, open for writing."""

    def __init__(self, path: Path, request: Request, data: DataSpec) -> None:
        self.path, self.request, self.data = path, request, data
        self.recipe_hash = hash_but_budget(request.recipe)[:16]
        self.unwritten: list[str] = []
        """A sentence for each picture that could not be written."""
        self._damaged: set[str] = set()
        self._last: int | None = None

    @classmethod
    def create(cls, path: Path, request: Request, data: DataSpec, data_report: dict[str, Any]) -> RunFolder:
        """A new folder; an existing one is refused, nothing is overwritten."""
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            raise taken(path) from None
        except OSError as error:
            raise RequestError(f"--out {path}: cannot be created ({error.strerror}); choose a writable place") from None
        try:
            write_json(path / "data.json", data_report)
            (path / "checkpoints").mkdir()
            return cls.write_request(path, request, data)
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise

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

    def write_data(self, report: dict[str, Any]) -> None:
        """Writes `data.json` again, where samples turned out to be bad only when they were used."""
        with self._drawn():
            write_json(self.path / "data.json", report)

    def record(self, events: Iterator[Event]) -> Iterator[Event]:
        """Passes events on, each after it has been stored."""
        for event in events:
            with self._kept():
                self._store(event)
            yield event

    def _store(self, event: Event) -> None:
        if isinstance(event, Stepped):
            self._append("log.jsonl", _clock(event) | event.values | {"images_per_second": round(event.rate, 1)})
        elif isinstance(event, Sampled):
            with self._drawn():
                self._save_grid(event)
        elif isinstance(event, Scored):
            row = _clock(event) | event.values
            row |= {"best": event.best, "notes": list(event.notes), "provenance": event.provenance}
            self._append("scores.jsonl", row)
        elif isinstance(event, Alarmed):
            self._append("alarms.jsonl", _clock(event) | event.alarm._asdict())
        elif isinstance(event, Faulted):
            self._save_fault(event)
        elif isinstance(event, Mended):
            self._append("alarms.jsonl", _clock(event) | event.mending._asdict())
        else:
            self._save(event)

    def go_on_from(self, opened: Opened, passed_over: set[str]) -> None:
        """Everything as it was at a checkpoint; those (by stem) that were passed over for it stay as they are, but for
        tensors whose JSON, which is written last, is not there: these are half of what a kill has cut off."""
        self.rewind(opened.meta["images"])
        leaders = opened.meta["scores"]["leaders"]
        if leaders:
            name_best(self.path / "checkpoints", leaders[0][0])
        else:
            (self.path / "checkpoints" / "best.json").unlink(missing_ok=True)
        halves = {stem for stem in passed_over if not (self.path / "checkpoints" / f"{stem}.json").exists()}
        for stem in halves:
            (self.path / "checkpoints" / f"{stem}.safetensors").unlink()
        self._last, self._damaged = opened.meta["images"], passed_over - halves

    def rewind(self, images: int) -> None:
        """Drops what was logged and drawn after `images`, because it will happen again, and what was found at the
        end; the model stays until there is another."""
        for name in ("finished.json", "verdict.json", "nearest.png"):
            (self.path / name).unlink(missing_ok=True)
        for name in LOGS:
            path = self.path / name
            if path.exists():
                rows = [line for line in path.read_bytes().splitlines(keepends=True) if _images_of(line) <= images]
                write_atomically(path, b"".join(row for row in rows if row.endswith(b"\n")))
        for folder in ("samples", "advice"):
            for picture in (self.path / folder).glob("*.png"):
                if _NUMBERED.fullmatch(picture.stem) and int(picture.stem) > images:
                    picture.unlink()

    def draw(self, *, film: bool = True) -> list[Path]:
        """Draws `curves.png` and `progress.gif` from what the folder holds and puts it all on one page, `report.html`;
        returns what was made. Without `film`, which takes the longest, the page is there in a second."""
        made: list[Path] = []
        log, scores = (read_log(self.path / name, []) for name in ("log.jsonl", "scores.jsonl"))
        panels = picture_panels(log, scores, named_best(self.path / "checkpoints"))
        if panels:
            with self._drawn():
                curves(self.path / "curves.png", panels, info=self._info())
                made.append(self.path / "curves.png")
        frames = sorted(p for p in (self.path / "samples").glob("*.png") if _NUMBERED.fullmatch(p.stem))
        if frames and film:
            with self._drawn():
                write_film(frames, [int(p.stem) for p in frames], self.path / "progress.gif")
                made.append(self.path / "progress.gif")
        with self._drawn():
            made.append(write_report(self.path))
        return made

    def draw_nearest(self, samples: Tensor, source: Source, network: FeatureNetwork, k: int = 5) -> None:
        """Draws `nearest.png`: samples [n, *shape] in [-1, 1], each beside the k training samples nearest to it in the
        network's features. All of the source passes through the network, once."""
        found = nearest_in(network, source, samples, min(k, len(source)))
        x = source.take(found.positions.flatten()).x.cpu().reshape(*found.positions.shape, *samples.shape[1:])
        if self.data.form is not None:
            picture = draw_samples(samples.cpu(), self.data, x[:, 0])
        else:
            picture = nearest(samples.cpu(), x, found.distances, levels=self.data.levels)
        with self._drawn():
            save_png(picture, self.path / "nearest.png", self._info())

    def write_model(self, best: Opened) -> Path:
        """Writes `model/` from a checkpoint; returns the folder."""
        scores = [row for row in read_rows(self.path / "scores.jsonl") if row["images"] == best.meta["images"]]
        with self._kept():
            return write_model(
                self.path / "model", best, self.request.recipe, self.data, scores[-1] if scores else None
            )

    def name_best(self, images: int) -> None:
        """From now on the checkpoint at so many images is what `best` means."""
        with self._kept():
            name_best(self.path / "checkpoints", images)

    def write_verdict(self, verdict: dict[str, Any]) -> None:
        """Writes `verdict.json`, what came of the run; `draw` puts it on the page."""
        with self._kept():
            write_json(self.path / "verdict.json", verdict)

    def finish(self, images: int) -> None:
        """Says that nothing is missing of a run that ended at so many images."""
        with self._kept():
            write_json(self.path / "finished.json", {"images": images})

    def finished(self, images: int) -> bool:
        """Whether the run ended at so many images and nothing of it is missing."""
        path = self.path / "finished.json"
        try:
            return path.exists() and read_json(path).get("images") == images
        except DamagedError:  # made again, with all that may be missing
            return False

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """What a run can't do without: it fails where this can't be written."""
        try:
            yield
        except OSError as error:
            last = "nothing is saved yet" if self._last is None else f"the checkpoint at {self._last:,} images is whole"
            raise TrainingError(
                f"{failure_text(error)}; {last}; make room or mend the folder, then: sparring resume {self.path}"
            ) from error

    @contextmanager
    def _drawn(self) -> Iterator[None]:
        """What a run can do without: it is counted where it can't be written."""
        try:
            yield
        except OSError as error:
            self.unwritten.append(failure_text(error))
        except RequestError as error:
            self.unwritten.append(str(error))

    def _append(self, name: str, row: dict[str, Any]) -> None:
        append_line(self.path / name, json.dumps(row, allow_nan=False, ensure_ascii=False))

    def _save_grid(self, event: Sampled) -> None:
        name, info = f"{event.clock.images:012d}.png", self._info(event.clock.images)
        if event.plane is not None:  # its arrows are the advice
            save_png(_plane_picture(event.plane, self.data), self.path / "samples" / name, info)
            return
        if self.data.form is not None:
            save_png(draw_samples(event.samples.x, self.data), self.path / "samples" / name, info)
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

    def _save_fault(self, event: Faulted) -> None:
        """What failed and what was done, in the log of alarms at the moment to which the run has gone back; what was
        logged and drawn since will happen again. The batch is kept in `faults/`, for whoever wants to look."""
        at = {"at_images": event.failed.images, "at_step": event.failed.step}
        rows = read_rows(self.path / "alarms.jsonl")
        earlier = [row for row in rows if row.get("at_images", 0) > event.clock.images]  # failed on the same way, too
        self.rewind(event.clock.images)
        for row in [*earlier, *(_clock(event) | what._asdict() | at for what in (event.alarm, event.mending))]:
            self._append("alarms.jsonl", row)
        if event.batch:
            with self._drawn():
                (self.path / "faults").mkdir(exist_ok=True)
                file = self.path / "faults" / f"{event.failed.images:012d}.safetensors"
                write_atomically(file, save({name: tensor.contiguous() for name, tensor in event.batch.items()}))

    def _class_name(self, label: int) -> str:
        return self.data.class_names[label] if self.data.class_names else str(label)

    def _save(self, event: Saved) -> None:
        for path in (self.path / name for name in LOGS):
            if path.exists():
                flush(path)
        folder, images = self.path / "checkpoints", event.clock.images
        recipe = self.request.recipe
        asked = {"budget": to_json(recipe.train.budget), "recipe_sha256": hash_but_budget(recipe)}
        path = save_checkpoint(folder, images, event.tensors, event.meta | asked)
        self._last = images
        self._damaged.discard(path.stem)
        leaders = [found for found, _ in event.meta["scores"]["leaders"]]
        if leaders:
            name_best(folder, leaders[0])
        prune(folder, {f"{leader:012d}" for leader in leaders}, self._damaged)

    def _info(self, images: int | None = None) -> dict[str, str]:
        info = {
            "sparring": __version__,
            "data": self.data.name,
            "seed": str(self.request.recipe.train.seed),
            "recipe_sha256": self.recipe_hash,
            "weights": "ema",
        }
        return info | ({} if images is None else {"images": str(images)})


def taken(path: Path) -> RequestError:
    """What is said of a folder that is there already."""
    if (path / "finished.json").exists():
        way = f"go on with it: sparring resume {path} --budget, with more than it had"
    elif (path / "recipe.json").exists():
        way = f"go on with it: sparring resume {path}"
    else:
        way = "remove it if nothing in it is needed"
    return RequestError(f"--out {path}: exists already; choose another name, or {way}")


def new_folder(name: str) -> Path:
    """`runs/NAME`, or `runs/NAME-2`, `-3` ... where that exists."""
    base = Path("runs") / "".join(c if c.isalnum() or c in "-_." else "-" for c in name)
    path, number = base, 1
    while path.exists():
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    return path


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file; what is none, such as a last line that was cut off, is left out."""
    return read_lines(path, [])


def _plane_picture(plane: Plane, data: DataSpec) -> Image.Image:
    """In the units of the law, where the data are drawn from a known one."""
    toy = toy_of(data)
    scale = 1.0 if toy is None else toy.scale
    view = View(tuple(v * scale for v in plane.low), tuple(v * scale for v in plane.high))
    logits, slopes = (None if t is None else t.double().numpy() for t in (plane.logits, plane.slopes))
    return draw_plane(plane.real.double().numpy() * scale, plane.fake.double().numpy() * scale, view, logits, slopes)


def _clock(event: Stepped | Scored | Alarmed | Faulted | Mended) -> dict[str, Any]:
    clock = event.clock
    return {"images": clock.images, "step": clock.step, "epoch": round(clock.epoch, 4)}


def _images_of(line: bytes) -> float:
    try:
        row = json.loads(line)
        found = as_number(row.get("at_images", row["images"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        found = None
    return float("inf") if found is None else found
