"""The beginner's API: the program of the README at a small size, noise in rows and columns, any module as a player."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from sparring import GAN, Discriminator, Generator
from sparring.core.errors import RequestError
from sparring.core.exchange import Clock
from sparring.display import EpochBar
from sparring.games import Adversarial, Packing
from sparring.games.priors import Gaussian
from sparring.layers import Activation, Dense, Dropout
from sparring.train.events import Stepped
from sparring.train.optimizers import SGD, Adam, Optimizers, RMSprop


@pytest.fixture(name="train_X")
def _train_x() -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(-1, 1, (300, 784)).astype(np.float32)


def players() -> tuple[Generator, Discriminator]:
    generator = Generator(
        layers=[Dense(256), Activation("relu", leaky_rate=0.01), Dense(784), Activation("tanh")],
    )
    discriminator = Discriminator(
        layers=[Dense(64), Activation("relu", leaky_rate=0.01), Dropout(0.1), Dense(1), Activation("sigmoid")],
    )
    return generator, discriminator


def test_the_program(train_X: NDArray[np.float32], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gan = GAN(*players(), lr=0.01, decay_rate=1e-4)
    assert gan.train(train_X, epoch=4, k=1, mini_batch_size=3, verbose=True) is gan
    output = capsys.readouterr().out.splitlines()
    assert len(output) == 4
    assert output[2].startswith("epoch 3/4: [####")
    assert "100.00%  loss_g " in output[2]
    assert "loss_d " in output[2]
    img = gan.generate(np.random.uniform(-1, 1, size=(100, 1)))
    assert img.shape == (784, 1)
    assert np.abs(img).max() <= 1
    gan.curves(tmp_path / "curves.png")
    gan.film(tmp_path / "film.gif")
    with Image.open(tmp_path / "film.gif") as film:
        assert getattr(film, "n_frames", 1) > 3
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.width > 500
    assert gan.history["images"] == [300.0, 600.0, 900.0, 1200.0]
    assert len(gan.history["loss_d"]) == len(gan.history["loss_g"]) == 4


def test_noise_as_rows_and_as_columns_is_the_same_noise(train_X: NDArray[np.float32]) -> None:
    gan = GAN(*players()).train(train_X, verbose=False)
    noise = np.random.default_rng(1).uniform(-1, 1, (7, 100))
    rows, columns = gan.generate(noise), gan.generate(noise.T)
    assert rows.shape == (7, 784)
    assert columns.shape == (784, 7)
    np.testing.assert_array_equal(rows, columns.T)
    assert np.std(rows, axis=0).max() > 0  # other noise, other image
    for wrong in (np.zeros((7, 99)), np.zeros(100), np.zeros((1, 2, 100)), np.zeros((0, 100)), np.zeros((100, 0))):
        with pytest.raises(RequestError, match=r"noise: expected shape \[n, 100\], or \[100, n\] for columns, found"):
            gan.generate(wrong)


def test_training_twice_equals_training_once(train_X: NDArray[np.float32]) -> None:
    once = GAN(*players()).train(train_X, epoch=4, verbose=False)
    twice = GAN(*players()).train(train_X, epoch=1, verbose=False).train(train_X, epoch=3, verbose=False)
    noise = np.ones((2, 100))
    np.testing.assert_array_equal(once.generate(noise), twice.generate(noise))
    with pytest.raises(RequestError, match="mini_batch_size and k"):
        twice.train(train_X, mini_batch_size=7)
    with pytest.raises(RequestError, match="data like the first call's"):
        twice.train(train_X[:, :100])


def test_advice_comes_in_the_layout_of_the_samples(train_X: NDArray[np.float32], tmp_path: Path) -> None:
    generator, _ = players()
    critic = nn.Linear(784, 1)
    gan = GAN(generator, critic).train(train_X, verbose=False)
    slope = critic.weight.detach().cpu().numpy()
    rows = gan.generate(np.ones((3, 100)))
    np.testing.assert_allclose(gan.advice(rows), np.repeat(slope, 3, 0), rtol=0.01)
    np.testing.assert_allclose(gan.advice(rows.T), np.repeat(slope.T, 3, 1), rtol=0.01)
    gan.advice_picture(tmp_path / "advice.png")
    with Image.open(tmp_path / "advice.png") as picture:
        assert picture.width > 500
    for wrong in (rows[:, :-1], rows[:0], rows[0]):
        with pytest.raises(RequestError, match=r"samples: expected shape \[n, 784\], or \[784, n\] for columns, found"):
            gan.advice(wrong)
    with pytest.raises(RequestError, match="call train first"):
        GAN(generator, critic).advice(rows)


def test_advice_for_images_hears_their_labels() -> None:
    class D(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.arange(3 * 3 * 6 * 4.0).view(3, 3, 6, 4) / 1000)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return (self.weight[y] * x).flatten(1).sum(1)

    critic = D()
    images = np.random.default_rng(0).integers(0, 256, (60, 6, 4, 3), dtype=np.uint8)
    gan = GAN(Generator(layers=[Dense(72), Activation("tanh")]), critic, prior=Gaussian(dim=8))
    gan.train(images, np.arange(60) % 3, mini_batch_size=10, verbose=False)
    slopes = critic.weight.detach().cpu().numpy().transpose(0, 2, 3, 1)  # of each class, [H, W, C]
    samples = gan.generate(np.zeros((4, 8)))
    np.testing.assert_allclose(gan.advice(samples, [2, 0, 1, 1]), slopes[[2, 0, 1, 1]], rtol=0.01)
    np.testing.assert_allclose(gan.advice(samples), slopes[[0, 1, 2, 0]], rtol=0.01)
    for wrong in (samples.transpose(0, 3, 1, 2), samples[0], samples[:0]):
        with pytest.raises(RequestError, match=r"samples: expected shape \[n, 6, 4, 3\], found"):
            gan.advice(wrong)


def test_any_module_plays_and_labels_condition() -> None:
    class G(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(8 + 3, 3 * 6 * 4), nn.Tanh())

        def forward(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.net(torch.cat([z, nn.functional.one_hot(y, 3)], 1))
            return out.unflatten(1, (3, 6, 4))

    class D(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(3 * 6 * 4 + 3, 1)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.net(torch.cat([x.flatten(1), nn.functional.one_hot(y, 3)], 1))
            return out

    images = np.random.default_rng(0).integers(0, 256, (60, 6, 4, 3), dtype=np.uint8)
    labels = np.arange(60) % 3
    gan = GAN(G(), D(), optimizer="adam", lr=1e-3, prior=Gaussian(dim=8))
    gan.train(images, labels, epoch=2, k=2, mini_batch_size=10, verbose=False)
    assert gan.generate(np.zeros((5, 8))).shape == (5, 6, 4, 3)
    first, second = (gan.generate(np.zeros((1, 8)), [label]) for label in (0, 1))
    assert not np.array_equal(first, second)
    with pytest.raises(RequestError, match=r"expected 5 labels from 0 to 2"):
        gan.generate(np.zeros((5, 8)), [0, 1])


@pytest.mark.parametrize(
    ("name", "kind", "momentum"),
    [
        ("momentum", SGD, 0.9),
        ("momentem", SGD, 0.9),
        ("sgd", SGD, 0.0),
        ("adam", Adam, None),
        ("rmsprop", RMSprop, None),
    ],
)
def test_optimisers_by_name(name: str, kind: type, momentum: float | None) -> None:
    gan = GAN(*players(), lr=0.5, optimizer=name)  # type: ignore[arg-type]
    for found in (gan.optimizers.generator, gan.optimizers.discriminator):
        assert isinstance(found, kind)
        assert found.lr == 0.5
        assert momentum is None or getattr(found, "momentum", None) == momentum


def test_two_rates_and_wrong_names() -> None:
    both = Optimizers(generator=Adam(lr=1e-4), discriminator=Adam(lr=4e-4))
    assert GAN(*players(), optimizer=both).optimizers == both
    with pytest.raises(RequestError, match="expected one of momentum"):
        GAN(*players(), optimizer="adamw")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="call train first"):
        GAN(*players()).generate(np.zeros((1, 100)))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.full((10, 784), np.nan, np.float32), "NaN|nan"),
        (np.zeros((10, 784), np.complex64), "complex64"),
        (np.full((10, 784), 255.0, np.float32), r"\[-1, 1\]"),
        (np.zeros((1, 784), np.float32), "one|two|2"),
        (np.zeros((10, 100), np.float32), "784"),
    ],
)
def test_bad_arrays_are_refused(wrong: NDArray[np.float32], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        GAN(*players()).train(wrong)


def test_the_bar_in_a_terminal_is_redrawn_in_place() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    bar = EpochBar(2, 100, 1000, stream)
    bar.show(Stepped(Clock(0, 2410, 2.41, 0.0), {"loss_g": 0.689, "loss_d": 0.712}, 1.0))
    bar.show(Stepped(Clock(0, 3000, 3.0, 0.0), {"loss_g": 0.7, "loss_d": 0.7}, 1.0))
    bar.close()
    lines = stream.getvalue().split("\r")
    assert lines[1].strip() == "epoch 1/100: [##########--------------] 41.00%  loss_g 0.689  loss_d 0.712"
    assert lines[2].endswith("100.00%  loss_g 0.700  loss_d 0.700\n")


class Stuck(nn.Module):
    """One sample, whatever the noise."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.zeros(9))

    def forward(self, z: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        return self.x.expand(len(z), 9) + 0 * z[:, :9]


def test_what_goes_wrong_is_said_and_kept(capsys: pytest.CaptureFixture[str]) -> None:
    X = np.tanh(np.random.default_rng(0).normal(size=(200, 9))).astype(np.float32)
    discriminator = Discriminator(layers=[Dense(8), Activation("relu", leaky_rate=0.01), Dense(1)])
    gan = GAN(Stuck(), discriminator, lr=1e-3)
    gan.train(X, epoch=400, mini_batch_size=50)
    assert [alarm.name for alarm in gan.alarms] == ["collapse"]
    assert capsys.readouterr().out.count("\nalarm: collapse at ") == 1


def test_advice_is_of_what_the_discriminator_is_shown() -> None:
    """Where samples are judged in packs, every sample still has advice of its own."""
    x = np.random.default_rng(0).uniform(-1, 1, (64, 6)).astype(np.float32)
    game = Adversarial(show=(Packing(size=2),))
    gan = GAN(Generator(layers=[Dense(6)]), Discriminator(layers=[Dense(1)]), game=game)
    gan.train(x, epoch=1, mini_batch_size=8)
    advice = gan.advice(x[:3])
    assert advice.shape == (3, 6)
    assert np.abs(advice).min() > 0
