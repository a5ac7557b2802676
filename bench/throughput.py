"""Images per second against PyTorch-GAN's gan.py and dcgan.py: their networks, batch and optimiser, on this machine.

    python bench/throughput.py --peer PATH/TO/PyTorch-GAN [--rounds 5] [--seconds 8] [--out FIGURES.json]

PyTorch-GAN (github.com/eriklindernoren/PyTorch-GAN) is not part of this project: clone it yourself. Its scripts run
unmodified; torchvision, of which they use three names, is stood in for by the few lines below, so that no installation
of it is needed. In each round every contender runs once, in turn, alone; ratios are taken within rounds, and the median
and the extremes over rounds are printed. Real MNIST is read from $SPARRING_DATA/mnist.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WARM_UP = 3.0  # seconds of steps that are not counted

# What gan.py and dcgan.py need of torchvision: MNIST as PIL images, three transforms, and saving a picture (left out:
# time for samples is not what is compared).
STAND_IN = {
    "__init__.py": "from . import datasets, transforms, utils\n",
    "utils.py": "def save_image(*arguments, **more):\n    pass\n",
    "transforms.py": """
import numpy as np
import torch
from PIL import Image


class Compose:
    def __init__(self, steps):
        self.steps = steps

    def __call__(self, x):
        for step in self.steps:
            x = step(x)
        return x


class Resize:
    def __init__(self, size):
        self.size = size

    def __call__(self, image):
        if image.size == (self.size, self.size):
            return image
        return image.resize((self.size, self.size), Image.Resampling.BILINEAR)


class ToTensor:
    def __call__(self, image):
        return torch.from_numpy(np.array(image)).unsqueeze(0).float().div(255)


class Normalize:
    def __init__(self, mean, std):
        self.mean, self.std = torch.tensor(mean).view(-1, 1, 1), torch.tensor(std).view(-1, 1, 1)

    def __call__(self, x):
        return (x - self.mean) / self.std
""",
    "datasets.py": """
import gzip
import os
import numpy as np
import torch
from PIL import Image


class MNIST(torch.utils.data.Dataset):
    def __init__(self, root, train=True, download=False, transform=None):
        folder, part = os.path.join(os.environ["SPARRING_DATA"], "mnist"), "train" if train else "t10k"
        with gzip.open(f"{folder}/{part}-images-idx3-ubyte.gz") as file:
            self.images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
        with gzip.open(f"{folder}/{part}-labels-idx1-ubyte.gz") as file:
            self.labels = np.frombuffer(file.read(), np.uint8, offset=8)
        self.transform = transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.transform(Image.fromarray(self.images[i])), int(self.labels[i])
""",
}


def ours(name: str, precision: str, seconds: float) -> float:
    """Images per second of the same game in our trainer, averaging the generator's weights on top."""
    import torch

    from sparring.data.open import Data
    from sparring.games.adversarial import Adversarial
    from sparring.games.priors import Gaussian
    from sparring.layers import (
        Activation,
        BatchNormalization,
        Conv2D,
        Dense,
        Dropout,
        Flatten,
        Layer,
        Reshape,
        UpSampling2D,
    )
    from sparring.networks.layered import Discriminator, Generator
    from sparring.recipes.automatic import settle
    from sparring.train.optimizers import Adam, Optimizers
    from sparring.train.recipe import Recipe, Train
    from sparring.train.schedule import Budget
    from sparring.train.trainer import Trainer

    leaky = Activation("relu", leaky_rate=0.2)

    def dense_block(units: int, *, norm: bool = True) -> list[Layer]:
        return [Dense(units), *([BatchNormalization(epsilon=0.8)] if norm else []), leaky]

    def down_block(filters: int, *, norm: bool = True) -> list[Layer]:
        block: list[Layer] = [Conv2D(filters, 3, 2, padding=1), leaky, Dropout(0.25, spatial=True)]
        return [*block, BatchNormalization(epsilon=0.8)] if norm else block

    if name == "gan":
        data = Data(source="mnist", labels="ignore")
        g = [*dense_block(128, norm=False), *dense_block(256), *dense_block(512), *dense_block(1024)]
        g += [Dense(784), Activation("tanh"), Reshape((1, 28, 28))]
        d: list[Layer] = [Flatten(), Dense(512), leaky, Dense(256), leaky, Dense(1), Activation("sigmoid")]
    else:
        data = Data(source="mnist", labels="ignore", size=(32, 32))
        g = [Dense(128 * 64), Reshape((128, 8, 8)), BatchNormalization(), UpSampling2D(2)]
        g += [Conv2D(128, 3), BatchNormalization(epsilon=0.8), leaky, UpSampling2D(2)]
        g += [Conv2D(64, 3), BatchNormalization(epsilon=0.8), leaky, Conv2D(1, 3), Activation("tanh")]
        d = [*down_block(16, norm=False), *down_block(32), *down_block(64), *down_block(128)]
        d += [Flatten(), Dense(1), Activation("sigmoid")]
    adam = Adam(lr=2e-4, betas=(0.5, 0.999))
    recipe = Recipe(
        name=name,
        source=data,
        prior=Gaussian(dim=100),
        generator=Generator(layers=g),
        discriminator=Discriminator(layers=d),
        game=Adversarial(),
        optimizers=Optimizers(generator=adam, discriminator=adam),
        train=Train(budget=Budget(amount=3600), batch=64, precision=precision),  # type: ignore[arg-type]
    )
    device = torch.device("cpu")
    trainer = Trainer(settle(recipe, device).recipe, data.load(), device)
    start = time.perf_counter()
    while time.perf_counter() - start < WARM_UP:
        trainer.take_step()
    before, start = trainer.clock.images, time.perf_counter()
    while time.perf_counter() - start < seconds:
        trainer.take_step()
        if trainer.step % 20 == 0:
            trainer.report.drain()
    return (trainer.clock.images - before) / (time.perf_counter() - start)


def theirs(peer: Path, name: str, seconds: float) -> float:
    """Images per second of the peer's script, from the lines that it prints for every batch of 64."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "torchvision")
        package.mkdir()
        for file, text in STAND_IN.items():
            (package / file).write_text(text)
        work = Path(folder, "implementations", name)
        work.mkdir(parents=True)
        environment = os.environ | {"PYTHONPATH": folder, "PYTHONUNBUFFERED": "1"}
        script = (peer / "implementations" / name / f"{name}.py").resolve()
        process = subprocess.Popen(
            [sys.executable, str(script)], cwd=work, env=environment, stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            first, count, counted_from = 0.0, 0, 0.0
            for line in process.stdout:
                if "[Batch" not in line:
                    continue
                now = time.perf_counter()
                first = first or now
                if now - first < WARM_UP:
                    counted_from, count = now, 0
                    continue
                count += 1
                if now - counted_from >= seconds:
                    return 64 * count / (now - counted_from)
        finally:
            process.kill()
            process.wait()
    raise SystemExit(f"{script} ended before {seconds} s were measured")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, help="a clone of PyTorch-GAN")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    parser.add_argument("--ours", nargs=2, metavar=("NAME", "PRECISION"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ours:
        print(json.dumps(ours(*options.ours, options.seconds)))
        return
    if options.peer is None:
        parser.error("--peer: a clone of PyTorch-GAN is needed")
    print(f"{'game':<7}{'contender':<18}{'img/s median':>13}{'(least-most)':>16}{'ratio':>8}{'(least-most)':>16}")
    figures = []
    for name in ("gan", "dcgan"):
        rates: dict[str, list[float]] = {"peer": [], "float32": [], "bfloat16": []}
        for _ in range(options.rounds):
            rates["peer"].append(theirs(options.peer, name, options.seconds))
            for precision in ("float32", "bfloat16"):
                command = [sys.executable, __file__, "--ours", name, precision, "--seconds", str(options.seconds)]
                run = subprocess.run(command, capture_output=True, text=True, check=True)
                rates[precision].append(json.loads(run.stdout))
        for contender, found in rates.items():
            ratios = [rate / base for rate, base in zip(found, rates["peer"], strict=True)]
            figures.append({"game": name, "contender": contender, "rates": found, "ratios": ratios})
            print(
                f"{name:<7}{contender:<18}{statistics.median(found):>13,.0f}"
                f"{f'({min(found):,.0f}-{max(found):,.0f})':>16}"
                f"{statistics.median(ratios):>8.2f}{f'({min(ratios):.2f}-{max(ratios):.2f})':>16}"
            )
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
