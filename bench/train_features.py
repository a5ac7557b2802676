"""Trains the digit classifiers whose features the scores of MNIST and of scikit-learn's digits are measured in.

    SPARRING_DATA=<folder with mnist/> python bench/train_features.py [digits28|digits8] [--out FOLDER] [--seed N]

Shifts, turns and sizes of the training images keep the features from hanging on single pixels. No noise is added: a
judge trained to look through noise would not see it in samples either. The weights of an exponential average are
folded, stored in float16 and measured as stored. One thread and one seed: a second run on the same machine gives the
same weights.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import time
from pathlib import Path

import numpy as np
import safetensors.torch
import sklearn.datasets
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sparring.metrics.features import Digits8, Digits28

WEIGHTS = Path(__file__).parents[1] / "sparring" / "metrics" / "weights"
HELD_OUT = 360  # the last of scikit-learn's 1,797 digits, not a random fifth: neighbours in the file share a writer


def mnist() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Train images [60000, 1, 28, 28] in [-1, 1] and labels, then the 10,000 test ones."""
    folder = Path(os.environ["SPARRING_DATA"]) / "mnist"

    def images(name: str) -> Tensor:
        raw = np.frombuffer(gzip.decompress((folder / name).read_bytes()), np.uint8, offset=16)
        return torch.from_numpy(raw.reshape(-1, 1, 28, 28).copy()).float() / 127.5 - 1

    def labels(name: str) -> Tensor:
        raw = np.frombuffer(gzip.decompress((folder / name).read_bytes()), np.uint8, offset=8)
        return torch.from_numpy(raw.astype(np.int64))

    return (
        images("train-images-idx3-ubyte.gz"),
        labels("train-labels-idx1-ubyte.gz"),
        images("t10k-images-idx3-ubyte.gz"),
        labels("t10k-labels-idx1-ubyte.gz"),
    )


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The first 1,437 images [N, 1, 8, 8] in [-1, 1] and labels, then the last 360."""
    found = sklearn.datasets.load_digits()
    x = torch.from_numpy(found.images).float()[:, None] / 8 - 1
    y = torch.from_numpy(found.target).long()
    return x[:-HELD_OUT], y[:-HELD_OUT], x[-HELD_OUT:], y[-HELD_OUT:]


def augment(x: Tensor, degrees: float, shift: float, scale: float, generator: torch.Generator) -> Tensor:
    """Each image turned, moved (a fraction of its size) and resized at random; black outside."""
    B = len(x)

    def draw(limit: float) -> Tensor:
        return (torch.rand(B, generator=generator) * 2 - 1) * limit

    angle, size = draw(math.radians(degrees)), 1 + draw(scale)
    cos, sin = angle.cos() / size, angle.sin() / size
    theta = torch.stack([cos, -sin, draw(2 * shift), sin, cos, draw(2 * shift)], 1).view(B, 2, 3)
    return F.grid_sample(x + 1, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False) - 1


def fold(net: nn.ModuleDict) -> dict[str, Tensor]:
    """The trained network's weights with each batch norm folded into the convolution before it, as float16."""
    body: list[nn.Module] = []
    for layer in net.eval()["body"]:
        if isinstance(layer, nn.BatchNorm2d):
            body[-1] = fuse_conv_bn_eval(body[-1], layer)
        else:
            body.append(layer)
    folded = nn.ModuleDict({"body": nn.Sequential(*body), "head": net["head"]})
    return {key: value.detach().half().contiguous() for key, value in folded.state_dict().items()}


@torch.inference_mode()
def accuracy(net: Digits28 | Digits8, tensors: dict[str, Tensor], x: Tensor, y: Tensor) -> float:
    """Of the weights as they will be loaded: float16 widened to float32."""
    shipped = net.architecture(train=False)
    shipped.load_state_dict({key: value.float() for key, value in tensors.items()})
    logits = torch.cat([shipped["head"](shipped["body"](part)) for part in x.split(1000)])
    return (logits.argmax(1) == y).double().mean().item()


def train(network: type[Digits28] | type[Digits8], out: Path, seed: int) -> None:
    mnist_size = network is Digits28
    x, y, test_x, test_y = mnist() if mnist_size else digits()
    epochs, batch, shift = (16, 256, 2 / 28) if mnist_size else (300, 64, 0.7 / 8)
    torch.manual_seed(seed)  # the initial weights and the dropout
    generator = torch.Generator().manual_seed(seed)
    net = network.architecture(train=True).to(memory_format=torch.channels_last)
    average = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998), use_buffers=True
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-2, fused=True)
    steps = epochs * (len(x) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps, pct_start=0.15)
    started = time.perf_counter()
    for epoch in range(epochs):
        net.train()
        total = 0.0
        for index in torch.randperm(len(x), generator=generator)[: len(x) // batch * batch].view(-1, batch):
            features = net["body"](augment(x[index], 10, shift, 0.12, generator))
            loss = F.cross_entropy(net["head"](F.dropout(features, 0.3)), y[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            average.update_parameters(net)
            total += loss.item()
        if mnist_size or (epoch + 1) % 50 == 0:
            print(f"{network.name} epoch {epoch + 1}/{epochs}  loss {total / (len(x) // batch):.4f}", flush=True)
    tensors = fold(average.module)
    score = accuracy(network, tensors, test_x, test_y)
    about = {
        "network": network.name,
        "trained_on": "MNIST train, 60,000 images" if mnist_size else "scikit-learn digits, the first 1,437",
        "accuracy": f"{score:.4f}",
        "accuracy_on": "MNIST test, 10,000 images" if mnist_size else f"scikit-learn digits, the last {HELD_OUT}",
        "script": "bench/train_features.py",
        "seed": str(seed),
        "epochs": str(epochs),
    }
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{network.name}.safetensors"
    safetensors.torch.save_file(tensors, path, metadata=about)
    seconds = time.perf_counter() - started
    print(f"{path}  {path.stat().st_size / 1000:.0f} kB  {seconds:.0f} s\n{json.dumps(about, indent=2)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="?", choices=["digits28", "digits8"], help="default: both")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for network in (Digits8, Digits28):
        if options.network in (None, network.name):
            train(network, options.out, options.seed)


if __name__ == "__main__":
    main()
