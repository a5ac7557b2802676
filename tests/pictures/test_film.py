"""The film: frames, times and captions as asked for, within its size."""

import numpy as np
import pytest
from PIL import Image

from sparring.core.errors import RequestError
from sparring.pictures.film import MOST_FRAMES, STRIP, film
from sparring.pictures.grid import save_png


def grey(n, size=(200, 100)):
    picture = Image.new("L", size, 0)
    picture.paste(2 * n + 40, (n, 0, n + 20, 50))
    return picture


def frames_of(path):
    with Image.open(path) as gif:
        shown = []
        for n in range(gif.n_frames):
            gif.seek(n)
            shown.append((gif.convert("RGB"), gif.info["duration"]))
        return shown, gif.info.get("loop")


def test_frames_durations_loop_and_last_hold(tmp_path):
    film([grey(n) for n in range(20)], [1000 * n for n in range(20)], tmp_path / "p.gif", seconds=4)
    shown, loop = frames_of(tmp_path / "p.gif")
    assert [duration for _, duration in shown] == [200] * 19 + [1500]
    assert loop == 0
    for n, (frame, _) in enumerate(shown):
        assert frame.size == (200, 100 + STRIP)
        np.testing.assert_array_equal(np.asarray(frame.convert("L"))[:100], np.asarray(grey(n)))


def test_every_frame_tells_the_images_seen(tmp_path):
    film([grey(0)] * 3, [0, 50_000, 1_200_000], tmp_path / "p.gif")
    strips = [np.asarray(frame)[100:] for frame, _ in frames_of(tmp_path / "p.gif")[0]]
    assert len(strips) == 3
    assert all(strip.max() > 200 for strip in strips)
    assert not (strips[0] == strips[1]).all()
    assert not (strips[1] == strips[2]).all()


def test_long_runs_are_thinned_evenly_with_both_ends(tmp_path):
    film([grey(n % 100) for n in range(301)], range(301), tmp_path / "p.gif", seconds=6)
    shown, _ = frames_of(tmp_path / "p.gif")
    assert len(shown) == MOST_FRAMES
    assert [duration for _, duration in shown] == [100] * 59 + [1500]
    for frame, n in ((shown[0][0], 0), (shown[1][0], 5), (shown[-1][0], 300)):
        np.testing.assert_array_equal(np.asarray(frame.convert("L"))[:100], np.asarray(grey(n % 100)))


@pytest.mark.parametrize(("number", "each"), [(2, 500), (60, 40)])
def test_frames_are_neither_too_short_nor_too_long(tmp_path, number, each):
    film([grey(n) for n in range(number)], range(number), tmp_path / "p.gif", seconds=2 if number > 2 else 60)
    assert frames_of(tmp_path / "p.gif")[0][0][1] == each


def test_one_frame_from_a_file(tmp_path):
    save_png(grey(3), tmp_path / "a.png", {})
    film([tmp_path / "a.png"], [7], tmp_path / "p.gif")
    shown, _ = frames_of(tmp_path / "p.gif")
    assert len(shown) == 1
    np.testing.assert_array_equal(np.asarray(shown[0][0].convert("L"))[:100], np.asarray(grey(3)))


def test_colours_are_close_to_the_frames(tmp_path):
    ramp = np.linspace(0, 255, 120).astype(np.uint8)
    pictures = []
    for n in range(4):
        pixels = np.zeros((60, 120, 3), np.uint8)
        pixels[..., n % 3] = ramp
        pictures.append(Image.fromarray(pixels))
    film([*pictures, grey(1, (120, 60))], range(5), tmp_path / "p.gif")
    shown, _ = frames_of(tmp_path / "p.gif")
    for picture, (frame, _) in zip(pictures, shown, strict=False):
        off = np.asarray(frame)[:60, 20:140].astype(int) - np.asarray(picture)  # centred over the caption
        assert np.abs(off).mean() < 3


def test_the_size_is_bounded_by_reducing_the_scale(tmp_path):
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 256, (200, 200), dtype=np.uint8)) for _ in range(6)]
    film(noise, range(6), tmp_path / "large.gif")
    film(noise, range(6), tmp_path / "small.gif", most_bytes=60_000)
    assert (tmp_path / "large.gif").stat().st_size > 200_000
    assert (tmp_path / "small.gif").stat().st_size <= 60_000
    assert len(frames_of(tmp_path / "small.gif")[0]) == 6


def test_wide_grids_are_reduced(tmp_path):
    film([Image.new("L", (1600, 400)), Image.new("L", (1600, 400), 200)], [0, 1], tmp_path / "p.gif")
    assert frames_of(tmp_path / "p.gif")[0][0][0].size == (800, 200 + STRIP)


def test_requests_that_cannot_be_met(tmp_path):
    path = tmp_path / "p.gif"
    with pytest.raises(RequestError, match="needs frames"):
        film([], [], path)
    with pytest.raises(RequestError, match="2 and 1"):
        film([grey(0), grey(1)], [0], path)
    with pytest.raises(RequestError, match="one size"):
        film([grey(0), grey(1, (300, 100))], [0, 1], path)
    with pytest.raises(RequestError, match="more than 0 seconds"):
        film([grey(0)], [0], path, seconds=0)
    with pytest.raises(RequestError, match=r"gone\.png cannot be read"):
        film([tmp_path / "gone.png"], [0], path)
    assert not path.exists()


def test_a_failed_write_leaves_the_old_film(tmp_path, monkeypatch):
    path = tmp_path / "p.gif"
    film([grey(0)], [0], path)
    old = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(RequestError, match=r"p\.gif cannot be written"):
        film([grey(1)], [1], path)
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["p.gif"]
