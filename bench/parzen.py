"""Parzen-window log-likelihood on MNIST (Goodfellow et al. 2014, arXiv:1406.2661): of real images, then of samples.

    python bench/parzen.py [samples.npz ...] [--json]

Each file holds `images`, uint8 [N,28,28] or [N,28,28,1]; the first 10,000 are the centres. The window is chosen on the
training images 50,000 to 50,999, and the mean log-likelihood (nats) is that of the 10,000 test images, with its
standard error. The real rows take training images as centres: five disjoint sets of 10,000, whose spread is what the
choice of centres adds to that error, and all 50,000. Samples that score above real images are blurred, not better.

MNIST's four IDX files, with or without .gz, are looked for in $SPARRING_DATA/mnist. Ten seconds a row on one thread.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from judge import read_mnist
from torch import Tensor

from sparring.metrics.likelihood import NUM_CENTRES, NUM_VALIDATION, choose_sigma, log_likelihood

NUM_TRAIN = 50_000


def to_values(images: np.ndarray) -> Tensor:
    """uint8 [N,28,28] or [N,28,28,1] -> float32 [N,784] in [0,1]."""
    if images.dtype != np.uint8 or images.shape[1:] not in ((28, 28), (28, 28, 1)):
        raise SystemExit(
            f"parzen: images are {images.dtype} {list(images.shape)}; expected uint8 [N,28,28] or [N,28,28,1]"
        )
    return torch.from_numpy(images.reshape(-1, 784).astype(np.float32) / 255)


def score(centres: Tensor, validation: Tensor, test: Tensor) -> dict[str, float]:
    """The window, the mean log-likelihood in nats and its standard error."""
    sigma = choose_sigma(validation, centres)
    found = log_likelihood(test, centres, (sigma,))[0]
    return {
        "num_centres": len(centres),
        "sigma": sigma,
        "log_likelihood": found.mean().item(),
        "standard_error": found.std().item() / len(found) ** 0.5,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Parzen-window log-likelihood of MNIST samples.")
    parser.add_argument("samples", nargs="*", type=Path, help=".npz files holding uint8 `images`")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    options = parser.parse_args()
    train, test = (to_values(read_mnist(split)[0]) for split in ("train", "t10k"))
    validation = train[NUM_TRAIN : NUM_TRAIN + NUM_VALIDATION]
    sets = {
        f"real {start:,} to {start + NUM_CENTRES - 1:,}": train[start : start + NUM_CENTRES]
        for start in range(0, NUM_TRAIN, NUM_CENTRES)
    }
    sets[f"real 0 to {NUM_TRAIN - 1:,}"] = train[:NUM_TRAIN]
    for path in options.samples:
        with np.load(path, allow_pickle=False) as file:
            if "images" not in file:
                raise SystemExit(f"parzen: {path} holds {sorted(file)}; expected an array named images")
            sets[str(path)] = to_values(file["images"][:NUM_CENTRES])
    results = {}
    for name, centres in sets.items():
        results[name] = found = score(centres, validation, test)
        if not options.json:
            print(
                f"{name}: {found['log_likelihood']:.1f} ± {found['standard_error']:.1f} nats  σ {found['sigma']:.3f}  "
                f"{found['num_centres']:,} centres"
            )
    if options.json:
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
