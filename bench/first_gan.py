"""What the beginner's program of `examples/first_gan.py` reaches after its 100 epochs, by the independent judge.

    python bench/first_gan.py [--seeds 0 1 2] [--epochs 100] [--out docs/figures/first_gan.json]

The program's networks, learning rate, decay and batch; 10,000 uniform noises; the time of `train` alone. Real MNIST is
read from $SPARRING_DATA/mnist.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
from judge import load_judge

from sparring import GAN, Discriminator, Generator
from sparring.data.open import Data
from sparring.layers import Activation, Dense


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    options = parser.parse_args()
    mnist = Data(source="mnist", labels="ignore").load()
    train_X = mnist.images.numpy().reshape(-1, 784).astype(np.float32) / 127.5 - 1
    rows = []
    for seed in options.seeds:
        g = Generator(layers=[Dense(256), Activation("relu", leaky_rate=0.01), Dense(784), Activation("tanh")])
        d = Discriminator(layers=[Dense(64), Activation("relu", leaky_rate=0.01), Dense(1), Activation("sigmoid")])
        gan = GAN(g, d, lr=0.01, decay_rate=1e-4)
        started = time.perf_counter()
        gan.train(train_X, epoch=options.epochs, k=1, mini_batch_size=100, seed=seed, verbose=False)
        seconds = time.perf_counter() - started
        noise = np.random.default_rng(seed).uniform(-1, 1, (10_000, 100))
        images = np.rint((gan.generate(noise) + 1) * 127.5).astype(np.uint8).reshape(-1, 28, 28)
        rows.append({"seed": seed, "epochs": options.epochs, "seconds": seconds} | load_judge().judge(images))
        print(json.dumps(rows[-1]), flush=True)
    fids = [float(row["fid"]) for row in rows]
    print(f"FID {statistics.mean(fids):.1f} ({min(fids):.1f} to {max(fids):.1f}) over {len(fids)} seeds")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
