"""An independent judge of MNIST generators: a LeNet-like classifier that no part of the library uses or ships.

A generator must not be praised only by the network that chose its checkpoint, so the benchmarks score with this one:

    python bench/judge.py samples.npz [more.npz ...] [--json] [--cache DIR]

Each file holds `images`, uint8 [N,28,28] or [N,28,28,1], and, if it likes, `labels` [N]. Up to 10,000 of them are set
against the 10,000 MNIST test images. Reported are the Fréchet distance (Heusel et al. 2017, arXiv 1706.08500, eq. 6)
over the 84 penultimate ReLU features, the shares of the ten classes as the judge reads them, how many of them exceed
1 %, the share of images read with p > 0.9 and, with labels, how often the judge reads the label. The floor, 10,000 real
training images against the test images, stands first. These distances compare with no Inception FID, and with no other
classifier's.

MNIST's four IDX files, with or without .gz, are looked for in $SPARRING_DATA/mnist. The judge is trained once (seven
minutes on one thread of a busy machine; 99.4 % of the test images read right) and kept in the cache folder.
"""

import argparse
import gzip
import hashlib
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

DEFAULT_CACHE = Path.home() / ".cache" / "sparring-bench"
NUM_JUDGED = 10_000
EPOCHS, BATCH, LEARNING_RATE, SEED = 7, 128, 1e-3, 20261121


class Judge(nn.Module):
    """Conv 5×5×32, pool, conv 5×5×64, pool, dense 120, dense 84, dense 10, ReLU between (after LeNet-5, LeCun 1998)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 5, padding=2)
        self.conv2 = nn.Conv2d(32, 64, 5)
        self.fc1 = nn.Linear(64 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def features(self, x: Tensor) -> Tensor:
        """x float [B,1,28,28] in [0,1] -> penultimate ReLU features [B,84]."""
        h = F.relu(F.max_pool2d(self.conv1(x), 2))
        h = F.relu(F.max_pool2d(self.conv2(h), 2))
        return F.relu(self.fc2(F.relu(self.fc1(h.flatten(1)))))

    def forward(self, x: Tensor) -> Tensor:
        """x float [B,1,28,28] in [0,1] -> logits [B,10]."""
        return self.fc3(self.features(x))


def read_mnist(split: str) -> tuple[np.ndarray, np.ndarray]:
    """The images uint8 [N,28,28] and labels uint8 [N] of `split` ("train" or "t10k"), in the files' order."""
    if "SPARRING_DATA" not in os.environ:
        raise SystemExit("judge: SPARRING_DATA is not set; expected a folder that holds mnist/ with the four IDX files")
    folder = Path(os.environ["SPARRING_DATA"]) / "mnist"

    def read(name: str, header: int) -> np.ndarray:
        plain, packed = folder / name, folder / f"{name}.gz"
        if not plain.exists() and not packed.exists():
            raise SystemExit(f"judge: neither {plain} nor {packed.name} exists; set SPARRING_DATA to the folder above")
        raw = plain.read_bytes() if plain.exists() else gzip.decompress(packed.read_bytes())
        return np.frombuffer(raw, np.uint8, offset=header)

    images = read(f"{split}-images-idx3-ubyte", 16).reshape(-1, 28, 28)
    return images, read(f"{split}-labels-idx1-ubyte", 8)


def to_input(images: np.ndarray) -> Tensor:
    """uint8 [N,28,28] or [N,28,28,1] -> float32 [N,1,28,28] in [0,1]."""
    if images.dtype != np.uint8 or images.shape[1:] not in ((28, 28), (28, 28, 1)):
        raise SystemExit(
            f"judge: images are {images.dtype} {list(images.shape)}; expected uint8 [N,28,28] or [N,28,28,1]"
        )
    return torch.from_numpy(images.reshape(-1, 1, 28, 28).astype(np.float32) / 255)


def train_judge(log: bool = True) -> Judge:
    """A judge trained from a fixed seed on the 60,000 training images, each shifted by up to one pixel."""
    images, labels = read_mnist("train")
    x, y = torch.from_numpy(np.array(images)), torch.from_numpy(labels.astype(np.int64))
    padded = F.pad(x, (1, 1, 1, 1))
    rng = torch.Generator().manual_seed(SEED)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        judge = Judge().to(memory_format=torch.channels_last)
        optimizer = torch.optim.Adam(judge.parameters(), LEARNING_RATE, fused=True)
        steps = EPOCHS * (len(x) // BATCH)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        start = time.perf_counter()
        for epoch in range(EPOCHS):
            order = torch.randperm(len(x), generator=rng)
            for index in order.split(BATCH)[: len(x) // BATCH]:
                dy, dx = torch.randint(0, 3, (2,), generator=rng).tolist()  # one shift a batch: light, and free
                batch = padded[index, dy : dy + 28, dx : dx + 28].unsqueeze(1).float() / 255
                loss = F.cross_entropy(judge(batch), y[index])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
            if log:
                print(f"judge: epoch {epoch + 1}/{EPOCHS}, {time.perf_counter() - start:.0f} s", file=sys.stderr)
    return judge.to(memory_format=torch.contiguous_format)


@torch.no_grad()
def read_images(judge: Judge, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The features float64 [N,84] and class probabilities float64 [N,10] of uint8 images."""
    features = torch.cat([judge.features(batch) for batch in to_input(images).split(1000)])
    probabilities = judge.fc3(features).double().softmax(1)
    return features.double().numpy(), probabilities.numpy()


def moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean [D] and the unbiased covariance [D,D] of features [N,D]."""
    return features.mean(0), np.cov(features, rowvar=False)


def frechet(mean1: np.ndarray, cov1: np.ndarray, mean2: np.ndarray, cov2: np.ndarray) -> float:
    """‖μ₁-μ₂‖² + tr(Σ₁ + Σ₂ - 2(Σ₁Σ₂)^½), the root's trace from the eigenvalues of the symmetric Σ₁^½ Σ₂ Σ₁^½."""
    values, vectors = np.linalg.eigh(cov1)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    trace_root = np.sqrt(np.linalg.eigvalsh(root @ cov2 @ root).clip(0)).sum()
    return float(((mean1 - mean2) ** 2).sum() + np.trace(cov1) + np.trace(cov2) - 2 * trace_root)


class Bench:
    """A trained judge together with what it needs to know of the test images."""

    def __init__(self, judge: Judge) -> None:
        self.network = judge
        images, labels = read_mnist("t10k")
        features, probabilities = read_images(judge, images)
        self.reference = moments(features)
        self.test_accuracy = float((probabilities.argmax(1) == labels).mean())

    def judge(self, images: np.ndarray, labels: np.ndarray | None = None) -> dict[str, object]:
        """Scores of uint8 images [N,28,28] or [N,28,28,1] (the first 10,000) against the test images.

        Returns fid, shares (of the ten classes, in 0..1), classes_over_1pct, confident (share with p > 0.9),
        num_images and, with `labels` [N], label_accuracy in 0..1.
        """
        images = images[:NUM_JUDGED]
        if len(images) < 2:
            raise SystemExit(f"judge: {len(images)} images; at least 2 are needed, {NUM_JUDGED} for a fair score")
        features, probabilities = read_images(self.network, images)
        read = probabilities.argmax(1)
        shares = np.bincount(read, minlength=10) / len(read)
        scores: dict[str, object] = {
            "fid": frechet(*moments(features), *self.reference),
            "shares": shares.tolist(),
            "classes_over_1pct": int((shares > 0.01).sum()),
            "confident": float((probabilities.max(1) > 0.9).mean()),
            "num_images": len(read),
        }
        if labels is not None:
            scores["label_accuracy"] = float((read == np.asarray(labels)[: len(read)].reshape(-1)).mean())
        return scores

    def floor(self) -> dict[str, object]:
        """The scores of 10,000 real training images, drawn once with a fixed seed."""
        images, labels = read_mnist("train")
        index = np.random.default_rng(SEED).permutation(len(images))[:NUM_JUDGED]
        return self.judge(images[index], labels[index])


def load_judge(cache: str | Path = DEFAULT_CACHE) -> Bench:
    """The judge kept in folder `cache`, trained and written there first if it is not."""
    made_by = hashlib.sha256(f"{EPOCHS} {BATCH} {LEARNING_RATE} {SEED}".encode()).hexdigest()[:8]
    path = Path(cache).expanduser() / f"judge-{made_by}.safetensors"
    judge = Judge()
    if path.exists():
        judge.load_state_dict(load_file(path))
    else:
        judge = train_judge()
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        save_file(judge.state_dict(), partial)
        partial.replace(path)
    return Bench(judge)


def describe(name: str, scores: dict[str, object]) -> str:
    """One line for people."""
    shares = " ".join(f"{100 * share:.1f}" for share in scores["shares"])  # type: ignore[attr-defined]
    line = f"{name}: FID {scores['fid']:.2f}  classes {scores['classes_over_1pct']} [{shares} %]"
    line += f"  p>0.9 {100 * scores['confident']:.1f} %"  # type: ignore[operator]
    if "label_accuracy" in scores:
        line += f"  label read {100 * scores['label_accuracy']:.2f} %"  # type: ignore[operator]
    return line if scores["num_images"] == NUM_JUDGED else f"{line}  (only {scores['num_images']} images)"


def main() -> None:
    parser = argparse.ArgumentParser(description="Score MNIST samples with an independent classifier.")
    parser.add_argument("samples", nargs="*", type=Path, help=".npz files holding uint8 `images` and perhaps `labels`")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help=f"where the judge lies ({DEFAULT_CACHE})")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    options = parser.parse_args()
    bench = load_judge(options.cache)
    floor = bench.floor()
    results = {}
    for path in options.samples:
        with np.load(path, allow_pickle=False) as file:
            if "images" not in file:
                raise SystemExit(f"judge: {path} holds {sorted(file)}; expected an array named images")
            results[str(path)] = bench.judge(file["images"], file.get("labels"))
    if options.json:
        print(json.dumps({"test_accuracy": bench.test_accuracy, "floor": floor, "samples": results}, indent=2))
        return
    print(f"judge: test accuracy {100 * bench.test_accuracy:.2f} %")
    for name, scores in {"real train images": floor, **results}.items():
        print(describe(name, scores))


if __name__ == "__main__":
    main()
