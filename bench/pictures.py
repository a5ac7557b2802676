"""Makes the pictures of the README and the documents, and the end of `make demo` that the README shows.

    python bench/pictures.py [mnist toys first_gan demo stylegan2]

Trains MNIST for 120 s and two toys for 60 s, runs `examples/first_gan.py` and the demo's command, trains StyleGAN2 on
MNIST for ten minutes, and copies what they drew to `docs/pictures/` and what the demo said to `docs/figures/demo.txt`.
All, or those that are named; all take about twenty minutes on two cores. Real MNIST is read from $SPARRING_DATA/mnist.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import cast

ROOT = Path(__file__).parent.parent
PICTURES, FIGURES = ROOT / "docs" / "pictures", ROOT / "docs" / "figures"


def run(folder: Path, *arguments: str) -> str:
    print("running", " ".join(arguments), flush=True)
    return subprocess.run([sys.executable, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def mnist(folder: Path) -> None:
    run(folder, "-m", "sparring", "train", "mnist", "--budget", "120s", "--out", "mnist")
    shutil.copyfile(sorted((folder / "mnist" / "samples").glob("*.png"))[-1], PICTURES / "mnist.png")
    shutil.copyfile(sorted((folder / "mnist" / "advice").glob("*.png"))[-1], PICTURES / "advice.png")
    shutil.copyfile(folder / "mnist" / "progress.gif", PICTURES / "mnist.gif")


def toys(folder: Path) -> None:
    for name in ("grid25", "ring8"):
        run(folder, "-m", "sparring", "train", name, "--budget", "60s", "--out", name)
    shutil.copyfile(sorted((folder / "grid25" / "samples").glob("*.png"))[-1], PICTURES / "grid25.png")
    shutil.copyfile(folder / "ring8" / "progress.gif", PICTURES / "ring8.gif")


def first_gan(folder: Path) -> None:
    run(folder, str(ROOT / "examples" / "first_gan.py"))
    for picture in ("first_gan.png", "first_gan_curves.png", "first_gan.gif"):
        shutil.copyfile(folder / picture, PICTURES / picture)


def demo(folder: Path) -> None:
    said = run(folder, "-m", "sparring", "train", "digits", "--out", "runs/demo", "--budget", "60s")
    (FIGURES / "demo.txt").write_text(said[said.index("done:") :])


def stylegan2(folder: Path) -> None:
    """What w can do. Above: the same nine z, truncated to .3, .5, .7 and 1 of their distance from the mean w. Below:
    each picture takes the w of the row's first for the coarse half of its layers, that of the column's for the rest."""
    recipe = ROOT / "sparring" / "recipes" / "stylegan2.py"
    run(folder, "-m", "sparring", "train", "mnist", "--labels", "ignore", "--recipe", f"{recipe}:stylegan2",
        "--budget", "10min", "--out", "stylegan2")  # fmt: skip
    draw_styles(folder / "stylegan2", PICTURES / "stylegan2.png")


def draw_styles(run: Path, out: Path) -> None:
    """The picture of a run's averaged generator."""
    import torch
    from PIL import Image

    from sparring.networks.stylegan2 import StyleGAN2Synthesis
    from sparring.opening import open_checkpoint, open_generator
    from sparring.pictures.grid import BACKGROUND, sample_grid
    from sparring.trained import TrainedGenerator, averaged_weights

    columns, rows = 9, 4
    spec, prior, data = open_generator(run)
    weights = averaged_weights(open_checkpoint(run, "best").tensors)
    net = cast(StyleGAN2Synthesis, TrainedGenerator(spec, data, prior, weights).net)
    random = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        z = prior.draw(columns, random)
        above = torch.cat([net.truncated(z, None, psi) for psi in (0.3, 0.5, 0.7, 1.0)])
        w = net.mapped(prior.draw(columns - 1 + rows, random))
        fine, coarse = w[: columns - 1], w[columns - 1 :]
        sources = net.synthesised(fine)
        below = [torch.full_like(sources[:1], BACKGROUND / 127.5 - 1), sources]
        for own in coarse:
            each = fine[:, None].repeat(1, net.places, 1)
            each[:, : net.places // 2] = own
            below += [net.synthesised(own[None]), net.synthesised(each)]
    parts = [sample_grid(x, columns, levels=data.levels) for x in (above, torch.cat(below))]
    gap = 10
    picture = Image.new(parts[0].mode, (parts[0].width, sum(part.height for part in parts) + gap), "white")
    picture.paste(parts[0], (0, 0))
    picture.paste(parts[1], (0, parts[0].height + gap))
    picture.save(out)


MAKERS = {maker.__name__: maker for maker in (mnist, toys, first_gan, demo, stylegan2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*MAKERS, []], help=", ".join(MAKERS))
    names = parser.parse_args().names
    PICTURES.mkdir(parents=True, exist_ok=True)
    FIGURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        for name in names or MAKERS:
            MAKERS[name](Path(place))


if __name__ == "__main__":
    main()
