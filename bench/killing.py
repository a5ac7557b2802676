"""Runs that are killed at random moments and resumed until they end, beside one that was left alone.

    python bench/killing.py [--jobs "mlp mnist" "dcgan digits"] [--kills 60] [--told 20] [--seed 0] [--quick]
                            [--work DIR] [--out docs/figures/killing.json]

Each job is a command, `sparring train`, with a budget in images. It runs once undisturbed, and once more in a process
that gets SIGKILL at up to `--kills` moments (fewer where the run ends before) and is followed by `sparring resume` each
time. Then both folders are compared:
every tensor of the last checkpoint bit by bit (weights, averages, optimiser states), the model and the other
checkpoints that both keep, every row of log, scores and alarms, the verdict, every pixel of the samples, of the advice
and of the nearest neighbours. Only what a clock says (`CLOCKS`) is left out.

The process marks each moment on a pipe: a step, a file among the checkpoints that is opened, half written, renamed or
removed, a chunk of an evaluation, the end of the training. A third of the kills fall on a step drawn at random; the
others are aimed at the writing of a checkpoint, at an evaluation, at the start and at what follows the training. Those
come after a random share of the time that the section took in the undisturbed run; of those aimed at a checkpoint, half
find the process held, with half a file written or the next file operation at hand, because these take less time than a
signal needs. What the process was doing when it died is read off its last mark, not off what was aimed at.

`lost`: what has to be done again after a kill: steps, and seconds of training since the last checkpoint that is whole.
`left_behind`: temporary files, and tensors without their JSON, that are still there when the run has ended.
`told`: SIGTERM and SIGINT in turn at random moments of the first job: seconds until the process has ended, its exit
code, and how many steps the checkpoint is from the last that had begun by then (0: that one is in it).
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Protocol

import numpy as np
from PIL import Image
from safetensors.numpy import load_file

CLOCKS = ("seconds", "scoring_seconds", "scores.seconds", "images_per_second", "json_sha256")
"""Values that say how long something took, and the hash of a file that holds such: the only ones in which two equal
runs may differ."""
FINISHING = "what follows the training"
SECTIONS = {
    "step": "training",
    "tensors": "checkpoint: before its tensors",
    "tensors half": "checkpoint: half of its tensors written",
    "tensors whole": "checkpoint: its tensors written, not renamed",
    "json": "checkpoint: between its two files",
    "json half": "checkpoint: half of its JSON written",
    "json whole": "checkpoint: its JSON written, not renamed",
    "best half": "checkpoint: half of best.json written",
    "best whole": "checkpoint: best.json written, not renamed",
    "remove": "checkpoint: removing an old one",
    "evaluation": "evaluation",
    "ended": FINISHING,
}
"""What the process does after each of its marks."""
_CHECKPOINT = re.compile(r"(\d{12})\.(safetensors|json)")
_SECONDS_AT_MOST = 900.0
_EARLY = 0.5  # of what follows the training: a run that is quicker there than the undisturbed one was has ended unhit


class Mark(NamedTuple):
    """One line of the pipe: seconds on the machine's monotonic clock, what begins, and the steps done by then."""

    at: float
    name: str
    step: int


class Moment(NamedTuple):
    """When to send a signal: `share` of the section's usual seconds after its first mark from `step` on, or, `held`, as
    soon as the process waits there. A section of None is the start of the process."""

    section: str | None
    step: int
    share: float
    held: bool = False


class Process(Protocol):
    """A command that runs in a process group of its own."""

    pid: int

    def wait(self, timeout: float | None = None) -> int: ...


Start = Callable[[Sequence[str], Path, int, str], Process]
"""Starts a command in a folder; it marks its moments on a file descriptor, and waits at the one that is named."""


class Job(NamedTuple):
    """What is asked of `sparring train`, without a folder."""

    name: str
    arguments: tuple[str, ...]


class Life(NamedTuple):
    """One process from its start to its death: `signalled` is when it was sent a signal, if it lived to see it."""

    code: int
    marks: list[Mark]
    started: float
    ended: float
    signalled: float | None
    text: str


def _job(source: str, recipe: str, budget: str, *more: str, **sets: float) -> Job:
    """A recipe with checkpoints and scores many times in the minute that it takes. Arithmetic is named, because what is
    chosen automatically is measured."""
    fixed = {"train.precision": "float32", "train.matmul": "highest", "train.save_seconds": 0.5, "scoring.times": 12}
    settings = fixed | {name.replace("_", ".", 1): value for name, value in sets.items()}
    texts = (text for name, value in settings.items() for text in ("--set", f"{name}={value}"))
    return Job(f"{recipe} {source}", (source, "--recipe", recipe, "--budget", budget, *more, *texts))


JOBS = (
    _job("mnist", "mlp", "64kimg", scoring_samples=1500, scoring_spacing=2),
    _job("digits", "dcgan", "25600img", "--mend", "rollback", scoring_samples=1000, scoring_spacing=1),
)


def watch(arguments: Sequence[str], marks: int, hold: str) -> int:
    """The command itself, which marks its moments on a file descriptor.

    `hold` is `NAME STEP`: at the first mark of that name from that step on the process waits to be killed; or empty.
    The package is observed from outside: functions of it are wrapped, and the interpreter reports file operations.
    """
    from sparring.cli import main
    from sparring.metrics.judge import Judge
    from sparring.train.trainer import Trainer

    held_at, _, from_step = hold.partition(" ")
    held_at = held_at.replace("-", " ")
    step = 0

    def mark(name: str) -> None:
        os.write(marks, f"{time.monotonic()} {step} {name}\n".encode())
        if name == held_at and step >= int(from_step):
            time.sleep(_SECONDS_AT_MOST)

    def kind_of(path: Any) -> str | None:
        name = Path(path).name if isinstance(path, str | os.PathLike) else ""
        found = _CHECKPOINT.search(name)
        if found:
            return "tensors" if found[2] == "safetensors" else "json"
        return "best" if "best.json" in name else None

    def files(event: str, details: tuple[Any, ...]) -> None:
        if event == "open":
            kind = kind_of(details[0])
            if kind and details[2] & (os.O_WRONLY | os.O_RDWR):
                mark(kind)
        elif event == "os.rename":
            kind = kind_of(details[1])
            if kind:
                mark(f"{kind} whole")
        elif event == "os.remove" and kind_of(details[0]):
            mark("remove")

    class Halved(io.BufferedWriter):
        def write(self, content: Any) -> int:
            half = len(content) // 2
            super().write(content[:half])
            self.flush()
            mark(f"{kind_of(self.name)} half")
            return half + super().write(content[half:])

    open_file = io.open

    def opened(file: Any, mode: str = "r", *more: Any, **named: Any) -> Any:
        return Halved(io.FileIO(file, "w")) if mode == "wb" and kind_of(file) else open_file(file, mode, *more, **named)

    io.open = opened
    sys.addaudithook(files)
    take_step, run, load, score = Trainer.take_step, Trainer.run, Trainer.load, Judge.score

    def marked_step(self: Trainer) -> None:
        nonlocal step
        step = self.step
        mark("step")
        take_step(self)
        step = self.step

    def marked_run(self: Trainer) -> Iterator[Any]:
        yield from run(self)
        mark("ended")

    def marked_load(self: Trainer, tensors: Any, meta: Any) -> None:
        load(self, tensors, meta)
        if self.done:
            mark("ended")

    def marked_score(self: Judge, sample: Callable[[int, int], Any], **more: Any) -> Any:
        def marked_sample(start: int, count: int) -> Any:
            mark("evaluation")
            return sample(start, count)

        found = score(self, marked_sample, **more)
        mark("judged")
        return found

    Trainer.take_step, Trainer.run, Trainer.load = marked_step, marked_run, marked_load  # type: ignore[method-assign]
    Judge.score = marked_score  # type: ignore[method-assign]
    return main(arguments)


def command(arguments: Sequence[str], marks: int, hold: str) -> list[str]:
    """The command line of a watched command."""
    return [sys.executable, __file__, "watch", str(marks), hold, *arguments]


def start(arguments: Sequence[str], folder: Path, marks: int, hold: str) -> Process:
    """A new interpreter, in a session of its own; what it says goes to `said.txt`."""
    with (folder / "said.txt").open("wb") as said:
        return subprocess.Popen(
            command(arguments, marks, hold),
            cwd=folder,
            env=environment(folder),
            stdout=said,
            stderr=subprocess.STDOUT,
            pass_fds=(marks,),
            start_new_session=True,
        )


def environment(folder: Path) -> dict[str, str]:
    """One thread, because sums depend on how they are shared out; a cache that no other run has filled."""
    return os.environ | {"OMP_NUM_THREADS": "1", "SPARRING_CACHE": str(folder / "cache")}


def live(
    arguments: Sequence[str],
    folder: Path,
    moment: Moment | None = None,
    usual: dict[str | None, float] | None = None,
    number: int = signal.SIGKILL,
    begin: Start = start,
) -> Life:
    """Starts a command, sends it the signal at the moment, and waits for its end."""
    hold = ""
    if moment is not None and moment.held:
        hold = f"{(moment.section or '').replace(' ', '-')} {moment.step}"
    reader, writer = os.pipe()
    started = time.monotonic()
    process = begin(arguments, folder, writer, hold)
    os.close(writer)
    signalled: float | None = None

    def send(after: float) -> None:
        nonlocal signalled
        time.sleep(after)
        signalled = time.monotonic()
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            signalled = None

    marks = []
    with os.fdopen(reader, encoding="utf-8") as lines:
        if moment is not None and moment.section is None:
            send(moment.share * (usual or {})[None])
        for line in lines:
            if not line.endswith("\n"):
                break
            at, step, name = line.rstrip("\n").split(" ", 2)
            marks.append(Mark(float(at), name, int(step)))
            if moment is not None and signalled is None and (name, int(step) >= moment.step) == (moment.section, True):
                send(0.0 if moment.held else moment.share * (usual or {}).get(name, 0.0))
    code = process.wait(timeout=_SECONDS_AT_MOST)
    return Life(code, marks, started, time.monotonic(), signalled, (folder / "said.txt").read_text("utf-8", "replace"))


def usual_seconds(life: Life) -> dict[str | None, float]:
    """How long each section of an undisturbed run takes: from its mark to the next, the median; the start and what
    follows the training from end to end."""
    spans: dict[str, list[float]] = {}
    for mark, after in itertools.pairwise(life.marks):
        spans.setdefault(mark.name, []).append(after.at - mark.at)
    usual: dict[str | None, float] = {name: statistics.median(found) for name, found in spans.items()}
    end = next(mark.at for mark in life.marks if mark.name == "ended")
    first = next(mark.at for mark in life.marks if mark.name == "step")
    return usual | {None: first - life.started, "ended": life.ended - end}


def doing(marks: Sequence[Mark]) -> str:
    """What a process with these marks was doing last."""
    names = [mark.name for mark in marks]
    if "ended" in names:
        return FINISHING
    if "step" not in names:
        return "starting"
    return next(SECTIONS.get(name, "training") for name in reversed(names))


def moments(rng: random.Random, steps: int, kills: int) -> list[Moment]:
    """Moments in the order in which a run meets them: a third on any step, a third in the writing of checkpoints, the
    others in evaluations, at the start and after the training."""
    anywhere, writing, judging = kills // 3, kills // 3, kills // 6
    after = max(1, kills // 12)
    starting = kills - anywhere - writing - judging - after
    places = [name for name, section in SECTIONS.items() if section.startswith("checkpoint") and name != "tensors"]
    found = [Moment("step", rng.randrange(steps), rng.random()) for _ in range(anywhere)]
    found += [
        Moment(places[n % len(places)], rng.randrange(steps * 9 // 10), rng.random(), held=n // len(places) % 2 == 0)
        for n in range(writing)
    ]
    found += [Moment("evaluation", rng.randrange(steps * 9 // 10), rng.random()) for _ in range(judging)]
    found += [Moment(None, rng.randrange(steps), rng.random()) for _ in range(starting)]
    found.sort(key=lambda moment: moment.step)
    return [*found, *(Moment("ended", 0, rng.random() * _EARLY) for _ in range(after))]


class Killed(NamedTuple):
    """What came of a run with signals: its deaths, what could not be read, what was refused, and what was lost."""

    deaths: list[tuple[str, Life]]
    unreadable: list[str]
    refused: list[str]
    lost_steps: list[int]
    lost_seconds: list[float]
    off: list[int | None]
    """For each signal, the steps between the checkpoint and the last step that had begun; None where none had."""


def signalled_run(
    job: Job,
    folder: Path,
    at: Sequence[Moment],
    usual: dict[str | None, float],
    numbers: Sequence[int] = (signal.SIGKILL,),
    begin: Start = start,
) -> Killed:
    """Runs a job in `folder/run`, sends a signal at each of the moments (the `numbers` in turn), resumes it after each,
    and lets it come to its end."""
    folder.mkdir(parents=True)
    found = Killed([], [], [], [], [], [])
    run = folder / "run"
    saved: dict[int, float] = {}
    for moment, number in [*zip(at, itertools.cycle(numbers), strict=False), (None, 0)]:
        life = live(_next(job, run), folder, moment, usual, number, begin)
        saved |= {mark.step: mark.at for mark in life.marks if mark.name == "tensors"}
        if life.signalled is None or (number == signal.SIGKILL and life.code != -signal.SIGKILL):
            if life.code != 0 and "is spent" not in life.text:  # killed when all was there
                found.refused.append(f"exit code {life.code}: {' '.join(life.text.strip().splitlines()[-1:])}")
            break
        found.deaths.append((doing([mark for mark in life.marks if mark.at <= life.signalled]), life))
        names, step = whole_checkpoints(run, found.unreadable)
        begun = [mark.step for mark in life.marks if mark.name == "step" and mark.at <= life.signalled]
        found.off.append(None if not begun or not names else begun[-1] + 1 - step)
        if begun:
            found.lost_steps.append(max(0, begun[-1] - step))
            trained = next(mark.at for mark in life.marks if mark.name == "step")
            found.lost_seconds.append(life.signalled - max(saved.get(step, trained) if names else trained, trained))
        if life.code == 0:  # told when all was done
            break
    return found


def _next(job: Job, run: Path) -> list[str]:
    """The command that goes on: a folder without a request is one that `train` had no time to begin."""
    if (run / "recipe.json").exists():
        return ["resume", "run"]
    shutil.rmtree(run, ignore_errors=True)
    return ["train", *job.arguments, "--out", "run"]


def whole_checkpoints(run: Path, unreadable: list[str]) -> tuple[list[str], int]:
    """The checkpoints of a folder and the step of the last; those that can't be read are added to `unreadable`. Tensors
    without a JSON file are no checkpoint yet."""
    from sparring.core.errors import RequestError
    from sparring.train.checkpoint import load_checkpoint

    step, names = 0, []
    for path in sorted(p for p in (run / "checkpoints").glob("*.json") if p.stem.isdigit()):
        try:
            step = load_checkpoint(path)[1]["step"]
            names.append(path.name)
        except RequestError as error:
            unreadable.append(str(error))
    best = run / "checkpoints" / "best.json"
    if best.exists():
        named = json.loads(best.read_bytes())["checkpoint"]
        if f"{named}.json" not in names:
            unreadable.append(f"best.json names {named}, which is not there")
    return names, step


def left_behind(run: Path) -> list[str]:
    """What no finished run needs: temporary files, and halves of checkpoints."""
    halves = (p for p in (run / "checkpoints").glob("*.safetensors") if not p.with_suffix(".json").exists())
    return sorted(str(p.relative_to(run)) for p in [*run.rglob("*.tmp"), *halves])


def differences(one: Path, other: Path) -> list[str]:
    """In what two run folders differ, clocks apart; empty when they are the same run."""
    found = []
    stems = [{p.stem for p in (run / "checkpoints").glob("*.safetensors")} for run in (one, other)]
    if not stems[0] or not stems[1] or max(stems[0]) != max(stems[1]):
        return [f"last checkpoints: {sorted(stems[0])[-1:]} and {sorted(stems[1])[-1:]}"]
    common = [f"checkpoints/{stem}" for stem in sorted(stems[0] & stems[1])]
    for name in (*(f"{stem}.safetensors" for stem in common), "model/generator.safetensors"):
        found += _unequal_tensors(name, one / name, other / name)
    for name in (*(f"{stem}.json" for stem in common), "checkpoints/best.json", "recipe.json", "data.json"):
        found += _unequal_values(name, _json(one / name), _json(other / name))
    for name in ("verdict.json", "model/config.json"):
        found += _unequal_values(name, _json(one / name), _json(other / name))
    for name in ("log.jsonl", "scores.jsonl", "alarms.jsonl"):
        found += _unequal_values(name, _rows(one / name), _rows(other / name))
    pictures = [{str(p.relative_to(run)) for p in run.glob("*/*.png")} for run in (one, other)]
    found += [f"{name}: only in one of them" for name in sorted(pictures[0] ^ pictures[1])]
    for name in (*sorted(pictures[0] & pictures[1]), "nearest.png"):
        if not _same_pixels(one / name, other / name):
            found.append(f"{name}: other pixels")
    return found


def _unequal_tensors(name: str, one: Path, other: Path) -> list[str]:
    """Bit by bit: NaN equals NaN, and -0 is not 0."""
    if one.exists() != other.exists():
        return [f"{name}: only in one of them"]
    if not one.exists():
        return []
    a, b = load_file(one), load_file(other)
    if list(a) != list(b):
        return [f"{name}: other tensors, {sorted(set(a) ^ set(b))[:3]}"]
    same = {k: (a[k].dtype, a[k].shape, a[k].tobytes()) == (b[k].dtype, b[k].shape, b[k].tobytes()) for k in a}
    return [f"{name}: {k}" for k in a if not same[k]]


def _unequal_values(name: str, one: Any, other: Any, path: str = "") -> list[str]:
    if path in CLOCKS or path.partition(".")[2] in CLOCKS:
        return []
    if isinstance(one, dict) and isinstance(other, dict):
        dot = f"{path}." if path else ""
        keys = [*one, *(key for key in other if key not in one)]
        return [text for k in keys for text in _unequal_values(name, one.get(k), other.get(k), f"{dot}{k}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        rows = enumerate(zip(one, other, strict=True))
        return [text for i, (a, b) in rows for text in _unequal_values(name, a, b, path or str(i))]
    if json.dumps(one) == json.dumps(other):
        return []
    count = f" ({len(one)} and {len(other)} rows)" if isinstance(one, list) and isinstance(other, list) else ""
    return [f"{name}: {path}{count}"]


def _same_pixels(one: Path, other: Path) -> bool:
    if not (one.exists() and other.exists()):
        return one.exists() == other.exists()
    with Image.open(one) as a, Image.open(other) as b:
        return a.mode == b.mode and np.array_equal(np.asarray(a), np.asarray(b))


def _json(path: Path) -> Any:
    return json.loads(path.read_bytes()) if path.exists() else None


def _rows(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def prove(job: Job, folder: Path, kills: int, seed: int) -> tuple[dict[str, Any], Life]:
    """One job, undisturbed and killed; the figures, and the life of the undisturbed one."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "whole").mkdir(parents=True)
    life = live(["train", *job.arguments, "--out", "run"], folder / "whole")
    if life.code != 0:
        sys.exit(f"{job.name}: exit code {life.code}\n{life.text}")
    steps = max(mark.step for mark in life.marks)
    began = time.monotonic()
    at = moments(random.Random(f"{job.name} {seed}"), steps, kills)
    killed = signalled_run(job, folder / "killed", at, usual_seconds(life))
    different = differences(folder / "whole" / "run", folder / "killed" / "run")
    return {
        "job": job.name,
        "command": " ".join(["sparring train", *job.arguments]),
        "steps": steps,
        "checkpoints": sum(mark.name == "json whole" for mark in life.marks),
        "evaluations": sum(mark.name == "judged" for mark in life.marks),
        "kills": len(killed.deaths),
        "while": dict(sorted(Counter(what for what, _ in killed.deaths).items())),
        "unreadable": killed.unreadable,
        "refused": killed.refused,
        "differences": different,
        "left_behind": left_behind(folder / "killed" / "run"),
        "lost_steps": spread(killed.lost_steps),
        "lost_seconds": spread(killed.lost_seconds),
        "seconds_undisturbed": round(life.ended - life.started, 1),
        "seconds_killed": round(time.monotonic() - began, 1),
    }, life


def tell(job: Job, folder: Path, undisturbed: Life, count: int, seed: int) -> dict[str, Any]:
    """SIGTERM and SIGINT in turn, at random moments of a job whose undisturbed run is in `folder/whole`."""
    rng = random.Random(f"told {seed}")
    steps = max(mark.step for mark in undisturbed.marks)
    judging, after = count // 5, count // 5
    at = [Moment("step", rng.randrange(steps), rng.random()) for _ in range(count - judging - after)]
    at += [Moment("evaluation", rng.randrange(steps * 9 // 10), rng.random()) for _ in range(judging)]
    at = [*sorted(at, key=lambda m: m.step), *(Moment("ended", 0, rng.random() * _EARLY) for _ in range(after))]
    told = signalled_run(job, folder / "told", at, usual_seconds(undisturbed), (signal.SIGTERM, signal.SIGINT))
    rows: list[dict[str, Any]] = [
        {
            "signal": ("SIGTERM", "SIGINT")[number % 2],
            "while": what,
            "seconds_until_exit": round(life.ended - (life.signalled or 0), 2),
            "exit_code": life.code,
            "steps_off": None if what == FINISHING else off,
        }
        for number, ((what, life), off) in enumerate(zip(told.deaths, told.off, strict=True))
    ]
    return {
        "job": job.name,
        "signals": rows,
        "seconds_until_exit": spread([row["seconds_until_exit"] for row in rows]),
        "exit_codes": dict(Counter(str(row["exit_code"]) for row in rows)),
        "unreadable": told.unreadable,
        "refused": told.refused,
        "differences": differences(folder / "whole" / "run", folder / "told" / "run"),
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    return {"median": round(statistics.median(values), 2), "most": round(max(values), 2)}


def measure() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", nargs="*", default=[job.name for job in JOBS])
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--told", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="12 kills and 4 signals of the digits alone")
    parser.add_argument("--work", type=Path, help="where the runs are kept; default: a folder that is removed")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.quick:
        options.jobs, options.kills, options.told = ["dcgan digits"], 12, 4
    with tempfile.TemporaryDirectory() as made:
        work = options.work or Path(made)
        rows, told = [], None
        for job in (job for job in JOBS if job.name in options.jobs):
            folder = work / job.name.replace(" ", "-")
            row, life = prove(job, folder, options.kills, options.seed)
            rows.append(row)
            print(json.dumps(row, indent=1), flush=True)
            if told is None and options.told:
                told = tell(job, folder, life, options.told, options.seed)
                print(json.dumps(told, indent=1), flush=True)
    if options.out:
        options.out.write_text(json.dumps({"seed": options.seed, "killed": rows, "told": told}, indent=1) + "\n")


def watched() -> NoReturn:
    _, _, marks, hold, *arguments = sys.argv
    sys.exit(watch(arguments, int(marks), hold))


if __name__ == "__main__":
    watched() if sys.argv[1:2] == ["watch"] else measure()
