"""What plays runs: `sparring train` and `sparring resume`, from the options to the finished folder."""

from __future__ import annotations

import argparse
import io
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from sparring.core.errors import RequestError
from sparring.core.files import remove_leftovers, user_path
from sparring.core.protocols import Source
from sparring.core.spec import to_json
from sparring.data.named import NAMES
from sparring.data.open import Data, parse_size
from sparring.data.streamed import Streamed
from sparring.display import count_text
from sparring.environment import differences, environment
from sparring.opening import (
    Opened,
    Request,
    hash_but_budget,
    no_larger_than_weights,
    open_checkpoint,
    open_run,
    refuse_links,
)
from sparring.ownership import owned
from sparring.playing import follow, note, play
from sparring.recipes.automatic import Choice, choose, load_file, settle
from sparring.recipes.mends import parse_mends
from sparring.rundir import RunFolder, new_folder, taken
from sparring.train.checkpoint import checkpoints
from sparring.train.memory import fit
from sparring.train.ranks import Ranks
from sparring.train.recipe import Recipe
from sparring.train.schedule import parse_budget
from sparring.train.trainer import Trainer
from sparring.verdict import judge_of_run


def train(options: argparse.Namespace) -> int:
    """`sparring train`: a new run, or with --dry-run what it would be."""
    with _company(find_device(options.device)) as ranks:
        return _train(options, ranks)


def _train(options: argparse.Namespace, ranks: Ranks) -> int:
    data = _data(options, ranks)
    source = data.load()
    if isinstance(source, Streamed):
        data = data.replace(stream=True)  # also when there is more memory on the day of a resume
    device = ranks.device
    choice = _choice(options, data, source)
    recipe, arithmetic = settle(choice.recipe, device)
    reasons = (*choice.reasons, *arithmetic)
    if options.dry_run:
        return _dry_run(recipe, source, reasons, device)
    out = Path(options.out) if options.out else None
    if out is not None and ranks.tell(out.exists()):
        raise taken(out)
    print(_found(source))
    for reason in reasons:
        print(f"  {reason}")
    held_out = recipe.source.load_held_out()
    judge = judge_of_run(recipe, source, held_out, device, options.features)
    # Before the folder: a recipe that can't be played leaves nothing behind.
    trainer = Trainer(recipe, source, device, judge, held_out, ranks)
    memory = fit(trainer)
    if not ranks.first:
        return follow(trainer)
    if memory:
        print(f"  {memory}")
        if trainer.micro is not None:  # how much is free is nothing that a run is known by, unless it follows from it
            reasons = (*reasons, memory)
    request = Request(
        recipe, options.recipe or recipe.name, reasons, environment(device, _recipe_file(options), ranks.count)
    )
    # A name is chosen now: another run may have begun meanwhile.
    folder = RunFolder.create(out or new_folder(source.spec.name), request, source.spec, source.report)
    with owned(folder.path) as warning:
        note(warning)
        print(f"  {_sizes(trainer)}")
        return play(trainer, folder, judge)


def resume(options: argparse.Namespace) -> int:
    """`sparring resume`: goes on from the last whole checkpoint, from the beginning where there is none yet, or
    finishes what is missing of a run that came to its end."""
    path = Path(options.run)
    trusted = (load_file(options.recipe),) if options.recipe else ()
    request, _ = open_run(path, trusted)
    refuse_links(path)
    with (
        _company(find_device(options.device or request.environment.get("device"))) as ranks,
        owned(path) if ranks.first else nullcontext() as warning,
    ):
        note(warning)
        if ranks.first:
            remove_leftovers(path)
        return _resume(path, trusted, options, ranks)


def _resume(path: Path, trusted: tuple[ModuleType, ...], options: argparse.Namespace, ranks: Ranks) -> int:
    request, data = open_run(path, trusted)  # again: before the folder was ours, somebody else may have gone on
    source, device = request.recipe.source.load(), ranks.device
    if source.spec.sha256 != data.sha256:
        raise RequestError(
            f"{path}: its data has changed: {request.recipe.source} had hash {data.sha256[:12]}, now "
            f"{source.spec.sha256[:12]}; restore the data, or start a new run"
        )
    recipe = request.recipe
    if options.budget:
        recipe = recipe.replace(train=recipe.train.replace(budget=parse_budget(options.budget)))
    held_out = recipe.source.load_held_out()
    judge = judge_of_run(recipe, source, held_out, device, options.features)
    found = checkpoints(path / "checkpoints")
    begun = any(checkpoint.exists() for checkpoint in found)
    with no_larger_than_weights(path) if begun else nullcontext():
        trainer = Trainer(recipe, source, device, judge, held_out, ranks)
    here = environment(device, _recipe_file(options), ranks.count)
    changes = differences(request.environment, here)
    if not begun:
        if not ranks.first:
            return follow(trainer)
        note(*changes)
        print(f"{path}: was stopped before its first checkpoint; it begins again, and is the same run by its seed")
        folder = RunFolder.write_request(path, request._replace(recipe=recipe, environment=here), data)
        folder.rewind(-1)
        return play(trainer, folder, judge)
    opened = open_checkpoint(path, "last", trainer.state()[0])
    _load(trainer, opened)
    made_for = opened.meta.get("recipe_sha256")
    if made_for is not None and made_for != hash_but_budget(request.recipe):
        changes.append("recipe.json is not what it was at the checkpoint: nothing can be promised of what follows")
    # A new budget of which no checkpoint knows yet, because the run was stopped before.
    unknown = opened.meta.get("budget", to_json(recipe.train.budget)) != to_json(recipe.train.budget)
    if options.budget or unknown:
        trainer.set_budget(recipe.train.budget)
    if not ranks.first:
        return follow(trainer)
    folder = RunFolder(path, request, data)
    if trainer.done and folder.finished(trainer.clock.images):
        raise RequestError(f"{path}: its budget of {recipe.train.budget} is spent; give a larger one with --budget")
    note(*opened.notes, *changes)
    images = opened.meta["images"]
    reasons = (*request.reasons, *(f"resumed at {images:,} images, {change}" for change in changes))
    folder = RunFolder.write_request(path, request._replace(recipe=recipe, reasons=reasons, environment=here), data)
    folder.go_on_from(opened, {p.stem for p in found if p.stem > opened.path.stem})
    if trainer.done:
        print(f"{path}: came to its end at {count_text(images)} images; what is missing is made")
    else:
        print(f"{path}: goes on at {count_text(images)} images")
    return play(trainer, folder, judge)


@contextmanager
def _company(device: torch.device) -> Iterator[Ranks]:
    """The processes that torchrun started, of which only the first speaks and writes; or this one alone."""
    ranks = Ranks.start(device)
    try:
        with nullcontext() if ranks.first else redirect_stdout(io.StringIO()):
            yield ranks
    finally:
        ranks.leave()


def _load(trainer: Trainer, opened: Opened) -> None:
    """Takes a checkpoint's state in; whole as it is, it may still be one of another game."""
    try:
        _check_numbers(opened.meta)
        trainer.load(opened.tensors, opened.meta)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        if isinstance(error, RequestError):
            raise
        raise RequestError(
            f"{opened.path}: holds no state of this run ({type(error).__name__}: {error}); was recipe.json changed, or "
            "the checkpoint made by another version?"
        ) from None


def _check_numbers(meta: dict[str, Any]) -> None:
    """Raises `ValueError` for what would be found out only when the run goes on."""
    counts = {"step": 0, "num_grids": 0, "faults": 0, "micro": 1, "landing": 0}
    for name, least in counts.items():
        found = meta.get(name)
        if found is not None and (type(found) is not int or found < least):
            raise ValueError(f"{name} is {found!r:.40}")
    if meta["step"] is None or meta["num_grids"] is None or not meta["plan"]:
        raise ValueError("step, num_grids or plan is empty")
    if not (0 <= meta["seconds"] < math.inf):
        raise ValueError(f"seconds are {meta['seconds']!r:.40}")


def _recipe_file(options: argparse.Namespace) -> Path | None:
    name = options.recipe or ""
    return Path(name.rpartition(":")[0]) if ".py:" in name else None


def _data(options: argparse.Namespace, ranks: Ranks) -> Data:
    place = user_path(options.source)
    name = options.source
    if name.startswith("hf:"):
        from sparring.data import hub

        name = ranks.tell(hub.pin(name) if ranks.first else None)  # so that a resumed run reads the same
    elif name not in NAMES and place.exists():
        name = str(place.resolve())  # so that a run can be resumed from another folder
    data = Data(
        source=name,
        size=parse_size(options.size) if options.size else None,
        kind=options.kind or "auto",
        labels=options.labels or "use",
        hold_out=options.hold_out or 0,
    )
    for path, text in _sets(options.sets):
        if path.startswith("source."):
            data = data.with_path(path.removeprefix("source."), text)
    return data


def _choice(options: argparse.Namespace, data: Data, source: Source) -> Choice:
    budget = parse_budget(options.budget) if options.budget else None
    recipe, reasons = choose(
        data,
        source.spec,
        recipe=options.recipe,
        budget=budget,
        seed=options.seed,
        num_samples=len(source),
    )
    if options.features:
        recipe = recipe.replace(scoring=recipe.scoring.replace(features=options.features))
    if options.mend:
        recipe = recipe.replace(train=recipe.train.replace(mend=parse_mends(options.mend)))
    for path, text in _sets(options.sets):
        if not path.startswith("source."):
            recipe = recipe.with_path(path, text)
    return Choice(recipe, reasons)


def _sets(texts: list[str]) -> list[tuple[str, str]]:
    pairs = [text.partition("=") for text in texts]
    for path, equals, _ in pairs:
        if not equals or not path:
            raise RequestError(f"--set {path!r}: expected PATH=VALUE, such as train.batch=128")
    return [(path, value) for path, _, value in pairs]


def find_device(name: str | None) -> torch.device:
    """A device by name, or the best there is. Raises `RequestError` for one that is not available here."""
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(name, False):
        raise RequestError(
            f"--device {name}: not available here; choose from {', '.join(k for k, v in available.items() if v)}"
        )
    return torch.device(name)


def _found(source: Source) -> str:
    spec, report = source.spec, source.report
    shape = "×".join(map(str, spec.shape))
    text = f"{spec.name}: {len(source)} samples of {shape}"
    if report.get("refused"):
        text += f", {len(report['refused'])} files refused (see data.json)"
    return "\n".join([text, *(f"  note: {note}" for note in report.get("notes", ()))])


def _sizes(trainer: Trainer) -> str:
    counts = {name: sum(p.numel() for p in net.parameters()) for name, net in trainer.nets.items()}
    return ", ".join(f"{name} {count_text(count)} parameters" for name, count in reversed(counts.items()))


def _dry_run(recipe: Recipe, source: Source, reasons: tuple[str, ...], device: torch.device) -> int:
    print(_found(source))
    for reason in reasons:
        print(f"  {reason}")
    trainer = Trainer(recipe, source, device)
    print(f"  {fit(trainer)}\n  {_sizes(trainer)}")
    print(json.dumps(to_json(recipe), indent=1))
    return 0
