"""Runs that lose nothing: stopped, damaged or out of room at any moment, they end as one that was left alone."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load

from sparring import rundir, runs
from sparring.cli import main
from sparring.core import files
from sparring.core.files import read_sealed, write_sealed
from sparring.ownership import owned
from sparring.train.checkpoint import checkpoints, load_checkpoint

SMALL = ["--recipe", "mlp", "--set", "generator.width=8", "--set", "discriminator.width=8"]
for field in ("train.batch=16", "train.report_every=2", "train.save_seconds=1e-6", "train.grids=1", "scoring.times=0"):
    SMALL += ["--set", field]
END = "checkpoints/000000000096.safetensors"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("data") / "small.npz"
    np.savez(path, images=np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8))
    return str(path)


@pytest.fixture(scope="module")
def finished(images: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six steps, saved after every second: the checkpoints at 64 and 96 images are kept."""
    out = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", images, "--out", str(out), "--budget", "96img", *SMALL]) == 0
    assert [int(path.stem) for path in checkpoints(out / "checkpoints")] == [64, 96]
    return out


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "run")


def drop(run: Path, *names: str) -> None:
    for name in names:
        shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).unlink()


def rows(run: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "images_per_second"} for row in found]


def assert_same(run: Path, whole: Path) -> None:
    """All that a run leaves but what tells the time."""
    assert (run / END).read_bytes() == (whole / END).read_bytes()
    assert rows(run) == rows(whole)
    assert (run / "finished.json").read_bytes() == (whole / "finished.json").read_bytes()
    for pattern in ("model/*", "samples/*", "advice/*"):
        names = sorted(path.relative_to(whole) for path in whole.glob(pattern))
        assert sorted(path.relative_to(run) for path in run.glob(pattern)) == names
        assert all((run / name).read_bytes() == (whole / name).read_bytes() for name in names)


def assert_whole(run: Path) -> None:
    """Nothing half: every file is what its name says, and nothing temporary is left."""
    for path in run.rglob("*"):
        assert not path.name.endswith(".tmp")
        if path.suffix == ".json":
            json.loads(path.read_bytes())
        elif path.suffix == ".jsonl":
            assert all(json.loads(line) for line in path.read_bytes().splitlines())
            assert path.read_bytes()[-1:] in (b"", b"\n")
        elif path.suffix in (".png", ".gif"):
            with Image.open(path) as image:
                image.load()
        elif path.suffix == ".safetensors":
            load(path.read_bytes())


def test_stopped_before_the_first_checkpoint_it_begins_again(
    run: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drop(run, "checkpoints", "finished.json", "model", "report.html")
    assert main(["resume", str(run)]) == 0
    assert "was stopped before its first checkpoint; it begins again" in capsys.readouterr().out
    assert_same(run, finished)


def test_a_first_checkpoint_that_was_half_written_is_none(run: Path, finished: Path) -> None:
    drop(run, "checkpoints/000000000064.json", "checkpoints/000000000064.safetensors", "checkpoints/000000000096.json")
    assert main(["resume", str(run)]) == 0
    assert_same(run, finished)


def test_stopped_after_a_checkpoint_later_rows_and_torn_lines_are_dropped(
    run: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drop(run, "checkpoints/000000000096.json", END, "finished.json", "model")
    with (run / "log.jsonl").open("a") as log:
        log.write('{"images": 9')
    for name in (".log.jsonl.77.tmp", "checkpoints/.000000000096.safetensors.77.tmp", "samples/.x.png.3.tmp"):
        (run / name).write_bytes(b"half")
    (run / ".mine.tmp").write_text("not ours")
    assert main(["resume", str(run)]) == 0
    assert "goes on at 64 images" in capsys.readouterr().out
    assert_same(run, finished)
    assert [path.name for path in run.rglob("*.tmp")] == [".mine.tmp"]


@pytest.mark.parametrize("missing", [("finished.json",), ("finished.json", "model", "report.html", "progress.gif")])
def test_stopped_after_the_end_what_is_missing_is_made(
    run: Path, finished: Path, missing: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    drop(run, *missing)
    assert main(["resume", str(run)]) == 0
    assert "came to its end at 96 images; what is missing is made" in capsys.readouterr().out
    assert_same(run, finished)
    assert {path.name for path in run.iterdir()} == {path.name for path in finished.iterdir()}
    assert main(["resume", str(run)]) == 2
    assert "is spent" in capsys.readouterr().err


def damage(file: Path, kind: str) -> None:
    content = bytearray(file.read_bytes())
    if kind == "flip":
        content[len(content) // 2] ^= 1
    elif kind == "cut":
        del content[-9:]
    if kind == "gone":
        file.unlink()
    else:
        file.write_bytes(content)


@pytest.mark.parametrize("kind", ["flip", "cut", "gone"])
@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_the_checkpoint_before_a_damaged_one_is_used(
    run: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, suffix: str
) -> None:
    last = run / "checkpoints" / f"000000000096{suffix}"
    damage(last, kind)
    for which in ("best", "last"):
        assert (
            main(["sample", str(run), "-n", "2", "--checkpoint", which, "--out", str(tmp_path / f"{which}.png")]) == 0
        )
        said = capsys.readouterr()
        assert "000000000096" in said.err
        assert "instead the checkpoint at 64 images is used" in said.err
        assert "checkpoint at 64 images, averaged weights" in said.out
    assert main(["sample", str(run), "--checkpoint", "96", "--out", str(tmp_path / "x.png")]) == 2
    assert "000000000096" in capsys.readouterr().err
    before = last.exists() and last.read_bytes()
    assert main(["resume", str(run), "--budget", "80img"]) == 0
    assert "note: " in (said_out := capsys.readouterr().out)
    assert "goes on at 64 images" in said_out
    assert (last.exists() and last.read_bytes()) == before  # left where it is
    # But for tensors that were written before their JSON and a kill: they are half a checkpoint, and nobody's.
    assert last.with_suffix(".safetensors").exists() == (kind != "gone")
    assert {64, 80} <= {int(path.stem) for path in checkpoints(run / "checkpoints")}


def test_a_run_without_a_whole_checkpoint_says_what_to_do(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in checkpoints(run / "checkpoints"):
        damage(path, "flip")
    for verb in (["resume", str(run)], ["sample", str(run), "--out", "x.png"]):
        assert main(verb) == 2
        assert "is whole, 2 damaged; move" in capsys.readouterr().err
    (run / "checkpoints").rename(run / "damaged")
    assert main(["resume", str(run)]) == 0


def test_a_new_budget_is_not_forgotten(run: Path, images: str, tmp_path: Path) -> None:
    """Stopped after the new budget is in the recipe and before a checkpoint knows it."""
    assert main(["train", images, "--out", str(tmp_path / "long"), "--budget", "128img", *SMALL]) == 0
    recipe = json.loads((run / "recipe.json").read_text())
    recipe["recipe"]["train"]["budget"]["amount"] = 128.0
    (run / "recipe.json").write_text(json.dumps(recipe))
    assert main(["resume", str(run)]) == 0
    assert json.loads((run / "finished.json").read_text()) == {"images": 128}
    assert rows(run)[-1]["images"] == 128


def test_samples_name_the_recipe_whatever_the_budget_and_the_machine(run: Path) -> None:
    recipe = json.loads((run / "recipe.json").read_text())
    recipe["environment"]["threads"] = 7
    (run / "recipe.json").write_text(json.dumps(recipe))
    assert main(["resume", str(run), "--budget", "128img"]) == 0
    names = set()
    for path in (run / "samples").glob("*.png"):
        with Image.open(path) as image:
            names.add(image.text["recipe_sha256"])  # type: ignore[attr-defined]
    meta = json.loads(checkpoints(run / "checkpoints")[-1].read_text())
    assert names == {meta["recipe_sha256"][:16]}


def test_what_is_different_now_is_said(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drop(run, "checkpoints/000000000096.json", END)
    recipe = json.loads((run / "recipe.json").read_text())
    recipe["environment"] |= {"torch": "1.0", "threads": 7, "code": "0"}
    recipe["recipe"]["optimizers"]["generator"]["lr"] = 0.5
    (run / "recipe.json").write_text(json.dumps(recipe))
    assert main(["resume", str(run)]) == 0
    said = capsys.readouterr().out
    assert "note: threads was 7 and is 1: the last bits of what follows may differ\n" in said
    assert "note: torch was 1.0 and is " in said
    assert "note: code was 0 and is " in said
    assert "note: recipe.json is not what it was at the checkpoint: nothing can be promised of what follows\n" in said
    assert said.count("note: ") == 4
    kept = json.loads((run / "recipe.json").read_text())
    assert kept["environment"]["threads"] == 1
    assert any("resumed at 64 images, threads was 7" in reason for reason in kept["choices"])


def test_what_somebody_else_asked_before_the_folder_was_free_is_kept(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process gives a new budget, and ends before this one asks for the folder."""

    @contextmanager
    def later(path: Path) -> Iterator[str | None]:
        recipe = json.loads((path / "recipe.json").read_text())
        recipe["recipe"]["train"]["budget"]["amount"] = 128.0
        (path / "recipe.json").write_text(json.dumps(recipe))
        with owned(path) as warning:
            yield warning

    monkeypatch.setattr(runs, "owned", later)
    assert main(["resume", str(run)]) == 0
    assert json.loads((run / "finished.json").read_text()) == {"images": 128}


def test_one_owner_at_a_time(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with owned(run) as warning:
        assert warning is None
        assert main(["resume", str(run), "--budget", "128img"]) == 2
        assert f"{run}: another process, {os.getpid()}, is training in it" in capsys.readouterr().err
    assert main(["resume", str(run), "--budget", "128img"]) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_while_the_end_is_written(
    run: Path, finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    drop(run, "finished.json", "model", "progress.gif")
    write_film = rundir.write_film

    def film(*arguments: Any, **more: Any) -> None:
        os.kill(os.getpid(), number)
        pytest.fail("the signal was not heard")

    monkeypatch.setattr(rundir, "write_film", film)
    before = signal.getsignal(number)
    assert main(["resume", str(run)]) == 130
    assert signal.getsignal(number) == before
    assert f"to go on: sparring resume {run}" in capsys.readouterr().out
    assert not (run / "finished.json").exists()
    monkeypatch.setattr(rundir, "write_film", write_film)
    assert main(["resume", str(run)]) == 0
    assert_same(run, finished)


class Failing:
    """Counts the calls with which files and folders are made, and lets those in `fail` end as on a full disk."""

    def __init__(self, patch: pytest.MonkeyPatch, fail: Callable[[int], bool]) -> None:
        self.calls, self.fail = 0, fail
        patch.setattr(os, "fsync", self.instead_of(os.fsync))
        mkdir, made = os.mkdir, self.instead_of(os.mkdir)
        # A folder that is there already is not made.
        patch.setattr(os, "mkdir", lambda path, *more: (mkdir if Path(path).exists() else made)(path, *more))
        patch.setattr(files.os, "write", self.instead_of(os.write))

    def instead_of(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def made(*arguments: Any, **more: Any) -> Any:
            self.calls += 1
            if self.fail(self.calls):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return call(*arguments, **more)

        return made


def number_of_calls(job: list[str]) -> int:
    with pytest.MonkeyPatch.context() as patch:
        counting = Failing(patch, lambda call: False)
        assert main(job) == 0
        return counting.calls


SHORT = ["--budget", "32img", *SMALL, "--set", "train.save_seconds=9"]


@pytest.mark.parametrize("stays_full", [False, True])
def test_whatever_cannot_be_written_nothing_is_lost(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], stays_full: bool
) -> None:
    """The disk is full at the n-th write, for every n, for once or for good; then there is room again."""
    whole = tmp_path / "whole"
    calls = number_of_calls(["train", images, "--out", str(whole), *SHORT])
    assert calls > 25
    codes = []
    for first in range(1, calls + 1, 1 + 2 * stays_full):
        run = tmp_path / str(first)
        with pytest.MonkeyPatch.context() as patch:
            Failing(patch, lambda call: call >= first if stays_full else call == first)  # noqa: B023
            capsys.readouterr()
            codes.append(main(["train", images, "--out", str(run), *SHORT]))
        said = capsys.readouterr()
        assert "Traceback" not in said.err + said.out
        assert said.err.count("\n") == (codes[-1] != 0), said.err
        assert "No space left on device" in said.err + said.out
        if codes[-1] == 2:  # could not begin: nothing is left behind
            assert not run.exists()
            continue
        assert_whole(run)
        if first % 3 == 0:
            complete = (run / "finished.json").exists()
            assert main(["resume", str(run)]) == (2 if complete else 0)
            assert (run / "checkpoints/000000000032.safetensors").read_bytes() == (
                whole / "checkpoints/000000000032.safetensors"
            ).read_bytes()
            assert rows(run) == rows(whole)
    assert set(codes) == {0, 2, 3}
    assert codes == sorted(codes, key=lambda code: code != 2)  # 2 only before training began


def test_pictures_that_cannot_be_written_are_said_once_and_counted(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    monkeypatch.setattr(rundir, "save_png", lambda *_: files.write_atomically(Path("/dev/null/x.png"), b"x"))
    monkeypatch.setattr(rundir, "write_report", lambda _: files.write_atomically(Path("/dev/null/x.html"), b"x"))
    assert main(["train", images, "--out", str(run), "--budget", "96img", *SMALL]) == 0
    said = capsys.readouterr().out
    assert said.count("training goes on without pictures that can't be written") == 1
    assert "note: 3 pictures could not be written" in said
    assert "what is missing is made by: sparring resume" in said
    assert not (run / "finished.json").exists()
    assert load_checkpoint(checkpoints(run / "checkpoints")[-1])
    monkeypatch.undo()
    assert main(["resume", str(run)]) == 0
    assert (run / "report.html").exists()
    assert (run / "finished.json").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path | None]:
    """A disk of 400 kB, where mounting is allowed."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "none", str(place)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    yield place if mounted else None
    if mounted:
        subprocess.run(["umount", str(place)], check=True)


WIDE = ["--recipe", "mlp", "--budget", "96img", "--set", "train.grids=0", "--set", "scoring.times=0"]
for field in ("generator.width=64", "discriminator.width=64", "train.batch=16", "train.report_every=2"):
    WIDE += ["--set", field]


def test_a_disk_that_is_really_full(
    images: str, small_disk: Path | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A checkpoint that does not fit, on a disk of that size or with files limited to it."""
    run = (small_disk or tmp_path) / "run"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if small_disk is None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, limits[1]))
    try:
        assert main(["train", images, "--out", str(run), *WIDE]) == 3
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    error = capsys.readouterr().err
    assert "kB needed, " in error
    assert "B free; nothing is saved yet; make room or mend the folder, then: sparring resume" in error
    assert error.count("\n") == 1
    assert_whole(run)
    roomy = shutil.copytree(run, tmp_path / "roomy")
    assert main(["resume", str(roomy)]) == 0


def test_a_folder_that_is_no_run_is_not_resumed_but_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["train", "digits", "--out", str(tmp_path / "empty")]) == 2
    assert "choose another name, or remove it if nothing in it is needed" in capsys.readouterr().err


def test_a_name_that_is_taken_says_how_to_go_on(run: Path, images: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a finished run, of one that is not, and of what is left of one that was killed before it began."""
    job = ["train", images, "--out", str(run)]
    for missing, way in (
        ("log.jsonl", f"go on with it: sparring resume {run} --budget, with more"),
        ("finished.json", f"or go on with it: sparring resume {run}\n"),
        ("recipe.json", "remove it if nothing in it is needed"),
    ):
        drop(run, missing)
        assert main(job) == 2
        assert way in capsys.readouterr().err


def test_a_name_that_is_taken_meanwhile_is_not_chosen(
    images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs without --out begin at once: the other one has the name by the time that this one is ready."""
    monkeypatch.chdir(tmp_path)
    ready = runs.Trainer

    def trainer(*parts: Any) -> Any:
        (tmp_path / "runs" / "small.npz").mkdir(parents=True, exist_ok=True)
        return ready(*parts)

    monkeypatch.setattr(runs, "Trainer", trainer)
    assert main(["train", images, "--budget", "16img", *SMALL]) == 0
    assert (tmp_path / "runs" / "small.npz-2" / "finished.json").exists()


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff{"])
def test_an_end_that_is_damaged_is_made_again(run: Path, finished: Path, content: bytes) -> None:
    (run / "finished.json").write_bytes(content)
    assert main(["resume", str(run)]) == 0
    assert_same(run, finished)


@pytest.mark.parametrize(
    "line", [b"[1]", b"[" * 100_000, b'{"images": 1e999}', b'{"images": 1' + b"0" * 400 + b"}", b"\xff", b'"images"']
)
def test_lines_of_a_log_that_are_none_are_dropped(run: Path, finished: Path, line: bytes) -> None:
    drop(run, "finished.json")
    for name in ("log.jsonl", "scores.jsonl"):
        with (run / name).open("ab") as log:
            log.write(line + b"\n")
    assert main(["resume", str(run)]) == 0
    assert_same(run, finished)
    assert (run / "scores.jsonl").read_bytes() == b""


def test_a_score_of_unknown_making_is_one_on_the_card(run: Path) -> None:
    drop(run, "finished.json")
    with (run / "scores.jsonl").open("a") as scores:
        scores.write('{"images": 96, "fid": 1.5, "provenance": 7}\n')
    assert main(["resume", str(run)]) == 0
    assert "Scores of unknown samples" in (run / "model" / "README.md").read_text()


@pytest.mark.parametrize(
    "change",
    [
        {"step": "x"},
        {"step": 1.5},
        {"step": -1},
        {"step": None},
        {"seconds": None},
        {"seconds": "x"},
        {"plan": []},
        {"plan": [[1]]},
        {"num_grids": []},
        {"micro": 0},
        {"micro": "x"},
        {"watch": 7},
        {"scores": {}},
    ],
    ids=str,
)
def test_a_checkpoint_that_was_made_up_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any]
) -> None:
    """Its seal is right: whoever made it, sealed it."""
    drop(run, "checkpoints/000000000096.json", END)
    path = run / "checkpoints" / "000000000064.json"
    write_sealed(path, read_sealed(path)[0] | change)
    assert main(["resume", str(run)]) == 2
    error = capsys.readouterr().err
    assert "holds no state of this run" in error
    assert error.count("\n") == 1


def test_names_that_are_not_utf_8(images: str, finished: Path, tmp_path: Path) -> None:
    source = tmp_path / os.fsdecode(b"caf\xe9.npz")
    shutil.copy(images, source)
    run = tmp_path / "run"
    assert main(["train", str(source), "--out", str(run), "--budget", "96img", *SMALL]) == 0
    drop(run, "finished.json")
    assert main(["resume", str(run)]) == 0
    assert (run / END).read_bytes() == (finished / END).read_bytes()


def test_where_nobody_reads_what_is_said_the_state_is_saved(images: str, finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    there, here = os.pipe()
    os.close(there)
    with os.fdopen(here, "w") as closed, redirect_stdout(closed):
        assert main(["train", images, "--out", str(run), "--budget", "96img", *SMALL]) == 130
    assert [int(path.stem) for path in checkpoints(run / "checkpoints")] == [32]  # it is said first after two steps
    assert main(["resume", str(run)]) == 0
    assert_same(run, finished)
