"""The page says what the folder holds, stands alone, runs nothing of it, and survives whatever is wrong with it."""

from __future__ import annotations

import base64
import copy
import hashlib
import io
import json
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sparring.core.exchange import Clock
from sparring.data.open import Data
from sparring.data.tensors import from_arrays
from sparring.games.adversarial import Adversarial
from sparring.games.priors import Gaussian
from sparring.layers import Activation, Dense
from sparring.metrics.features import PCA
from sparring.metrics.neighbours import nearest_in
from sparring.networks.layered import Discriminator, Generator
from sparring.opening import Request
from sparring.pictures.nearest import nearest
from sparring.report.page import page, write_report
from sparring.report.pictures import MOST_FRAMES
from sparring.report.scores import MOST_CLASSES
from sparring.rundir import RunFolder
from sparring.train.events import Stepped
from sparring.train.optimizers import SGD, Optimizers
from sparring.train.recipe import Recipe, Train
from sparring.train.schedule import Budget

Json = dict[str, Any]
EVIL = """</script></title>'"><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}"""
PROVENANCE: Json = {
    "features": "digits8",
    "features_sha256": "961fab209ec1",
    "feature_dim": 64,
    "resize": "none",
    "num_samples": 5000,
    "kept": 5000,
    "reference": {"name": "digits", "split": "train", "count": 1500, "sha256": "5895a2"},
    "held_out": None,
    "seed": 0,
    "weights": "ema",
    "arithmetic": "bfloat16",
    "value_range": [-1.0, 1.0],
    "levels": 256,
    "ddof": 1,
    "sparring": "0.1.0",
}
NAMES = ["zero", "one", "two"]
SECTIONS = ["verdict", "samples", "scores", "curves", "alarms", "asked", "data", "speed", "use", "files"]
"""Of every page, in this order; classes are there where something is known of them."""


def score(images: int, fid: float, *, best: bool = False, **provenance: Any) -> Json:
    values = {"fid": fid, "fid_low": fid - 0.125, "fid_high": fid + 0.125, "fid_real": 0.0381, "alone_low": 7.25}
    values |= {f"{name}_class_{k}": 0.5 + k / 8 for name in ("share", "accuracy") for k in range(3)}
    values |= {"share_class_0_low": 0.46875, "share_class_0_high": 0.53125}
    row = {"images": images, "step": images // 64, "epoch": images / 1500, "best": best, "notes": []}
    return row | values | {"provenance": PROVENANCE | provenance}


def files() -> dict[str, Any]:
    """What a whole run leaves behind, as JSON: objects, and rows where the name ends in .jsonl."""
    adam = {"spec": "sparring.train.optimizers:Adam", "lr": 0.003}
    recipe = {
        "spec": "sparring.train.recipe:Recipe",
        "name": "dcgan",
        "source": {"spec": "sparring.data.open:Data", "source": "digits", "size": [8, 9], "labels": "ignore"},
        "generator": {"spec": "sparring.networks.dcgan:DCGANGenerator", "width": 16},
        "game": {"penalties": [{"spec": "sparring.games.penalties:R1", "weight": 0.125, "every": 8}]},
        "optimizers": {"generator": adam, "discriminator": adam},
        "train": {"seed": 3, "batch": 64, "budget": {"amount": 20.0, "unit": "seconds"}, "precision": "bfloat16"},
    }
    return {
        "recipe.json": {
            "format": 1,
            "sparring": "0.1.0",
            "origin": "dcgan",
            "recipe": recipe,
            "data": {"name": "digits", "shape": [1, 8, 8], "class_names": NAMES},
            "choices": ["recipe dcgan: images of 8×8"],
            "environment": {"device": "cpu", "torch": "2.13.0"},
        },
        "data.json": {
            "source": "digits",
            "split": "train",
            "count": 1500,
            "shape": [1, 8, 8],
            "levels": 256,
            "classes": {"zero": 300, "one": 450, "two": 750},
            "sizes": {"8x8": 1490, "9x9": 10},
            "resized": 10,
            "refused": [{"file": "bad.png", "reason": "cut off"}],
            "notes": ["floats look like [0, 1]"],
            "seconds": 0.335,
        },
        "log.jsonl": [
            {"images": 64 * n, "loss_d": 1.25, "loss_g": 0.75, "d_real": 0.625, "r1": 0.5, "images_per_second": 5600.0}
            for n in range(1, 21)
        ],
        "scores.jsonl": [score(400, 0.75, best=True), score(800, 0.5, best=True), score(1280, 0.625)],
        "alarms.jsonl": [
            {"images": 640, "step": 10, "name": "collapse", "cause": "the samples are alike", "mend": "--set game.d=2"}
            | {"values": {"diversity": 0.0625}}
        ],
        "verdict.json": {
            "images": 800,
            "values": score(800, 0.4375)["provenance"]
            and {k: v for k, v in score(800, 0.4375).items() if "_" in k or k == "fid"},
            "provenance": PROVENANCE | {"num_samples": 10_000},
            "notes": ["memorisation is not suspected"],
            "last": {"images": 1280, "values": {"fid": 0.5625, "fid_low": 0.5, "fid_high": 0.6875}},
            "stopped": "the budget of 20 seconds is spent",
            "sure": "the interval leaves room for the last one",
        },
        "checkpoints/000000001280.json": {"images": 1280, "seconds": 20.5, "scoring_seconds": 4.1},
        "checkpoints/best.json": {"checkpoint": "000000000800"},
    }


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """Writes a run's folder from `files()`, changed; None leaves a file out, bytes are written as they are."""

    def make(pictures: bool = True, name: str = "run", **changes: Any) -> Path:
        run = tmp_path / name
        for file, content in (files() | changes).items():
            (run / file).parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                (run / file).write_bytes(content)
            elif isinstance(content, list):
                (run / file).write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
            elif content is not None:
                (run / file).write_text(json.dumps(content), encoding="utf-8")
        if pictures:
            for folder, count in (("samples", 21), ("advice", 2)):
                (run / folder).mkdir(exist_ok=True)
                for n in range(count):
                    Image.new("L", (20, 20), 10 * n).save(run / folder / f"{64 * n:012d}.png")
            Image.new("RGB", (30, 20), "white").save(run / "nearest.png")
        return run

    return make


class Reader(HTMLParser):
    """Checks that elements close in order; keeps them, and the text outside of style and script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.words.append(" ")
        if tag not in ("meta", "img", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    def all(self, tag: str, kind: str = "") -> list[dict[str, str | None]]:
        return [a for t, a in self.elements if t == tag and (not kind or kind in (a.get("class") or "").split())]


def section(text: str, name: str) -> str:
    found = re.search(rf'<section id="{name}">(.*?)</section>', text, re.DOTALL)
    assert found is not None
    return found[1]


def test_a_whole_run_is_told(make: Callable[..., Path]) -> None:
    run = make()
    assert write_report(run) == run / "report.html"
    text = (run / "report.html").read_text(encoding="utf-8")
    told = Reader(text).text
    for words in (
        "digits, dcgan",
        "1,280 images seen in 20 s",
        "Best after 800 images: fid 0.4375 (95 % interval from 0.3125 to 0.5625).",
        "the interval leaves room for the last one.",
        "Why it ended: the budget of 20 seconds is spent.",
        "memorisation is not suspected",
        "10,000 samples (averaged weights (EMA), arithmetic bfloat16, seed 0) were compared with 1,500 samples of "
        "digits (train), in the features digits8 (64 numbers a sample), whose hash begins 961fab20.",
        "fid Fréchet distance between samples and real data in the features named above; 0 would be perfect. Lower is "
        "better. 0.4375 [0.3125, 0.5625] 0.5625 [0.5, 0.6875]",
        "alone_low 7.25",
        "Best, after 800 images (drawn at 768)",
        "Last, after 1,280 images (drawn at 1,280)",
        "zero 0.2 0.5 [0.4688, 0.5312] 0.5",
        "two 0.5 0.75 0.75",
        "They are not a measure of quality",
        "collapse after 640 images. The samples are alike. --set game.d=2. (diversity 0.0625)",
        "Optimisers Adam(lr=0.003)",
        "penalties=[R1(weight=0.125, every=8)]",
        "1,500 images of 8×8 (height × width), grey, 8-bit",
        "3 (zero: 300, one: 450, two: 750)",
        "10 samples were resized",
        "bad.png: cut off",
        "floats look like [0, 1]",
        "5,600 images per second (median of 20 reports)",
        "4.1 s (20 %)",
        "sparring train digits --recipe dcgan --budget 20s --seed 3 --size 8x9 --labels ignore",
        f"sparring resume {run}",
        f"sparring score {run} --against digits",
        "device cpu torch 2.13.0",
    ):
        assert words in told, words
    for name in ("fid_low", "share_class_0"):
        assert name not in told


def test_the_time_line_has_its_places(make: Callable[..., Path]) -> None:
    assert 'style="left: 50.0%"' in section(page(make()), "alarms")


def test_without_a_final_judgement_the_scores_of_the_run_speak(make: Callable[..., Path]) -> None:
    told = Reader(page(make(**{"verdict.json": None}))).text
    assert "Best after 800 images: fid 0.5 (95 % interval from 0.375 to 0.625)." in told
    assert "There is no final judgement" in told
    assert "0.5 [0.375, 0.625] 0.625 [0.5, 0.75]" in told


def test_the_page_stands_alone(make: Callable[..., Path]) -> None:
    text = page(make())
    read = Reader(text)
    assert "http" not in text.replace("http-equiv", "")
    assert "url(" not in text
    assert not read.all("link")
    sources = [attributes["src"] or "" for _, attributes in read.elements if "src" in attributes]
    assert len(sources) == 11 + 2 + 1 + 1
    for source in sources:
        Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/png;base64,")))).load()
    anchors = {f"#{a['id']}" for a in read.all("section")}
    folder = {"recipe.json", "data.json", "log.jsonl", "scores.jsonl", "alarms.jsonl", "verdict.json", "samples"}
    assert {a["href"] for a in read.all("a")} <= anchors | folder | {"advice", "nearest.png", "checkpoints"}


def test_only_its_own_script_may_run(make: Callable[..., Path]) -> None:
    text = page(make())
    (policy,) = [a["content"] or "" for a in Reader(text).all("meta") if "http-equiv" in a]
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def poisoned(value: Any, keys: bool) -> Any:
    """Every text replaced by markup; with `keys` those of objects that the page shows by name, too."""
    if isinstance(value, dict):
        return {(f"{EVIL}{k}" if keys and k not in SHAPE else k): poisoned(v, keys) for k, v in value.items()}
    if isinstance(value, list):
        return [poisoned(v, keys) for v in value]
    return EVIL if isinstance(value, str) else value


SHAPE = {
    "values",
    "provenance",
    "reference",
    "classes",
    "sizes",
    "environment",
    "recipe",
    "data",
    "train",
    "images",
    "last",
}


@pytest.mark.parametrize("keys", [False, True])
def test_nothing_of_the_folder_becomes_markup(make: Callable[..., Path], keys: bool) -> None:
    plain = Reader(page(make()))
    evil = {name: poisoned(content, keys) for name, content in files().items()}
    run = make(name=f"run <script>alert(3){'&' * keys}", **evil)
    text = page(run)
    read = Reader(text)
    assert len(read.all("script")) == 1
    assert {tag for tag, _ in read.elements} <= {tag for tag, _ in plain.elements}
    assert {key for _, a in read.elements for key in a} <= {key for _, a in plain.elements for key in a}
    assert "<img src=x" not in text
    assert "<script>alert" not in text
    assert "{{ 7*7 }}" in read.text


def test_scores_made_in_different_ways_never_share_an_axis(make: Callable[..., Path]) -> None:
    rows = [score(400, 0.5, best=True), score(800, 0.25), score(900, 0.4, num_samples=700), score(950, 0.3, seed=5)]
    text = section(page(make(**{"scores.jsonl": rows})), "curves")
    charts = [c for c in re.findall(r"<figure.*?</figure>", text, re.DOTALL) if 'aria-label="fid"' in c]
    found = [re.findall(r"<title>fid [\d.]+ \([^)]*\) at (\d+) images", chart) for chart in charts]
    assert [sorted(set(images)) for images in found] == [["400", "800", "950"], ["900"]]
    told = Reader(text).text
    assert "What differs (first / these): 5,000 / 700 samples" in told
    assert "700 samples (averaged weights" in told


@pytest.mark.parametrize(("real", "drawn"), [(0.5 / 29, True), (0.5 / 31, False), (0.0, False), (1.4e-14, False)])
def test_real_data_stand_beside_a_score_where_they_do_not_press_it_flat(
    make: Callable[..., Path], real: float, drawn: bool
) -> None:
    rows = [score(400, 0.75) | {"fid_real": real}, score(800, 0.5, best=True) | {"fid_real": real}]
    text = section(page(make(**{"scores.jsonl": rows})), "curves")
    assert ('class="line grey thin"' in text) == drawn
    assert ("fid_real (real data)" in text) == drawn


def test_broken_parts_leave_a_sentence(make: Callable[..., Path]) -> None:
    good = json.dumps(score(800, 0.5, best=True)).encode()
    broken = {
        "recipe.json": b"{",
        "data.json": b"[1]",
        "verdict.json": b'{"sure": "\xff"}',
        "log.jsonl": b'{"images": 64, "loss_d": 1}\n[]\nnot json\n{"images": 128, "loss_d": NaN}\n{"images": 19',
        "scores.jsonl": good + b"\n" + good[:50],
        "alarms.jsonl": b'{"images": "x"}\n',
        "samples/000000000000.png": b"not a picture",
        "nearest.png": b"\x89PNG\r\n\x1a\n",
    }
    told = Reader(page(make(pictures=False, **broken))).text
    for words in (
        "recipe.json cannot be read (JSONDecodeError).",
        "data.json does not hold what is expected.",
        "verdict.json cannot be read (UnicodeDecodeError).",
        "log.jsonl: 2 of 4 lines cannot be read and are left out.",
        "alarms.jsonl: 1 of 1 lines cannot be read",
        "000000000000.png cannot be read as a picture.",
        "nearest.png cannot be read as a picture.",
        "Best after 800 images: fid 0.5",
        "What was asked is not known.",
    ):
        assert words in told, words
    assert "scores.jsonl:" not in told


def test_an_empty_folder_has_a_page(tmp_path: Path) -> None:
    told = Reader(write_report(tmp_path).read_text(encoding="utf-8")).text
    for words in (
        "A run",
        "recipe.json is missing.",
        "Nothing was scored",
        "There are no pictures",
        "No alarm was raised",
    ):
        assert words in told


def nodes(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in JSON data, as (container, key)."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, key
        if isinstance(item, dict | list):
            yield from nodes(item)


JUNK = [
    None,
    True,
    -1,
    0,
    1e-320,
    1e299,
    -1e308,
    10**400,
    float("nan"),
    float("inf"),
    "",
    "\ud800",
    [],
    {},
    [[]],
    {"a": {}},
]


@pytest.mark.parametrize("seed", range(8))
def test_no_value_in_a_file_is_trusted(make: Callable[..., Path], seed: int) -> None:
    rng = random.Random(seed)
    run = make()
    whole = files()
    whole["log.jsonl"] = whole["log.jsonl"][:3]
    names = [name for name in whole if "/" not in name] + ["checkpoints/000000001280.json"]
    for _ in range(8):
        changed = copy.deepcopy(whole)
        for name in names:
            for _ in range(rng.choice([0, 1, 3])):
                container, key = rng.choice(list(nodes(changed[name])))
                container[key] = copy.deepcopy(rng.choice(JUNK))
        make(pictures=False, **changed)
        read = Reader(write_report(run).read_text(encoding="utf-8"))
        assert [a["id"] for a in read.all("section") if a["id"] != "classes"] == SECTIONS
        assert all(attributes["d"] for attributes in read.all("path"))
        written = " ".join(value or "" for tag, a in read.elements if tag != "svg" for value in a.values())
        assert not {"nan", "inf", "-inf"} & set(re.split(r"[^a-z-]+", written.lower()))


def test_many_of_everything_stay_within_the_size(make: Callable[..., Path]) -> None:
    run = make(pictures=False, **crowd())
    noise = np.random.default_rng(0).integers(0, 256, (500, 400, 3), np.uint8)
    Image.fromarray(noise).save(run / "nearest.png")
    content = (run / "nearest.png").read_bytes()
    for folder in ("samples", "advice"):
        (run / folder).mkdir()
        for n in range(40):
            (run / folder / f"{n:012d}.png").write_bytes(content)
    text = page(run)
    assert len(text.encode()) < 4_000_000
    read = Reader(text)
    assert len(read.all("img")) == MOST_FRAMES + 2 + 1 + 1
    assert "Shown are 300 of 1,000 classes." in read.text
    assert text.count("<i style=") == 100
    assert max(len(word.rstrip(".:,")) for word in read.text.split()) <= 400
    assert section(text, "classes").count("<tr>") == 1 + MOST_CLASSES


def crowd() -> Json:
    whole = files()
    values = {f"fid_class_{k}": k / 3 for k in range(1000)} | {f"name{'x' * 300}{n}": n / 7 for n in range(200)}
    whole["verdict.json"]["values"] |= values
    whole["verdict.json"]["images"] = 18
    whole["scores.jsonl"] = [score(n, 1 / n, num_samples=n % 9) | values for n in range(1, 30)]
    whole["log.jsonl"] = [{"images": n, "loss_d": n % 7, "text" * 99: n % 5} for n in range(3000)]
    whole["alarms.jsonl"] *= 500
    whole["data.json"]["refused"] = [{"file": "f" * 5000, "reason": "r" * 5000}] * 500
    whole["data.json"]["notes"] = ["n" * 5000] * 500
    whole["recipe.json"]["choices"] = ["c" * 5000] * 500
    whole["recipe.json"]["recipe"]["generator"] = {"layers": list(range(9_000))}
    return whole


def test_two_hundred_classes_and_vectors(make: Callable[..., Path]) -> None:
    whole = files()
    whole["recipe.json"]["data"]["class_names"] = [f"kind {k}" for k in range(200)]
    whole["data.json"] |= {"shape": [2], "classes": {f"kind {k}": k for k in range(200)}}
    whole["verdict.json"]["values"] = {"fid": 1.0} | {f"fid_class_{k}": k / 4 for k in range(200)}
    read = Reader(page(make(**whole)))
    assert "1,500 vectors of 2 numbers, 8-bit" in read.text
    assert "kind 199 0.01 49.75" in read.text
    assert "Shown are" not in read.text


def test_a_folder_from_elsewhere_tells_the_same(make: Callable[..., Path], tmp_path: Path) -> None:
    run = make()
    before = page(run)
    moved = run.rename(tmp_path / "copy")
    assert page(moved) == before.replace(str(run), str(moved)).replace("<code>run</code>", "<code>copy</code>")


def test_a_folder_is_read_without_torch(tmp_path: Path) -> None:
    code = f"import sys, pathlib; from sparring.report.page import page; page(pathlib.Path({str(tmp_path)!r}))"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'torch' not in sys.modules"], check=True)


def test_a_recipe_file_is_named_in_every_command(make: Callable[..., Path]) -> None:
    whole = files()
    whole["recipe.json"]["origin"] = "my gan.py:mine"
    text = Reader(section(page(make(**whole)), "use")).text
    assert text.count("--recipe 'my gan.py:mine'") == text.count("sparring ") == 6


def test_a_page_is_written_again_after_more_training(make: Callable[..., Path]) -> None:
    run = make()
    first = write_report(run).read_text(encoding="utf-8")
    with (run / "log.jsonl").open("a") as log:
        log.write('{"images": 99999, "loss_d": 1.0}\n')
    assert "99,999 images seen" in write_report(run).read_text(encoding="utf-8")
    assert "99,999" not in first


def test_a_run_folder_writes_its_page(tmp_path: Path) -> None:
    source = from_arrays(np.random.default_rng(0).integers(0, 256, (200, 8, 8), np.uint8))
    sgd, network = SGD(lr=0.1), PCA.fit(source)
    recipe = Recipe(
        name="tiny",
        source=Data(source="digits"),
        prior=Gaussian(dim=2),
        generator=Generator(layers=[Dense(64), Activation("tanh")]),
        discriminator=Discriminator(layers=[Dense(1)]),
        game=Adversarial(),
        optimizers=Optimizers(generator=sgd, discriminator=sgd),
        train=Train(budget=Budget(amount=10, unit="images")),
    )
    run = tmp_path / "run"
    folder = RunFolder.create(run, Request(recipe, "tiny", (), {}), source.spec, source.report)
    list(folder.record(iter([Stepped(Clock(1, 64, 0.32, 0.0), {"loss_d": 1.0}, 5000.0)])))
    assert folder.draw() == [run / "curves.png", run / "report.html"]
    assert "64 images seen" in (run / "report.html").read_text(encoding="utf-8")

    shown = torch.tensor([3, 70, 199])
    folder.draw_nearest(source.take(shown).x, source, network)
    folder.write_verdict({"images": 64, "values": {"fid": 0.25}, "provenance": {}, "notes": [], "last": None})
    assert "fid 0.25" not in (run / "report.html").read_text(encoding="utf-8")
    folder.draw()
    told = Reader((run / "report.html").read_text(encoding="utf-8")).text
    assert "Best after 64 images: fid 0.25." in told
    assert "Nearest training samples" in told
    found = nearest_in(network, source, source.take(shown).x, 5)
    neighbours = source.take(found.positions.flatten()).x.reshape(3, 5, 1, 8, 8)
    expected = nearest(source.take(shown).x, neighbours, found.distances)
    with Image.open(run / "nearest.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), np.asarray(expected))
    folder.rewind(64)
    assert not (run / "nearest.png").exists()
    assert not (run / "verdict.json").exists()
