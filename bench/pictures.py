"""Makes the pictures of the README, and the end of `make demo` that it shows.

    python bench/pictures.py

Trains MNIST for 120 s and two toys for 60 s, runs `examples/first_gan.py` and the demo's command, and copies what they
drew to `docs/pictures/` and what the demo said to `docs/figures/demo.txt`. About eight minutes on two cores; real
MNIST is read from $SPARRING_DATA/mnist.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PICTURES, FIGURES = ROOT / "docs" / "pictures", ROOT / "docs" / "figures"


def run(folder: Path, *arguments: str) -> str:
    print("running", " ".join(arguments), flush=True)
    return subprocess.run([sys.executable, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def main() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    FIGURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        run(folder, "-m", "sparring", "train", "mnist", "--budget", "120s", "--out", "mnist")
        shutil.copyfile(sorted((folder / "mnist" / "samples").glob("*.png"))[-1], PICTURES / "mnist.png")
        shutil.copyfile(sorted((folder / "mnist" / "advice").glob("*.png"))[-1], PICTURES / "advice.png")
        shutil.copyfile(folder / "mnist" / "progress.gif", PICTURES / "mnist.gif")
        for name in ("grid25", "ring8"):
            run(folder, "-m", "sparring", "train", name, "--budget", "60s", "--out", name)
        shutil.copyfile(sorted((folder / "grid25" / "samples").glob("*.png"))[-1], PICTURES / "grid25.png")
        shutil.copyfile(folder / "ring8" / "progress.gif", PICTURES / "ring8.gif")
        run(folder, str(ROOT / "examples" / "first_gan.py"))
        for picture in ("first_gan.png", "first_gan_curves.png", "first_gan.gif"):
            shutil.copyfile(folder / picture, PICTURES / picture)
        said = run(folder, "-m", "sparring", "train", "digits", "--out", "runs/demo", "--budget", "60s")
        (FIGURES / "demo.txt").write_text(said[said.index("done:") :])


if __name__ == "__main__":
    main()
