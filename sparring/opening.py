"""A run's folder, opened for reading: what was asked, and its checkpoints, of which damaged ones are passed over."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from torch import Tensor

from sparring import __version__
from sparring.core.errors import RequestError
from sparring.core.files import DamagedError, read_json
from sparring.core.game import Prior
from sparring.core.protocols import DataSpec, NetworkSpec
from sparring.core.sized import no_larger_than
from sparring.core.spec import from_json, to_json
from sparring.train.checkpoint import checkpoints, load_checkpoint, named_best, read_meta
from sparring.train.recipe import Recipe

FORMAT = 1


class Request(NamedTuple):
    """What `recipe.json` holds: the recipe, the name or file it came from, why its choices were made, and where."""

    recipe: Recipe
    origin: str
    reasons: tuple[str, ...]
    environment: dict[str, Any]


class Opened(NamedTuple):
    """A whole checkpoint: its JSON file, its content, and a sentence for each that was passed over."""

    path: Path
    tensors: dict[str, Tensor]
    meta: dict[str, Any]
    notes: tuple[str, ...]


def open_run(path: Path, trusted: tuple[ModuleType, ...] = ()) -> tuple[Request, DataSpec]:
    """What a run folder was asked to do, and what its data looked like.

    Raises `RequestError` when it is no run folder, or one of another version.
    """
    data = _read_request(path)
    recipe = from_json(data.get("recipe"), trusted)
    spec = from_json(data.get("data"))
    origin, choices, here = (data.get(name) for name in ("origin", "choices", "environment"))
    if not (
        isinstance(recipe, Recipe)
        and isinstance(spec, DataSpec)
        and isinstance(origin, str)
        and isinstance(choices, list)
        and isinstance(here, dict)
    ):
        raise RequestError(f"{path / 'recipe.json'}: holds no recipe with its data, origin, choices and environment")
    return Request(recipe, origin, tuple(map(str, choices)), here), spec


def open_generator(path: Path, trusted: tuple[ModuleType, ...] = ()) -> tuple[NetworkSpec, Prior, DataSpec]:
    """What is needed of a run folder to draw from it: the rest of its recipe may come from a file that is not here."""
    data = _read_request(path)
    recipe = data.get("recipe")
    parts = recipe if isinstance(recipe, dict) else {}
    generator, prior = (from_json(parts.get(part), trusted) for part in ("generator", "prior"))
    spec = from_json(data.get("data"))
    if not (isinstance(generator, NetworkSpec) and isinstance(prior, Prior) and isinstance(spec, DataSpec)):
        raise RequestError(f"{path / 'recipe.json'}: holds no generator")
    return generator, prior, spec


def refuse_links(run: Path) -> None:
    """Raises `RequestError` for symbolic links in a run's folder: who writes there must not write elsewhere."""
    links = [path for path in run.rglob("*") if path.is_symlink()]
    if links:
        raise RequestError(
            f"{links[0]}: a link, through which a run would write elsewhere; put what it names in its place"
        )


@contextmanager
def no_larger_than_weights(run: Path) -> Iterator[None]:
    """Within it, the networks of a run's recipe are made, which have no more numbers than its largest checkpoint bytes.

    Raises `RequestError` when they have, or when there is no checkpoint, and `DamagedError` when none is whole.
    """
    files = [path.with_suffix(".safetensors") for path in _checkpoints(run)]
    try:
        with no_larger_than(max((file.stat().st_size for file in files if file.exists()), default=0)):
            yield
    except RequestError:
        open_checkpoint(run, "last")  # where the weights are damaged, the recipe is not to blame
        raise


def open_checkpoint(run: Path, which: str, expected: Mapping[str, Tensor] | None = None) -> Opened:
    """A checkpoint of a run: `last`, `best` (the last where nothing was scored), or the images it was made at.

    Where `last` is damaged, the one before it is opened; where `best` is, the next best that the newest one remembers,
    or else the last. The notes say so. `expected` are tensors that it must hold, as in `load_checkpoint`. Raises
    `RequestError` when there is none, and `DamagedError` when none that would do is whole.
    """
    folder, found = run / "checkpoints", _checkpoints(run)
    if which not in ("best", "last"):
        path = _asked(found, which)
        return Opened(path, *load_checkpoint(path, expected), ())
    order, notes = found[::-1], list[str]()
    if which == "best":
        best = named_best(folder)
        if best is None and (folder / "best.json").exists():
            notes.append(f"{folder / 'best.json'}: damaged, it names no checkpoint")
        order = _by_score(order, best)
    for path in order:
        try:
            tensors, meta = load_checkpoint(path, expected)
        except DamagedError as error:
            if str(error) not in notes:
                notes.append(str(error))
            continue
        if notes:
            notes.append(f"instead the checkpoint at {int(path.stem):,} images is used")
        return Opened(path, tensors, meta, tuple(notes))
    raise DamagedError(
        f"{notes[0]}; no checkpoint of {run} is whole, {len(found)} damaged; move {folder} away and resume the run to "
        "make it again from its beginning"
    )


def hash_but_budget(recipe: Recipe) -> str:
    """A SHA-256 of all of a recipe but its budget, which a run may be given anew."""
    said = to_json(recipe)
    del said["train"]["budget"]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _by_score(newest_first: list[Path], best: int | None) -> list[Path]:
    """Checkpoints, the best first: the one that is named so, then those that the newest remembers, then the newest."""
    folder = newest_first[0].parent
    leaders: list[int] = []
    for path in newest_first:
        try:
            leaders = [int(images) for images, _ in read_meta(path)["scores"]["leaders"]]
            break
        except DamagedError:
            continue
        except RequestError:  # of a newer version
            raise
        except (KeyError, TypeError, ValueError):
            continue
    first = [] if best is None else [folder / f"{best:012d}.json"]
    first += [path for path in (folder / f"{images:012d}.json" for images in leaders) if path in newest_first]
    return list(dict.fromkeys([*first, *newest_first]))


def _checkpoints(run: Path) -> list[Path]:
    found = checkpoints(run / "checkpoints")
    if not any(path.exists() for path in found):  # the tensors of the first may be there, and their JSON not yet
        raise RequestError(f"{run}: has no checkpoint yet; train for longer, or resume it")
    return found


def _asked(found: list[Path], which: str) -> Path:
    for path in found:
        if path.stem == which.zfill(12):
            return path
    kept = ", ".join(str(int(p.stem)) for p in found)
    raise RequestError(f"--checkpoint {which!r:.40}: expected best, last or one of {kept}")


def _read_request(path: Path) -> dict[str, Any]:
    if not (path / "recipe.json").exists():
        raise RequestError(f"{path}: not a run folder (it has no recipe.json); expected one that `sparring train` made")
    try:
        data = read_json(path / "recipe.json")
    except DamagedError as error:
        raise DamagedError(f"{error}; put a copy of it in its place, or start a new run") from None
    if data.get("format") != FORMAT:
        raise RequestError(
            f"{path}: run folder of format {data.get('format')!r:.40}, written by sparring "
            f"{data.get('sparring')!r:.40}; this is {__version__} and reads format {FORMAT}"
        )
    return data
