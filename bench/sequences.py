"""Whether the recipes for series and texts make samples that pass for real ones, in minutes on a CPU.

    python bench/sequences.py [series|text ...] [--seeds 0 1 2] [--budget 300s] [--again] [--quick]
                              [--out docs/figures/sequences.json]

Each run is what `sparring train` does with a file, pictures and scores included, and is judged by the checkpoint that
it takes away, in its averaged weights.

Series are `sines`, 5,000 of [24, 5] with x_c(t) = sin(η t + θ), η uniform in [0, 1) and θ in [-π, π) for each column
(the frequencies and phases that TimeGAN's paper names), and `pluck`, every stretch of 24 moments of the plucked string
in both channels that Python's own tests play (test/audiodata/pluck-pcm16.wav): the one recording that comes with what
is installed. The discriminative score is TimeGAN's (Yoon, Jarrett and van der Schaar 2019, section 5): |accuracy - ½|
on a fifth that was set aside, of a classifier of two GRU layers that learned from the other four fifths of as many
generated as real series; here the mean over three cuts and classifiers of 16 units, after 1,000 steps of 128 of each.
`floor` is the same of other real series, where there are more; of overlapping stretches there are none.

Texts are `words`, the different words of 8 to 14 letters in the docstrings of Python's standard library, scikit-learn,
SciPy and NetworkX and in Python's language reference; one in ten is held out. A word is valid when each of its 4-grams,
with the marks where it begins and ends, occurs in a word that was trained on, and copied when it was trained on itself.
Words are drawn from probabilities to the power 1 / truncation (`sparring sample --truncation`), which makes them
likelier and less varied: `truncated` has the shares for each; the others are of the law as it was learned.
`held_out` is the share of valid words among those held out; `pairs` and `triples` are the same of chains of letters of
order 2 and 3 with the frequencies of the same words: the second are valid by what they are, and copy more.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import os
import random
import re
import statistics
import tempfile
import wave
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from pydoc_data import topics

import networkx
import numpy as np
import scipy
import sklearn
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparring.core.seeds import derive
from sparring.data.open import Data
from sparring.opening import Request
from sparring.recipes.automatic import settle
from sparring.recipes.sequences import series, text
from sparring.rundir import RunFolder
from sparring.train.schedule import Budget, parse_budget
from sparring.train.trainer import Trainer
from sparring.trained import TrainedGenerator
from sparring.verdict import best_checkpoint, generator_of, judge_of_run

CPU = torch.device("cpu")
SAMPLES = 5000
TRUNCATIONS = (1.0, 0.8, 0.7, 0.66, 0.62, 0.58)
Row = dict[str, object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", choices=["series", "text", []], default=[])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--budget", default="300s")
    parser.add_argument("--again", action="store_true", help="make rows anew that are there")
    parser.add_argument("--quick", action="store_true", help="seed 100 for ten seconds, and nothing is written")
    parser.add_argument("--out", type=Path, default=Path("docs/figures/sequences.json"))
    options = parser.parse_args()
    budget = parse_budget("10s" if options.quick else options.budget)
    rows: list[Row] = json.loads(options.out.read_text()) if options.out.exists() and not options.quick else []
    tasks = {"sines": "series", "pluck": "series", "words": "text"}
    for name, kind in tasks.items():
        if options.kinds and kind not in options.kinds:
            continue
        for seed in [100] if options.quick else options.seeds:
            there = [row for row in rows if (row["data"], row["seed"]) == (name, seed)]
            if there and not options.again:
                continue
            row = one(name, seed, budget, 100 if options.quick else 1000)
            print(json.dumps(row), flush=True)
            if options.quick:
                continue
            rows = [other for other in rows if other not in there] + [row]
            options.out.write_text(json.dumps(rows, indent=1) + "\n")
        own = [row for row in rows if row["data"] == name]
        for key in ("discriminative",) if kind == "series" else ("valid", "copied"):
            found = [float(str(row[key])) for row in own]
            if found:
                print(f"{name}: {key} {statistics.mean(found):.4f}, from {min(found):.4f} to {max(found):.4f}")


def one(name: str, seed: int, budget: Budget, steps: int) -> Row:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if name == "words":
            trained_on, held_out = words()
            (folder / "words.txt").write_text("\n".join(trained_on) + "\n")
            generator, told = trained(Data(source=str(folder / "words.txt")), seed, budget, folder)
            found = [of_words(made(generator, seed, truncation), trained_on, held_out) for truncation in TRUNCATIONS]
            keys = ("valid", "copied", "distinct")
            each = {str(t): {key: row[key] for key in keys} for t, row in zip(TRUNCATIONS, found, strict=True)}
            return {"data": name, "seed": seed} | told | found[0] | {"truncated": each}
        source = Data(source=str(folder / f"{name}.npy"), kind="series", window=24, stride=1)
        np.save(folder / f"{name}.npy", sines(0) if name == "sines" else pluck())
        generator, told = trained(source, seed, budget, folder)
        samples = made(generator, seed, None)
        real = source.load()
        assert real.spec.form is not None
        known = np.stack(real.spec.form.decode(real.take(torch.arange(len(real))).x))
        score = discriminative(known, np.stack(samples), seed, steps)
        row = {"data": name, "seed": seed} | told | {"discriminative": score}
        return row | ({"floor": discriminative(known, sines(1), seed, steps)} if name == "sines" else {})


def made(generator: TrainedGenerator, seed: int, truncation: float | None) -> list[object]:
    """Samples, decoded."""
    assert generator.data.form is not None
    x = generator.sample(SAMPLES, seed=derive(12345, "bench", seed), truncation=truncation).x
    found: list[object] = generator.data.form.decode(x)
    return found


def trained(data: Data, seed: int, budget: Budget, place: Path) -> tuple[TrainedGenerator, Row]:
    """The generator that a run leaves, and what is told of the run."""
    source = data.load()
    recipe = settle((text if data.source.endswith(".txt") else series)(data, source.spec, budget), CPU).recipe
    recipe = recipe.replace(train=recipe.train.replace(seed=seed))
    judge = judge_of_run(recipe, source, None, CPU, None)
    assert judge is not None
    trainer = Trainer(recipe, source, CPU, judge)
    folder = RunFolder.create(place / "run", Request(recipe, "sequences", (), {}), source.spec, source.report)
    for _ in folder.record(trainer.run()):
        pass
    chosen = best_checkpoint(folder.path, trainer, judge)
    generator = generator_of(chosen, trainer)
    told = {
        "images": int(chosen.path.stem),
        "of_images": trainer.clock.images,
        "seconds": round(trainer.course.seconds, 1),
        "trained_on": len(source),
    }
    return generator, told


def sines(seed: int) -> np.ndarray:
    """[5000, 24, 5]."""
    draws = np.random.RandomState(seed)
    frequency, phase = draws.uniform(0, 1, (5000, 1, 5)), draws.uniform(-math.pi, math.pi, (5000, 1, 5))
    return np.sin(frequency * np.arange(24)[None, :, None] + phase).astype(np.float32)


def pluck() -> np.ndarray:
    """[3307, 2], 16-bit."""
    path = Path(os.__file__).parent / "test" / "audiodata" / "pluck-pcm16.wav"
    with wave.open(str(path)) as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return sound.reshape(-1, file.getnchannels()).astype(np.float32)


class Classifier(nn.Module):
    def __init__(self, columns: int) -> None:
        super().__init__()
        self.cells = nn.GRU(columns, 16, num_layers=2, batch_first=True)
        self.head = nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.cells(x)[0][:, -1])[:, 0]
        return logits


def discriminative(real: np.ndarray, fake: np.ndarray, seed: int, steps: int) -> float:
    """|accuracy - ½| on a fifth of real and fake [N, T, C], mean over three repeats."""
    scale = 2 / (real.max((0, 1)) - real.min((0, 1)))
    sides = [torch.from_numpy((side - real.mean((0, 1))) * scale).float() for side in (real, fake)]
    count = min(map(len, sides))
    found = []
    for repeat in range(3):
        torch.manual_seed(derive(seed, "classifier", repeat))
        cut = [side[torch.randperm(len(side))[:count]] for side in sides]
        tests = count // 5
        network = Classifier(real.shape[2])
        optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
        for _ in range(steps):
            drawn = [side[torch.randint(tests, count, (128,))] for side in cut]
            loss = F.softplus(-network(drawn[0])).mean() + F.softplus(network(drawn[1])).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            right = torch.cat([network(cut[0][:tests]) > 0, network(cut[1][:tests]) <= 0])
        found.append(abs(right.double().mean().item() - 0.5))
    return round(statistics.mean(found), 4)


def words() -> tuple[list[str], list[str]]:
    """Those to train on, and those that are held out."""
    written = [topic for topic in topics.topics.values() if topic]
    written += list(docstrings(Path(os.__file__).parent.glob("*.py")))
    for library in (sklearn, scipy, networkx):
        written += docstrings(Path(library.__file__).parent.rglob("*.py"))
    # No part of a name such as os.path or x_train, no function call, no keyword argument.
    found = {word for page in written for word in re.findall(r"(?<![\w.])[a-z]{8,14}(?![\w(.=])", page)}
    shuffled = sorted(found)
    random.Random(0).shuffle(shuffled)
    return shuffled[len(found) // 10 :], shuffled[: len(found) // 10]


def docstrings(files: Iterator[Path]) -> Iterator[str]:
    for file in sorted(files):
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                yield ast.get_docstring(node) or ""


def of_words(samples: list[object], trained_on: list[str], held_out: list[str]) -> Row:
    made = [str(sample) for sample in samples]
    known, grams = set(trained_on), set().union(*map(grams_of, trained_on))

    def shares(words: list[str]) -> dict[str, float]:
        valid = sum(bool(word) and grams_of(word) <= grams for word in words) / len(words)
        return {"valid": round(valid, 4), "copied": round(sum(word in known for word in words) / len(words), 4)}

    return {
        **shares(made),
        "distinct": round(len(set(made)) / len(made), 4),
        "held_out": shares(held_out)["valid"],
        "pairs": shares(list(chain(trained_on, 2))),
        "triples": shares(list(chain(trained_on, 3))),
        "some": made[:20],
    }


def grams_of(word: str) -> set[str]:
    marked = f"^{word}$"
    return {marked[i : i + 4] for i in range(max(1, len(marked) - 3))}


def chain(words: list[str], order: int) -> Iterator[str]:
    """Words letter by letter, each drawn as often as it follows the last `order`."""
    follows = defaultdict(list)
    for word in words:
        marked = f"{'^' * order}{word}$"
        for i in range(order, len(marked)):
            follows[marked[i - order : i]].append(marked[i])
    draws = random.Random(1)
    for _ in range(SAMPLES):
        made = "^" * order
        while made[-1] != "$":
            made += draws.choice(follows[made[-order:]])
        yield made.strip("^$")


if __name__ == "__main__":
    main()
