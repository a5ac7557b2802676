"""What `Memorisation` finds, and what it misses: generators that replay MNIST's training set, beside honest ones.

    python bench/memorisation.py [--rounds 10] [--out FIGURES.json]

In each round 10,000 training images are what the judge keeps of the training set, 1,000 test images are samples of a
perfect generator, and the other 9,000 are held out. A replay draws 5,000 samples from 1,000 random images of those
10,000, as they are or changed a little; `replay of all` from all 60,000, five sixths of which the judge does not keep.
`only ones` is what is left of the 1,000 when nine classes are lost. Features are digits28's. Real MNIST is read from
$SPARRING_DATA/mnist.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from sparring.data.open import Data
from sparring.metrics.features import Digits28
from sparring.metrics.memorisation import Memorisation, memorised
from sparring.metrics.metric import Measured, Setting
from sparring.metrics.summary import summarise

KEPT, REPLAYED, SAMPLES, UNSEEN = 10_000, 1000, 5000, 1000
SHOWN = ("authentic_share", "authentic_share_held_out", "copies", "copies_held_out", "ct")


def read(split: str) -> tuple[Tensor, Tensor]:
    source = Data(source="mnist", split=split).load()  # type: ignore[arg-type]
    x, y = source.take(torch.arange(len(source)))
    return x, y


def measured(network: Digits28, x: Tensor) -> Measured:
    """Features of images as they would be stored, in 256 levels."""
    stored = [part.clamp(-1, 1).add(1).mul(127.5).round().div(127.5).sub(1) for part in torch.split(x, 1000)]
    features = torch.cat([network(part) for part in stored])
    return Measured(summarise(features), torch.empty(0), features, torch.empty(len(features), 0))


def generators(
    train: Tensor, everything: Tensor, unseen: Tensor, ones: Tensor, seed: int
) -> Iterator[tuple[str, Tensor]]:
    """Names and samples."""
    chance = torch.Generator().manual_seed(seed)
    shown = train[torch.randperm(KEPT, generator=chance)[:REPLAYED]]
    replay = shown[torch.randint(0, REPLAYED, (SAMPLES,), generator=chance)]
    noise = torch.randn(replay.shape, generator=chance)
    yield "unseen images", unseen
    yield "unseen images, only ones", ones
    yield "unseen images, noise 2 %", unseen + 0.04 * noise[:UNSEEN]
    yield "replay", replay
    yield "replay, noise 2 %", replay + 0.04 * noise
    yield "replay, noise 5 %", replay + 0.1 * noise
    yield "replay, noise 10 %", replay + 0.2 * noise
    yield "replay, 1 pixel to the right", replay.roll(1, 3)
    yield "replay, 1 pixel down", replay.roll(1, 2)
    yield "replay, 1 pixel right and down", replay.roll((1, 1), (2, 3))
    yield "replay, 10 % of another in it", 0.9 * replay + 0.1 * replay.flip(0)
    for share in (0.02, 0.05, 0.1, 0.2):
        num = round(share * UNSEEN)
        yield f"unseen images, {share:.0%} replay", torch.cat([unseen[num:], shown[:num]])
    yield "replay of all", everything[torch.randint(0, len(everything), (SAMPLES,), generator=chance)]


def main() -> None:
    parser = argparse.ArgumentParser(description="What the memorisation metric finds on MNIST, and what it misses.")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--out", type=Path, help="a JSON file for all values")
    options = parser.parse_args()
    network = Digits28()
    (train_x, _), (test_x, test_y) = read("train"), read("test")
    found: dict[str, list[dict[str, float]]] = {}
    for seed in range(options.rounds):
        chance = torch.Generator().manual_seed(1000 + seed)
        train = train_x[torch.randperm(len(train_x), generator=chance)[:KEPT]]
        order = torch.randperm(len(test_x), generator=chance)
        unseen, held_out = test_x[order[:UNSEEN]], test_x[order[UNSEEN:]]
        ones = unseen[test_y[order[:UNSEEN]] == 1]
        real, setting = measured(network, train), Setting(network, seed, measured(network, held_out))
        for name, x in generators(train, train_x, unseen, ones, seed):
            found.setdefault(name, []).append(Memorisation().measure(measured(network, x), real, setting))
    print(f"{'':32} {'flagged':>8} {'copies, % (range)':>22} {'authentic, %':>13} {'C_T':>7}")
    for name, rows in found.items():
        flagged = sum(map(memorised, rows))
        copies = [100 * row["copies"] for row in rows]
        middle = {key: statistics.median(row[key] for row in rows) for key in SHOWN}
        spread = f"{100 * middle['copies']:6.1f} ({min(copies):.1f} to {max(copies):.1f})"
        print(
            f"{name:32} {f'{flagged}/{len(rows)}':>8} {spread:>22} {100 * middle['authentic_share']:13.1f} "
            f"{middle['ct']:7.1f}"
        )
    print(
        f"held out: authentic {100 * statistics.median(r['authentic_share_held_out'] for r in found['replay']):.1f} %"
    )
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
