"""The command as a user meets it: exit codes, one-line errors, and a run from data to samples."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sparring.cli import main

QUICK = ["--budget", "1280img"]
for field in ("samples=100", "times=2", "spacing=1"):
    QUICK += ["--set", f"scoring.{field}"]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test in a folder of its own."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the embedded digits, made once."""
    out = tmp_path_factory.mktemp("runs") / "digits"
    assert main(["train", "digits", "--out", str(out), *QUICK]) == 0
    return out


def folder_of_images(path: Path, shape: tuple[int, ...], dtype: type = np.uint8, count: int = 40) -> Path:
    random = np.random.default_rng(0)
    path.mkdir()
    for i in range(count):
        pixels = random.integers(0, np.iinfo(dtype).max, shape).astype(dtype)
        Image.fromarray(pixels).save(path / f"{i}.png")
    return path


def facts(path: Path) -> dict[str, Any]:
    with Image.open(path) as image:
        return {"size": image.size, "mode": image.mode, "info": dict(image.info)}


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    """Runs a command that must be refused: exit code 2 and one line, which is returned."""
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = int(str(stop.code))
    error = capsys.readouterr().err
    assert code == 2, error
    assert error.count("\n") == 1
    assert "Traceback" not in error
    return error


def test_a_run_s_folder_holds_what_the_contract_says(run: Path) -> None:
    for name in ["recipe.json", "data.json", "log.jsonl", "scores.jsonl", "curves.png", "progress.gif"]:
        assert (run / name).stat().st_size > 0, name
    scores = [json.loads(line) for line in (run / "scores.jsonl").read_text().splitlines()]
    assert [row["images"] for row in scores] == [640, 1280]
    assert {"fid", "kid", "classes_covered", "label_accuracy", "provenance", "best"} <= scores[0].keys()
    provenance = scores[0]["provenance"]
    assert provenance["features"] == "digits8"
    assert provenance["weights"] == "ema"
    assert provenance["num_samples"] == 100
    assert len(list((run / "checkpoints").glob("*.safetensors"))) >= 1
    assert (run / "model" / "generator.safetensors").exists()
    best = json.loads((run / "checkpoints" / "best.json").read_text())["checkpoint"]
    assert int(best) == min(scores, key=lambda row: row["fid"])["images"]
    newest = sorted((run / "samples").glob("*.png"))[-1]
    info = facts(newest)["info"]
    assert info["images"] == "1280"
    assert {"recipe_sha256", "weights", "sparring", "seed"} <= info.keys()


def test_sample_writes_each_form_and_repeats(run: Path, tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        assert main(["sample", str(run), "-n", "20", "--seed", "3", "--out", name]) == 0
    first, second = np.load("a.npz"), np.load("b.npz")
    assert first["images"].shape == (20, 8, 8, 1)
    assert first["images"].dtype == np.uint8
    assert first["labels"].tolist() == [i % 10 for i in range(20)]
    assert np.array_equal(first["images"], second["images"])
    assert main(["sample", str(run), "-n", "5", "--label", "7", "--out", "one.npz"]) == 0
    assert np.load("one.npz")["labels"].tolist() == [7] * 5
    assert main(["sample", str(run), "-n", "9", "--out", "grid.png", "--truncation", "0.8"]) == 0
    assert facts(Path("grid.png"))["info"]["checkpoint_sha256"]
    assert main(["sample", str(run), "-n", "3", "--checkpoint", "last", "--out", "pngs"]) == 0
    assert len(list(Path("pngs").glob("*.png"))) == 3


def test_score_of_a_run_and_of_files(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", str(run), "--against", "digits", "-n", "200", "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert scored["provenance"]["reference"]["name"] == "digits"
    assert scored["provenance"]["num_samples"] == 200
    assert main(["sample", str(run), "-n", "200", "--out", "s.npz"]) == 0
    assert main(["score", "s.npz", "--against", "digits", "--metrics", "fid", "--json"]) == 0
    again = json.loads(capsys.readouterr().out.partition("\n")[2])
    # The same generator and noise, classes in turn instead of with the data's frequencies.
    assert again["fid"] == pytest.approx(scored["fid"], rel=0.2)
    assert main(["score", "s.npz", "--against", "digits", "--metrics", "fid", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fid"] == again["fid"]
    assert "kid" not in again


def test_stop_and_resume_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    whole = ["train", "digits", "--out", "whole", "--budget", "2560img", "--set", "scoring.samples=100"]
    assert main(whole) == 0
    assert main(["train", "digits", "--out", "half", "--budget", "1280img", "--set", "scoring.samples=100"]) == 0
    assert main(["resume", "half", "--budget", "2560img"]) == 0
    assert "goes on at 1.28k images" in capsys.readouterr().out
    rows = [json.loads(line) for line in Path("half/log.jsonl").read_text().splitlines()]
    assert [row["images"] for row in rows] == [1280, 2560]
    assert "spent" in refused(capsys, ["resume", "half"])


def test_ctrl_c_saves_says_how_to_go_on_and_goes_on_exactly(tmp_path: Path) -> None:
    """A run interrupted by SIGINT and resumed ends with the weights of one that was left alone."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "sparring"]
    job = ["train", "digits", "--budget", "4800img", "--set", "scoring.times=0", "--set", "train.report_every=5"]
    whole = subprocess.run([*command, *job, "--out", "whole"], env=environment, capture_output=True, text=True)
    assert whole.returncode == 0, whole.stderr
    process = subprocess.Popen([*command, *job, "--out", "cut"], env=environment, stdout=subprocess.PIPE, text=True)
    log, deadline = Path("cut/log.jsonl"), time.monotonic() + 60
    while not (log.exists() and log.read_text().count("\n") >= 3):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "to go on: sparring resume cut" in output
    resumed = subprocess.run([*command, "resume", "cut"], env=environment, capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    last = "checkpoints/000000004800.safetensors"
    assert Path("cut", last).read_bytes() == Path("whole", last).read_bytes()
    logs = [
        [json.loads(line) for line in Path(name, "log.jsonl").read_text().splitlines()] for name in ("cut", "whole")
    ]
    for rows in logs:
        for row in rows:
            del row["images_per_second"]
    assert logs[0] == logs[1]


@pytest.mark.parametrize(
    ("shape", "dtype", "network_shape"),
    [((24, 40, 3), np.uint8, "3×24×40"), ((16, 12), np.uint16, "1×16×12"), ((12, 12, 4), np.uint8, "4×12×12")],
    ids=["non-square RGB", "16-bit grey", "RGBA"],
)
def test_a_folder_trains_and_samples_in_its_own_shape(
    shape: tuple[int, ...], dtype: type, network_shape: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of_images(tmp_path / "images", shape, dtype)
    assert main(["train", str(folder), "--out", "r", "--budget", "256img", "--set", "scoring.samples=40"]) == 0
    output = capsys.readouterr().out
    assert network_shape in output
    assert "pca" in output
    assert main(["sample", "r", "-n", "4", "--out", "s.npz"]) == 0
    images = np.load("s.npz")["images"]
    assert images.shape == (4, *shape[:2], shape[2] if len(shape) == 3 else 1)
    assert images.dtype == dtype
    assert main(["sample", "r", "-n", "2", "--out", "pngs"]) == 0
    written = facts(Path("pngs/00000.png"))
    assert written["size"] == (shape[1], shape[0])
    assert (
        written["mode"] == {(3, np.uint8): "RGB", (1, np.uint16): "I;16", (4, np.uint8): "RGBA"}[images.shape[3], dtype]
    )


def test_a_dry_run_shows_everything_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "digits", "--dry-run", "--set", "train.batch=32", "--labels", "ignore"]) == 0
    output = capsys.readouterr().out
    assert "recipe dcgan: images of 8×8" in output
    assert "budget 600 seconds: the default" in output
    assert "unconditional" in output
    assert "parameters" in output
    shown = json.loads(output[output.index("{") :])
    assert shown["train"]["batch"] == 32
    assert shown["source"]["labels"] == "ignore"
    assert not (tmp_path / "runs").exists()


def test_a_recipe_file_of_the_user_s_own(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mygan.py").write_text(
        "from sparring.games.objectives import NonSaturating\n"
        "from sparring.recipes.images import dcgan\n"
        "class Mine(NonSaturating):\n"
        "    def generator(self, real_logits, fake_logits):\n"
        "        return super().generator(real_logits, fake_logits)\n"
        "def mygan(source, data, budget):\n"
        "    recipe = dcgan(source, data, budget)\n"
        "    return recipe.replace(name='mygan', game=recipe.game.replace(objective=Mine()))\n"
    )
    arguments = ["train", "digits", "--recipe", "mygan.py:mygan", "--out", "mine", *QUICK]
    assert main(arguments) == 0
    assert json.loads(Path("mine/recipe.json").read_text())["origin"] == "mygan.py:mygan"
    capsys.readouterr()
    assert "--recipe" in refused(capsys, ["resume", "mine", "--budget", "2560img"])
    assert main(["sample", "mine", "-n", "2", "--out", "two.png"]) == 0  # the generator is ours: no file is needed
    assert main(["resume", "mine", "--budget", "2560img", "--recipe", "mygan.py:mygan"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "digts"], "did you mean 'digits'"),
        (["train", "digits", "--recipe", "dcgna"], "did you mean 'dcgan'"),
        (["train", "digits", "--recipe", "gone.py:f"], "existing file"),
        (["train", "digits", "--set", "train.btch=3"], "did you mean 'batch'"),
        (["train", "digits", "--set", "train.batch=many"], "expected int"),
        (["train", "digits", "--set", "train.batch"], "expected PATH=VALUE"),
        (["train", "digits", "--set", "game.penalties.0.every=0"], "every >= 1"),
        (["train", "digits", "--budget", "soon"], "such as 90s"),
        (["train", "digits", "--size", "big"], "--size"),
        (["train", "digits", "--device", "cuda"], "not available here"),
        (["train", "digits", "--budgt", "9s"], "did you mean '--budget'"),
        (["train", "/dev/null/nowhere"], "no such file"),
        (["resume", "nowhere"], "not a run folder"),
        (["sample", "nowhere", "--out", "x.png"], "not a run folder"),
        (["score", "digits", "--against", "digits", "--metrics", "fidd"], "did you mean 'fid'"),
        (["recipes", "mpl"], "did you mean 'mlp'"),
        (["data", "empty"], "empty"),
        (["nothing"], "invalid choice"),
    ],
)
def test_bad_requests_are_one_line_and_exit_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if arguments[1:2] == ["--device"] and torch.cuda.is_available():
        pytest.fail("this machine has a GPU: the test needs another device")
    Path("empty").mkdir()
    assert message in refused(capsys, arguments)
    assert not Path("runs").exists()


def test_nothing_is_overwritten(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (run / "recipe.json").read_bytes()
    assert "exists already" in refused(capsys, ["train", "digits", "--out", str(run), *QUICK])
    assert (run / "recipe.json").read_bytes() == before
    Path("x.png").write_text("mine")
    assert "exists already" in refused(capsys, ["sample", str(run), "--out", "x.png"])
    assert Path("x.png").read_text() == "mine"


def test_wrong_requests_to_a_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more, message in [
        (["--checkpoint", "77"], "expected best, last or one of"),
        (["--label", "12"], "expected 0 to 9, found 12"),
        (["--label", "cat"], "expected a number or one of"),
        (["-n", "0"], "at least 1"),
        (["--truncation", "-1"], "more than 0"),
    ]:
        assert message in refused(capsys, ["sample", str(run), "--out", "y.png", *more])
    assert not Path("y.png").exists()


def test_a_run_folder_of_another_version_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("old").mkdir()
    Path("old/recipe.json").write_text(json.dumps({"format": 99, "sparring": "9.9"}))
    assert "format 99, written by sparring '9.9'" in refused(capsys, ["resume", "old"])


def test_a_full_disk_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import sparring.core.files as files

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    assert "No space left on device" in refused(capsys, ["train", "digits", "--out", "r", *QUICK])


def test_changed_data_is_not_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_of_images(tmp_path / "images", (8, 8))
    assert main(["train", str(folder), "--out", "r", "--budget", "256img", "--set", "scoring.times=0"]) == 0
    (folder / "0.png").unlink()
    capsys.readouterr()
    assert "its data has changed" in refused(capsys, ["resume", "r", "--budget", "512img"])


def test_recipes_data_and_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    assert "dcgan" in capsys.readouterr().out
    assert main(["recipes", "mlp"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "mlp"
    assert main(["data", "digits"]) == 0
    assert "1500 images of 8x8" in capsys.readouterr().out
    assert main(["doctor"]) == 0
    assert "arithmetic" in capsys.readouterr().out


def test_mends_are_named_and_checked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    assert "--mend 'penlty': did you mean 'penalty'?" in refused(capsys, ["train", "digits", "--mend", "penlty"])
    assert main(["train", "digits", "--mend", "penalty,rollback", "--out", out, *QUICK]) == 0
    mends = json.loads((tmp_path / "run" / "recipe.json").read_text())["recipe"]["train"]["mend"]
    assert [mend["spec"].split(":")[1] for mend in mends] == ["RaisePenalty", "Rollback"]


def test_a_verdict_says_why_it_ended_and_how_sure(run: Path) -> None:
    verdict = json.loads((run / "verdict.json").read_text())
    assert verdict["stopped"] == "the budget of 1280 images is spent"
    assert "with 95 % confidence, on 10,000 new samples" in verdict["sure"]
    best = json.loads((run / "checkpoints" / "best.json").read_text())["checkpoint"]
    assert verdict["images"] == int(best)
    assert verdict["values"]["fid"] > 0
    assert verdict["provenance"]["held_out"]["name"] == "digits"


def test_several_are_judged_side_by_side(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = str(tmp_path / "s.npz")
    assert main(["sample", str(run), "-n", "200", "--out", samples]) == 0
    capsys.readouterr()
    assert main(["score", str(run), samples, "--against", "digits", "-n", "200", "--metrics", "fid,kid"]) == 0
    text = capsys.readouterr().out
    assert text.count("200 samples against 1500 of digits (train), digits8 features") == 2
    assert f"not to be compared, {run} / {samples}: weights: ema / given" in text
    assert main(["score", str(run), samples, "--against", "digits", "-n", "200", "--metrics", "fid", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows[0]["run"] == str(run)
    assert rows[1]["samples"] == samples
    for row in rows:
        where = row["provenance"]
        assert len(where["features_sha256"]) == 64
        assert where["resize"] == "none"
        assert where["reference"]["split"] == "train"
        assert {"seed", "weights", "sparring", "value_range", "num_samples", "arithmetic"} <= where.keys()


def test_a_damaged_cache_is_measured_again_with_a_notice(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARRING_CACHE", str(tmp_path))
    job = ["score", str(run), "--against", "digits", "-n", "100", "--metrics", "fid"]
    assert main(job) == 0
    first = capsys.readouterr().out
    (file,) = tmp_path.rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-9])
    assert main(job) == 0
    second = capsys.readouterr().out
    assert f"note: {file}: damaged; the statistics of digits are measured again" in second
    assert second.replace(second[second.index("  note: /") :], "") in first + "\n"


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    """Folders of images: real ones to judge against, and others that fit or don't."""
    random = np.random.default_rng(0)
    for name, count, shape in (
        ("real", 60, (16, 16, 3)),
        ("fine", 59, (16, 16, 3)),
        ("three", 3, (16, 16, 3)),
        ("grey", 60, (16, 16)),
        ("large", 60, (20, 20, 3)),
    ):
        (tmp_path / name).mkdir()
        for i in range(count):
            Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)).save(tmp_path / name / f"{i:02}.png")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("three --against real", "three: scores need at least 6 samples, found 3; add more"),
        ("fine --against three", "at least 6 samples, three has 3; add more"),
        ("grey --against real", "expected shape [60, 3, 16, 16] as real has, found [60, 1, 16, 16]"),
        ("large --against real", "found [60, 3, 20, 20]; bring both to one size and one number of channels"),
        ("fine --against real --features nan.py:make", "real: 60 samples or their features are not finite"),
        ("fine --against real --features nan.py:nothing", "nan.py"),
        ("fine --against real --features pcaa", "did you mean 'pca'?"),
        ("fine --against real --features no.onnx", "no.onnx"),
        ("fine --against real --metrics classes", "Classes: features pca59-pixels tell no classes"),
        ("fine --against real --metrics path_length", "PathLength is left out: it needs the generator"),
        ("fine --against real --metrics memorisation", "name them with --held-out"),
        ("fine --against real --held-out grey", "held-out samples of grey: expected shape [3, 16, 16]"),
        ("fine --against real --keep 2", "keep: expected at least 6 samples, found 2"),
        ("fine --against real -n 60", "-n 60: fine holds only 59 samples"),
    ],
)
def test_what_cannot_be_judged_is_said_in_one_line(
    judged: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: str, said: str
) -> None:
    (judged / "nan.py").write_text(
        "import torch\n\n\nclass Nan(torch.nn.Module):\n    def forward(self, x):\n"
        "        return (x.flatten(1) + 0.5).log()\n\n\ndef make(data):\n    return Nan()\n"
    )
    monkeypatch.chdir(judged)
    assert said in refused(capsys, ["score", *arguments.split()])


def test_a_bad_file_in_a_folder_is_named_and_the_rest_judged(
    judged: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (judged / "fine" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    monkeypatch.chdir(judged)
    assert main(["score", "fine", "--against", "real", "--metrics", "kid"]) == 0
    text = capsys.readouterr().out
    assert "fine: 59 samples against 60 of real" in text
    assert "files of fine left out: 1, the first bad.png: not an image" in text


def test_samples_set_aside_choose_the_checkpoint(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert main(["train", "digits", "--hold-out", "300", "--out", str(out), *QUICK]) == 0
    rows = [json.loads(line) for line in (out / "scores.jsonl").read_text().splitlines()]
    assert json.loads((out / "data.json").read_text())["count"] == 1200
    assert [row["best"] for row in rows] == [True, rows[1]["fid_held_out"] < rows[0]["fid_held_out"]]
    assert rows[0]["provenance"]["held_out"] | {"sha256": ""} == {
        "name": "digits",
        "split": "held out",
        "count": 300,
        "sha256": "",
    }


def test_points_of_a_plane_are_shown_in_the_plane(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--budget", "2560img", "--out", "plane", "--set", "train.grids=1", "--set", "scoring.samples=200"]
    assert main(["train", "ring8", *asked]) == 0
    said = capsys.readouterr().out
    assert "mixture_kl" in said
    assert sorted(Path("plane/samples").glob("*.png"))
    assert not Path("plane/nearest.png").exists()
    assert "Nearest training samples" not in Path("plane/report.html").read_text()


@pytest.mark.parametrize("nothing", ["", " ", "a\nb"])
def test_an_argument_too_many_is_refused_in_one_line(capsys: pytest.CaptureFixture[str], nothing: str) -> None:
    assert "unrecognized arguments" in refused(capsys, ["data", "digits", nothing])


@pytest.mark.parametrize("label", ["²", "9" * 30, "9" * 5000, "-1"])
def test_labels_that_are_none_are_refused(run: Path, capsys: pytest.CaptureFixture[str], label: str) -> None:
    assert "--label" in refused(capsys, ["sample", str(run), "--label", label, "--out", "x.png"])


def test_fewer_samples_than_one_of_a_class_are_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, ["sample", str(run), "-n", "-5", "--label", "3", "--out", "x.png"])
    assert "-n: expected at least 1 sample, found -5" in said


def test_the_home_of_nobody_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "the home folder" in refused(capsys, ["train", "~nobody-of-that-name/x", "--dry-run"])


def test_output_that_cannot_be_written_is_said_once(tmp_path: Path) -> None:
    """Where it stays in Python's buffer to the end, and where nobody reads it."""
    command = f"{sys.executable} -m sparring recipes"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    full, closed = (
        subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True)
        for line in (f"{command} > /dev/full", f"set -o pipefail; {command} | true")
    )
    assert full.returncode == 2
    assert full.stderr == "sparring recipes: what was said could not be written (No space left on device)\n"
    assert (closed.returncode, closed.stderr) == (0, "")
