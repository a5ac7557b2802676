"""Trains the classifier whose features the scores of CIFAR-10 are measured in.

    python bench/train_cifar_features.py [--out FOLDER] [--seed N] [--epochs N] [--checkpoint FILE]

After K. Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU" (arXiv:2404.00498): a fixed whitening layer, layers
that begin as the identity, biases that learn 64 times as fast as weights, Nesterov momentum under a rate that rises
and then falls in a straight line, labels smoothed. Shifts and flips of the training images are all the augmentation:
a judge trained to look through noise or blur would not see it in samples either. The labels are smoothed by half as
much as there, since smoothing draws the features of a class together, and a judge should see differences within it.

The weights are folded, stored in float16 and measured as stored. One thread and one seed: a second run on the same
machine gives the same weights, also when it was interrupted and went on from its checkpoint.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from train_features import WEIGHTS, read

from sparring.metrics.features.cifar import Cifar32, picture_classifier

BATCH, RATE, MOMENTUM, DECAY = 512, 0.75, 0.85, 1.3e-3
BIAS_FASTER, SMOOTHING, LOGIT_SCALE, SHIFT = 64, 0.1, 1 / 9, 2
WARM_UP = 0.2
"""Share of the steps in which the rate rises, from a fifth of its peak."""
LEAST_VARIANCE = 0.01
"""Added to the variances of the patches, of pixels in [-1, 1], before they are divided by."""


def start(x: Tensor) -> nn.ModuleDict:
    """The network before training: the first layer whitens the patches of images x and does not learn, and each later
    convolution passes on its inputs, beside random filters of which it has more outputs than inputs."""
    net = picture_classifier(train=True).to(memory_format=torch.channels_last)
    patches = F.unfold(x, 2).transpose(1, 2).flatten(0, 1)
    mean = patches.mean(0)
    variances, directions = torch.linalg.eigh((patches - mean).T @ (patches - mean) / len(patches))
    whiten = (directions / (variances + LEAST_VARIANCE).sqrt()).T
    first, *layers = net["body"]
    with torch.no_grad():
        first.weight.copy_(torch.cat([whiten, -whiten]).view_as(first.weight))
        first.bias.copy_(-torch.cat([whiten, -whiten]) @ mean)
        first.weight.requires_grad_(False)
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.dirac_(layer.weight[: layer.in_channels])
            elif isinstance(layer, nn.BatchNorm2d):
                layer.weight.requires_grad_(False)  # stays at 1: see `picture_classifier`
    return net


def augment(x: Tensor, generator: torch.Generator) -> Tensor:
    """Each of x [B, 3, 32, 32] moved by up to two pixels each way, its border mirrored, and flipped half the time."""
    B, _, H, W = x.shape
    padded = F.pad(x, (SHIFT,) * 4, mode="reflect")
    down, right = torch.randint(0, 2 * SHIFT + 1, (2, B, 1), generator=generator)
    flipped = torch.rand(B, 1, generator=generator) < 0.5
    rows = down + torch.arange(H)
    columns = right + torch.where(flipped, torch.arange(W).flip(0), torch.arange(W))
    channels_last = padded.permute(0, 2, 3, 1)
    return channels_last[torch.arange(B)[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


@torch.inference_mode()
def fold(net: nn.ModuleDict, x: Tensor) -> dict[str, Tensor]:
    """The trained network's weights as float16, each batch norm folded into the convolution before it, and the scale
    that gives the features a mean square of 1 over the training images x, where a kernel's powers weigh alike."""
    body: list[nn.Module] = []
    for layer in net.eval()["body"]:
        if isinstance(layer, nn.BatchNorm2d):
            conv = max(i for i, earlier in enumerate(body) if isinstance(earlier, nn.Conv2d))
            body[conv] = fuse_conv_bn_eval(body[conv], layer)
        else:
            body.append(layer)
    folded = nn.ModuleDict({"body": nn.Sequential(*body), "head": net["head"]})
    size = torch.cat([folded["body"](part).square().mean(1) for part in x.split(500)]).mean().sqrt()
    folded["head"].weight *= size * LOGIT_SCALE
    tensors = {**folded.state_dict(), "scale": 1 / size}
    return {key: value.half().contiguous() for key, value in tensors.items()}


def train(out: Path, seed: int, epochs: int, checkpoint: Path | None) -> None:
    x, y = read("cifar10", "train")
    torch.manual_seed(seed)
    net = start(x[::10])
    learn = {key: value for key, value in net.named_parameters() if value.requires_grad}
    biases = [value for key, value in learn.items() if key.endswith("bias")]
    weights = [value for key, value in learn.items() if key.endswith("weight")]
    peaks = (RATE, RATE * BIAS_FASTER)
    optimizer = torch.optim.SGD(
        [{"params": weights, "weight_decay": DECAY}, {"params": biases, "weight_decay": DECAY / BIAS_FASTER}],
        momentum=MOMENTUM,
        nesterov=True,
    )
    first = 0
    if checkpoint and checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        first = state["epochs"]
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
    each = len(x) // BATCH
    started = time.perf_counter()
    for epoch in range(first, epochs):
        net.train()
        generator = torch.Generator().manual_seed(seed * 1000 + epoch)
        total = 0.0
        for i, index in enumerate(torch.randperm(len(x), generator=generator)[: each * BATCH].view(-1, BATCH)):
            done = (epoch * each + i) / (epochs * each)
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * min(0.2 + 0.8 * done / WARM_UP, (1 - done) / (1 - WARM_UP))
            with torch.autocast("cpu", torch.bfloat16):
                logits = net["head"](net["body"](augment(x[index], generator)))
            loss = F.cross_entropy(logits.float() * LOGIT_SCALE, y[index], label_smoothing=SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        if checkpoint:
            state = {"epochs": epoch + 1, "net": net.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(state, checkpoint)
        seconds = time.perf_counter() - started
        print(f"epoch {epoch + 1}/{epochs}  loss {total / each:.4f}  {seconds:.0f} s", flush=True)
    about = {
        "network": Cifar32.name,
        "trained_on": f"cifar10 train, {len(x)} images",
        "script": "bench/train_cifar_features.py",
        "seed": str(seed),
        "epochs": str(epochs),
    }
    tensors = fold(net, x)
    score = accuracy(tensors, *read("cifar10", "test"))
    about.update(accuracy=f"{score:.4f}", accuracy_on="cifar10 test, 10000 images")
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{Cifar32.name}.safetensors"
    path.write_bytes(safetensors.torch.save(tensors, metadata=about))
    print(f"{path}  {path.stat().st_size / 1000:.0f} kB\n{json.dumps(about, indent=2)}", flush=True)


@torch.inference_mode()
def accuracy(tensors: dict[str, Tensor], x: Tensor, y: Tensor) -> float:
    """Of the weights as they will be loaded: float16 widened to float32."""
    shipped = picture_classifier(train=False)
    scale = tensors["scale"].float()
    shipped.load_state_dict({key: value.float() for key, value in tensors.items() if key != "scale"})
    logits = torch.cat([shipped["head"](shipped["body"](part) * scale) for part in x.split(500)])
    return (logits.argmax(1) == y).double().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--checkpoint", type=Path, help="written after each epoch, and gone on from where it exists")
    options = parser.parse_args()
    torch.set_num_threads(1)
    train(options.out, options.seed, options.epochs, options.checkpoint)


if __name__ == "__main__":
    main()
