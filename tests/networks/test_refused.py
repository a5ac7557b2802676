"""Networks that do not fit the data are refused before anything is trained, in one line: found and expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparring.cli import main

OWN = """
from torch import nn
from sparring.core.protocols import NetworkSpec
from sparring.networks.given import GivenDiscriminator, GivenGenerator
from sparring.recipes.images import dcgan

class Net(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.lin = nn.Linear(inputs, outputs)

    def forward(self, x, y):
        return self.lin(x.flatten(1))

class Own(NetworkSpec):
    inputs: int
    outputs: int

    def build(self, data, z_dim):
        return Net(self.inputs or z_dim, self.outputs)

def generator(source, data, budget):
    return dcgan(source, data, budget).replace(generator=Own(inputs=0, outputs=7))

def discriminator(source, data, budget):
    return dcgan(source, data, budget).replace(discriminator=Own(inputs=64, outputs=2))

def column(source, data, budget):
    return dcgan(source, data, budget).replace(discriminator=Own(inputs=64, outputs=1))

def other_input(source, data, budget):
    return dcgan(source, data, budget).replace(discriminator=Own(inputs=9, outputs=1))

def given_generator(source, data, budget):
    recipe = dcgan(source, data, budget)
    return recipe.replace(generator=GivenGenerator(Net(recipe.prior.dim, 7)))

def given_discriminator(source, data, budget):
    return dcgan(source, data, budget).replace(discriminator=GivenDiscriminator(Net(64, 2)))
"""
IMAGES = {
    "dcgan": "DCGAN",
    "resnet": "residual networks",
    "r3gan": "R3GAN",
    "stylegan2": "StyleGAN2",
    "fastgan": "FastGAN",
}


@pytest.fixture(autouse=True)
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN)
    Path("series.csv").write_text("time,a,b\n" + "".join(f"{i},{i % 7}.5,{i % 5}\n" for i in range(40)))
    Path("table.csv").write_text("a,b\n" + "".join(f"{i * i % 7}.5,{'xyz'[i % 3]}\n" for i in range(40)))
    Path("words.txt").write_text("".join(f"{a}{b}\n" for a in "abcde" for b in "xyz"))


CASES = [
    *(
        (
            ["digits", "--size", size, "--recipe", recipe],
            f"{who}: expected images of at least 8×8 pixels, found {found}",
        )
        for recipe, who in IMAGES.items()
        for size, found in (
            ("6x6", "digits of shape (1, 6, 6): --size 8x8 is the nearest"),
            ("4x30", "digits of shape (1, 4, 30): --size 8x30 is the nearest"),
        )
    ),
    *(
        ([file, "--recipe", recipe], f"{who}: expected images of at least 8×8 pixels, found {found}")
        for recipe, who in IMAGES.items()
        for file, found in (("series.csv", "series of shape (10, 2)"), ("table.csv", "table of shape ("))
    ),
    (["digits", "--recipe", "series"], "recipe series: expected series, found digits of shape [1, 8, 8]"),
    (["table.csv", "--recipe", "series"], "recipe series: expected series, found table of shape ["),
    (["words.txt", "--recipe", "series"], "recipe series: expected series, found words of shape [2, 9]"),
    (["digits", "--recipe", "text"], "recipe text: expected texts, found digits of shape [1, 8, 8]"),
    (["series.csv", "--recipe", "text"], "recipe text: expected texts, found series of shape [10, 2]"),
    (["digits", "--recipe", "table"], "recipe table: expected rows of a table, found digits of shape [1, 8, 8]"),
    (["series.csv", "--recipe", "table"], "recipe table: expected rows of a table, found series of shape [10, 2]"),
    (
        ["digits", "--recipe", "own.py:generator"],
        "generator Own: expected [2, 1, 8, 8] from an input of shape [2, 64], found [2, 7]",
    ),
    (
        ["digits", "--recipe", "own.py:discriminator"],
        "discriminator Own: expected [2] from an input of shape [2, 1, 8, 8], found [2, 2]",
    ),
    (
        ["digits", "--recipe", "own.py:column"],
        "discriminator Own: expected [2] from an input of shape [2, 1, 8, 8], found [2, 1]",
    ),
    (
        ["digits", "--recipe", "own.py:other_input"],
        "discriminator Own: failed on an input of shape [2, 1, 8, 8]: mat1 and mat2",
    ),
    (
        ["digits", "--recipe", "own.py:given_generator"],
        "expected x of shape (2, 1, 8, 8) from a z of shape (2, 64), found (2, 7)",
    ),
    (
        ["digits", "--recipe", "own.py:given_discriminator"],
        "expected one logit per sample, [2] or [2, 1] from an x of shape (2, 1, 8, 8), found [2, 2]",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), CASES, ids=[" ".join(arguments) for arguments, _ in CASES])
def test_what_does_not_fit_is_refused_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *arguments, "--out", "run", "--budget", "64img"]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert "Traceback" not in said
    assert not list(Path("run").glob("checkpoints/*"))
