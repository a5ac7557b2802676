"""Laws in one and two dimensions, where what a generator does can be seen whole: known sets, drawn and not read.

`ring8` and `grid25` are the mixtures of equal Gaussians on which modes are counted, as in Lin et al. 2018 ("PacGAN",
arXiv:1712.04086, section 4.1): a ring of radius 1 with standard deviation 0.01, and a grid on {-4, -2, 0, 2, 4}² with
0.05. `moons` and `swiss_roll` are scikit-learn's shapes, the roll seen from its side; `spirals` are two arms; and
`gaussian1d` is the line on which Goodfellow et al. 2014, figure 1, show what the game does.

Samples lie in [-1, 1], as all data: what stands in a paper is divided by `scale`, the units of the law that one unit
of the samples is. It is chosen so that no sample of a Gaussian tail is cut off.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparring.core.protocols import DataSpec
from sparring.data.tensors import Resident, from_arrays

COUNTS = {"train": 100_000, "test": 10_000}
"""Points of each split: 100,000 to train on are PacGAN's."""
Points = NDArray[np.float64]


class Toy(NamedTuple):
    """A law: how `draw(random, count)` makes points [count, dim] in its own units, and what is known of it."""

    draw: Callable[[np.random.RandomState, int], Points]
    scale: float
    """Units of the law in one unit of the samples."""
    centres: tuple[tuple[float, ...], ...] = ()
    """Of a mixture of equally likely Gaussians, in the law's units; none where it is not one."""
    sigma: float = 0.0
    """The standard deviation of each of its components, per coordinate."""
    dim: int = 2


def _mixture(centres: tuple[tuple[float, ...], ...], sigma: float, scale: float) -> Toy:
    def draw(random: np.random.RandomState, count: int) -> Points:
        at = np.array(centres)[random.randint(len(centres), size=count)]
        return np.asarray(at + sigma * random.standard_normal(at.shape))

    return Toy(draw, scale, centres, sigma, len(centres[0]))


def _moons(random: np.random.RandomState, count: int) -> Points:
    angle = random.uniform(0, math.pi, count)
    upper = random.randint(2, size=count) == 0
    x = np.where(upper, np.cos(angle), 1 - np.cos(angle))
    y = np.where(upper, np.sin(angle), 0.5 - np.sin(angle))
    return np.stack([x - 0.5, y - 0.25], 1) + 0.05 * random.standard_normal((count, 2))


def _spirals(random: np.random.RandomState, count: int) -> Points:
    # The root spreads the points evenly along the arms, whose length grows with the square of the angle.
    angle = 3 * math.pi * np.sqrt(random.uniform(0, 1, count))
    radius = angle / (3 * math.pi) * np.where(random.randint(2, size=count) == 0, 1, -1)
    arms = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    return np.asarray(arms + 0.02 * random.standard_normal((count, 2)))


def _swiss_roll(random: np.random.RandomState, count: int) -> Points:
    angle = 1.5 * math.pi * (1 + 2 * random.uniform(0, 1, count))
    roll = np.stack([angle * np.cos(angle), angle * np.sin(angle)], 1)
    return np.asarray(roll + 0.3 * random.standard_normal((count, 2)))


_RING = tuple((math.cos(k * math.pi / 4), math.sin(k * math.pi / 4)) for k in range(8))
_GRID = tuple(itertools.product((-4.0, -2.0, 0.0, 2.0, 4.0), repeat=2))
TOYS = {
    "gaussian1d": _mixture(((0.0,),), 1.0, 6.0),
    "grid25": _mixture(_GRID, 0.05, 5.0),
    "moons": Toy(_moons, 2.0),
    "ring8": _mixture(_RING, 0.01, 1.25),
    "spirals": Toy(_spirals, 1.25),
    "swiss_roll": Toy(_swiss_roll, 18.0),
}


def toy_of(data: DataSpec) -> Toy | None:
    """The law that some data were drawn from, or None where they are no toy: told by name, shape and type."""
    toy = TOYS.get(data.name)
    return toy if toy is not None and data.levels == 0 and data.shape == (toy.dim,) else None


def load_toy(name: str, split: str = "train") -> Resident:
    """One split of a toy, always the same points: `COUNTS` of them, drawn from a seed for each split, and no labels."""
    toy = TOYS[name]
    random = np.random.RandomState(list(COUNTS).index(split))  # this generator's streams never change
    points = toy.draw(random, COUNTS[split]) / toy.scale
    source = from_arrays(points.astype(np.float32), name=name)
    units = f"one unit of the samples is {toy.scale:g} units of the law"
    known = f"{len(toy.centres)} equally likely Gaussians of standard deviation {toy.sigma:g}; " if toy.centres else ""
    source.report |= {"kind": "known law, drawn", "notes": [f"{known}{units}"]}
    return source
