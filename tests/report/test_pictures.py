"""Pictures keep what they show, within a size, and those from first to last include the ends and the best."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparring.report import pictures
from sparring.report.pictures import FRAME_BYTES, MOST_FRAMES, by_images, history, last_advice, nearest_samples, pair


def picture(url: str) -> tuple[bytes, Image.Image]:
    content = base64.b64decode(url.partition("base64,")[2])
    return content, Image.open(io.BytesIO(content))


def grids(folder: Path, images: list[int]) -> list[tuple[float, Path]]:
    for n in images:
        Image.new("L", (4, 4), n % 256).save(folder / f"{n:06d}.png")
    return by_images(folder)


def test_a_small_picture_is_the_file_itself(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20), "red").save(tmp_path / "nearest.png")
    found = nearest_samples(tmp_path)
    assert found is not None
    assert (found["width"], found["height"], found["problem"]) == (30, 20, "")
    assert found["url"].startswith("data:image/png;")
    assert picture(found["url"])[0] == (tmp_path / "nearest.png").read_bytes()


def test_a_large_picture_is_reduced_and_still_shows_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 100, 500)[None, :, None] + rng.integers(0, 156, (400, 500, 3))
    Image.fromarray(ramp.astype(np.uint8)).save(tmp_path / "000001.png")
    (found,) = history(by_images(tmp_path), None)
    content, shown = picture(found["url"])
    assert shown.format == "JPEG"
    assert FRAME_BYTES / 4 < len(content) <= FRAME_BYTES
    assert (found["width"], found["height"]) == (500, 400)
    columns = np.asarray(shown.resize((10, 1), Image.Resampling.BOX), float).mean(axis=(0, 2))
    np.testing.assert_allclose(columns, ramp.astype(np.uint8).reshape(400, 10, 50, 3).mean(axis=(0, 2, 3)), atol=2)


def test_too_many_pixels_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST_PIXELS", 599)
    Image.new("RGB", (30, 20)).save(tmp_path / "nearest.png")
    found = nearest_samples(tmp_path)
    assert found == {"problem": "nearest.png is too large to be shown here (30×20 pixels)."}


def test_what_is_not_named_by_images_is_none_of_them(tmp_path: Path) -> None:
    for name in ("12.png", "3.png", "best.png", "4.jpg", "-1.png", "٣.png"):
        (tmp_path / name).touch()
    assert by_images(tmp_path) == [(3.0, tmp_path / "3.png"), (12.0, tmp_path / "12.png")]
    assert by_images(tmp_path / "none") == []


@pytest.mark.parametrize("count", [1, 2, 11, 12, 100])
def test_the_history_has_both_ends_and_the_best(tmp_path: Path, count: int) -> None:
    images = [10 * n for n in range(count)]
    best = images[count // 3]
    shown = [each["images"] for each in history(grids(tmp_path, images), best + 3.0)]
    assert {images[0], images[-1], best} <= set(shown)
    assert shown == sorted(set(shown))
    assert len(shown) <= MOST_FRAMES
    assert max(np.diff(shown), default=0) <= 10 * max(1, -(-count // (MOST_FRAMES - 2)))


def test_no_pictures_are_no_history(tmp_path: Path) -> None:
    assert history([], 5.0) == []
    assert pair([], {"images": 5.0}) is None
    assert nearest_samples(tmp_path) is None
    assert last_advice(tmp_path) is None


def test_the_pair_is_one_where_the_best_is_the_last(tmp_path: Path) -> None:
    drawn = grids(tmp_path, [0, 50, 100])
    judged = {"images": 60.0, "values": {"fid": 2.0}, "last": {}, "last_images": None}
    assert pair(drawn, judged | {"images": 90.0}) == {"same": True}
    found = pair(drawn, judged)
    assert found is not None
    assert [(side["title"], side["images"], side["drawn"]) for side in found["sides"]] == [
        ("Best", 60.0, 50.0),
        ("Last", 100.0, 100.0),
    ]
    assert found["sides"][0]["scores"] == [("fid", "2.0")]


def test_the_last_advice_is_shown(tmp_path: Path) -> None:
    (tmp_path / "advice").mkdir()
    grids(tmp_path / "advice", [5, 70])
    found = last_advice(tmp_path)
    assert found is not None
    assert found["images"] == 70
    assert picture(found["url"])[1].getpixel((0, 0)) == 70
