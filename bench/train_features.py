"""Trains the digit classifiers whose features the scores of MNIST and of scikit-learn's digits are measured in.

    python bench/train_features.py [digits28|digits8] [--out FOLDER] [--seed N]

Shifts, turns and sizes of the training images keep the features from hanging on single pixels. No noise is added: a
judge trained to look through noise would not see it in samples either. The weights of an exponential average are
folded, stored in float16 and measured as stored. One thread and one seed: a second run on the same machine gives the
same weights.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Literal

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sparring.data.open import Data
from sparring.metrics.features import Digits8, Digits28

WEIGHTS = Path(__file__).parents[1] / "sparring" / "metrics" / "weights"


def read(name: str, split: Literal["train", "test"]) -> tuple[Tensor, Tensor]:
    """A whole split: x [N, 1, H, W] in [-1, 1] and labels [N]."""
    source = Data(source=name, split=split).load()
    x, y = source.take(torch.arange(len(source)))
    assert y is not None
    return x, y


def augment(x: Tensor, degrees: float, shift: float, scale: float, generator: torch.Generator) -> Tensor:
    """Each image turned, moved (a fraction of its size) and resized at random; black outside."""
    B = len(x)

    def draw(limit: float) -> Tensor:
        return (torch.rand(B, generator=generator) * 2 - 1) * limit

    angle, size = draw(math.radians(degrees)), 1 + draw(scale)
    cos, sin = angle.cos() / size, angle.sin() / size
    theta = torch.stack([cos, -sin, draw(2 * shift), sin, cos, draw(2 * shift)], 1).view(B, 2, 3)
    return F.grid_sample(x + 1, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False) - 1


@torch.inference_mode()
def fold(net: nn.ModuleDict, x: Tensor) -> dict[str, Tensor]:
    """The trained network's weights as float16, each batch norm folded into the convolution before it, and the features
    scaled to a mean square of 1 over the training images x, where a kernel's powers 1, 2 and 3 weigh alike."""
    body: list[nn.Module] = []
    for layer in net.eval()["body"]:
        if isinstance(layer, nn.BatchNorm2d):
            body[-1] = fuse_conv_bn_eval(body[-1], layer)
        else:
            body.append(layer)
    folded = nn.ModuleDict({"body": nn.Sequential(*body), "head": net["head"]})
    size = torch.cat([folded["body"](part).square().mean(1) for part in x.split(1000)]).mean().sqrt()
    last = folded["body"][-2]
    last.weight /= size
    last.bias /= size
    folded["head"].weight *= size
    return {key: value.half().contiguous() for key, value in folded.state_dict().items()}


@torch.inference_mode()
def accuracy(net: Digits28 | Digits8, tensors: dict[str, Tensor], x: Tensor, y: Tensor) -> float:
    """Of the weights as they will be loaded: float16 widened to float32."""
    shipped = net.architecture(train=False)
    shipped.load_state_dict({key: value.float() for key, value in tensors.items()})
    logits = torch.cat([shipped["head"](shipped["body"](part)) for part in x.split(1000)])
    return (logits.argmax(1) == y).double().mean().item()


def train(network: type[Digits28] | type[Digits8], out: Path, seed: int) -> None:
    if network is Digits28:
        name, epochs, batch, shift, smoothing = "mnist", 16, 256, 2 / 28, 0.0
    else:
        name, epochs, batch, shift, smoothing = "digits", 300, 64, 0.7 / 8, 0.02
    (x, y), (test_x, test_y) = read(name, "train"), read(name, "test")
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
            loss = F.cross_entropy(net["head"](F.dropout(features, 0.3)), y[index], label_smoothing=smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            average.update_parameters(net)
            total += loss.item()
        if (epoch + 1) % (epochs // 6) == 0:
            print(f"{network.name} epoch {epoch + 1}/{epochs}  loss {total / (len(x) // batch):.4f}", flush=True)
    tensors = fold(average.module, x)
    score = accuracy(network, tensors, test_x, test_y)
    about = {
        "network": network.name,
        "trained_on": f"{name} train, {len(x)} images",
        "accuracy": f"{score:.4f}",
        "accuracy_on": f"{name} test, {len(test_x)} images",
        "script": "bench/train_features.py",
        "seed": str(seed),
        "epochs": str(epochs),
    }
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{network.name}.safetensors"
    path.write_bytes(safetensors.torch.save(tensors, metadata=about))
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
