"""The folder's pictures on the page: as data URLs of bounded size, a handful of them from first to last."""

from __future__ import annotations

import base64
import io
import itertools
import re
from pathlib import Path
from typing import Any

from PIL import Image

MOST_FRAMES = 12
"""Grids of the sample history."""
FRAME_BYTES, PICTURE_BYTES = 80_000, 220_000
"""The most that a grid of the history and any other picture may take; a third more in the page. With 12 grids and five
pictures these are under 3 MB."""
MOST_PIXELS = 40_000_000
"""Of a picture in the folder; larger ones are not opened."""


def by_images(folder: Path) -> list[tuple[float, Path]]:
    """The pictures of a folder that are named by images seen, in that order."""
    try:
        named = [path for path in folder.iterdir() if re.fullmatch(r"\d{1,18}\.png", path.name, re.ASCII)]
    except OSError:
        return []
    return sorted((float(path.stem), path) for path in named)


def history(grids: list[tuple[float, Path]], best: float | None) -> list[dict[str, Any]]:
    """A handful of grids from first to last, the best checkpoint's among them."""
    last = len(grids) - 1
    chosen = {round(n * last / (MOST_FRAMES - 2)) for n in range(MOST_FRAMES - 1)} if last > 0 else {0}
    if best is not None and grids:
        chosen.add(_closest(grids, best))
    return [{"images": grids[n][0]} | _embed(grids[n][1], FRAME_BYTES) for n in sorted(chosen)] if grids else []


def pair(grids: list[tuple[float, Path]], judged: dict[str, Any] | None) -> dict[str, Any] | None:
    """The grids of the best checkpoint and of the end, where they differ."""
    if judged is None or not grids:
        return None
    at = _closest(grids, judged["images"])
    if at == len(grids) - 1:
        return {"same": True}
    sides = []
    for title, images, values, (drawn, path) in (
        ("Best", judged["images"], judged["values"], grids[at]),
        ("Last", judged["last_images"] or grids[-1][0], judged["last"], grids[-1]),
    ):
        scores = [(name, str(value)) for name, value in itertools.islice(values.items(), 4)]
        sides.append({"title": title, "images": images, "drawn": drawn, "scores": scores} | _embed(path, PICTURE_BYTES))
    return {"same": False, "sides": sides}


def nearest_samples(run: Path) -> dict[str, Any] | None:
    """Samples beside the real data nearest to them; None where they were not drawn."""
    path = run / "nearest.png"
    return _embed(path, PICTURE_BYTES) if path.exists() else None


def last_advice(run: Path) -> dict[str, Any] | None:
    """The last picture of what the discriminator told the generator; None where there is none."""
    found = by_images(run / "advice")
    return {"images": found[-1][0]} | _embed(found[-1][1], PICTURE_BYTES) if found else None


def _closest(grids: list[tuple[float, Path]], images: float) -> int:
    return min(range(len(grids)), key=lambda n: abs(grids[n][0] - images))


def _embed(path: Path, most: int) -> dict[str, Any]:
    """A picture as a data URL of at most about 4/3 of `most` bytes, reduced as far as that takes; or why not."""
    try:
        content, kind = path.read_bytes(), "png"
        with Image.open(io.BytesIO(content), formats=("PNG",)) as file:
            if file.width * file.height > MOST_PIXELS:
                return {"problem": f"{path.name} is too large to be shown here ({file.width}×{file.height} pixels)."}
            picture = file.convert("L" if file.mode in ("1", "L") else "RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return {"problem": f"{path.name} cannot be read as a picture."}
    width, height = picture.size
    while len(content) > most:
        if kind == "jpeg":
            smaller = (max(1, picture.width * 4 // 5), max(1, picture.height * 4 // 5))
            picture = picture.resize(smaller, Image.Resampling.LANCZOS)
        out, kind = io.BytesIO(), "jpeg"
        picture.save(out, kind, quality=82)
        content = out.getvalue()
    url = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return {"url": url, "width": width, "height": height, "problem": ""}
