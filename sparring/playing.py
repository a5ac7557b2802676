"""What plays a run out: the progress line, signals, and what is made of it at its end."""

from __future__ import annotations

import math
import signal
from types import FrameType
from typing import Any

import torch

from sparring.core.errors import TrainingError
from sparring.display import ProgressLine, count_text, time_text, value_lines
from sparring.metrics.judge import Judge
from sparring.metrics.provenance import provenance_text
from sparring.opening import Opened
from sparring.rundir import RunFolder
from sparring.train.trainer import Trainer
from sparring.verdict import best_checkpoint, generator_of, verdict

PER_CLASS = ("fid_class_", "share_class_", "accuracy_class_")
"""Values of single classes, which are for the report: a terminal has no room for them."""
NEAREST = 10
"""Samples that are shown beside the real ones nearest to them: one of each class, where there are ten."""


def follow(trainer: Trainer) -> int:
    """What all processes but the first do: the same, without a word and without a file."""
    with _Signals(trainer):
        if not trainer.done:
            for _ in trainer.run():
                pass
    return 0 if trainer.done else 130


def play(trainer: Trainer, folder: RunFolder, judge: Judge | None) -> int:
    """Plays a trainer out with a progress line, writes what is kept of a run that is done, and says what came of it.

    Returns an exit code: 130 where Ctrl-C or SIGTERM came, or nobody reads what is said any more. Raises
    `TrainingError` when training fails, or what a run can't do without can't be written.
    """
    line = ProgressLine()
    refused = list(trainer.source.report.get("refused", []))
    events = folder.record(iter(()) if trainer.done else trainer.run())
    with _Signals(trainer) as signals:
        try:
            told = 0
            for event in events:
                line.show(event, trainer.course.plan)
                if not told and folder.unwritten:
                    line.close()
                    told = note(f"{folder.unwritten[0]}; training goes on without pictures that can't be written")
            line.close()
            signals.over = True  # before anybody looks whether one was heard: none may fall in between
            if trainer.done and not signals.heard:
                return _finish(trainer, folder, judge)
            folder.draw(film=False)
        except TrainingError:
            line.close()
            folder.draw(film=False)
            raise
        except KeyboardInterrupt:
            line.close()
        except BrokenPipeError:  # nobody reads what is said any more: the state is saved as after Ctrl-C
            trainer.stop()
            for _ in events:
                pass
            return 130
        finally:
            if trainer.source.report.get("refused") != refused:
                folder.write_data(trainer.source.report)
            if len(folder.unwritten) > 1:
                note(f"{len(folder.unwritten)} pictures could not be written")
    print(f"stopped at {count_text(trainer.clock.images)} images, state saved")
    print(f"to go on: sparring resume {folder.path}")
    return 130


def _finish(trainer: Trainer, folder: RunFolder, judge: Judge | None) -> int:
    """What is made of a run at its end; all of it can be made again, until `finished.json` says that it is there."""
    clock = trainer.clock
    print(f"done: {count_text(clock.images)} images, {clock.epoch:.1f} epochs in {time_text(trainer.course.seconds)}")
    before = len(folder.unwritten)
    best = best_checkpoint(folder.path, trainer, judge)
    note(*best.notes)
    if trainer.course.scores.leaders:
        folder.name_best(best.meta["images"])
    model = folder.write_model(best)
    if judge is not None:
        _judge_finished(trainer, folder, judge, best)
    drawn = folder.draw()
    if len(folder.unwritten) == before:
        folder.finish(clock.images)
    else:
        note(f"{folder.unwritten[-1]}; what is missing is made by: sparring resume {folder.path}")
    newest = sorted((folder.path / "samples").glob("*.png"))[-1:]
    pictures = [*newest, *(path for path in drawn if path.name != "report.html")]
    for name, path in [
        *(("picture", p) for p in pictures),
        *(("report", p) for p in drawn if p not in pictures),
        ("model", model),
        ("run", folder.path),
    ]:
        print(f"{name:<8} {path}")
    return 0


def _judge_finished(trainer: Trainer, folder: RunFolder, judge: Judge, best: Opened) -> None:
    """The verdict on a finished run: stored, and said."""
    if math.prod(trainer.source.spec.shape) > 2:  # points of a plane are seen in the plane
        generator = generator_of(best, trainer)
        first = trainer.source.take(torch.arange(NEAREST) % len(trainer.source)).y
        asked = first.cpu() if first is not None and generator.data.y_shape else None  # classes are taken in turn
        folder.draw_nearest(generator.sample(NEAREST, labels=asked).x, trainer.source, judge.network)
    found = verdict(folder.path, trainer, judge.network)
    folder.write_verdict(found)
    print(f"ended: {found['stopped']}")
    print(f"best at {count_text(found['images'])} images: {provenance_text(found['provenance'])}")
    values = {name: value for name, value in found["values"].items() if not name.startswith(PER_CLASS)}
    print("\n".join(f"  {text}" for text in value_lines(values)))
    for text in found["notes"]:
        print(f"  note: {text}")
    print(f"how sure: {found['sure']}")


class _Signals:
    """While training, Ctrl-C and SIGTERM ask the trainer to save and stop; once that is over, they raise
    `KeyboardInterrupt`. A second one ends the process at once."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.heard = self.over = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Signals:
        self._before = {number: signal.signal(number, self._hear) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.heard = True
        for name in self._before:
            signal.signal(name, signal.SIG_DFL)
        if self.over:
            raise KeyboardInterrupt
        self.trainer.stop()


def note(*texts: str | None) -> int:
    """Says what is worth knowing beside the progress; returns how many there were."""
    said = [text for text in texts if text is not None]
    for text in said:
        print(f"note: {text}", flush=True)
    return len(said)
