"""A new GAN touches one file."""

import json
from pathlib import Path

import pytest

from sparring.cli import main
from sparring.core.execute import load_file
from sparring.testing import check_module

EXAMPLE = Path(__file__).parents[2] / "examples" / "my_gan.py"


def test_the_example_holds_what_the_kit_asks() -> None:
    assert check_module(load_file(f"{EXAMPLE}:", option="example", kind="recipe")) == ["SoftMargin", "Quiet", "my_gan"]


def test_the_example_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ["--budget", "1280img", "--set", "train.grids=1", "--set", "scoring.times=0", "--out", "run"]
    assert main(["train", "digits", "--recipe", f"{EXAMPLE}:my_gan", *asked]) == 0
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert {"loss_d", "loss_g", "quiet", "r1"} <= log[-1].keys()
