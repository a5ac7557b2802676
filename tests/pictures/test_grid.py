"""Pixels stand where they should, files say where they came from, and nothing is ever half written."""

import errno
import os
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from sparring.core.errors import RequestError
from sparring.pictures.grid import BACKGROUND, GAP, grid, sample_grid, save_images, save_png, to_image, to_uint8


@pytest.mark.parametrize(("levels", "dtype"), [(256, np.uint8), (65536, np.uint16)])
def test_every_level_comes_back_from_its_float(levels, dtype):
    stored = torch.arange(levels, dtype=torch.float32)
    x = (stored / ((levels - 1) / 2) - 1).reshape(1, 1, 256, -1)
    pixels = to_uint8(x, levels)
    assert pixels.dtype == dtype
    assert pixels.shape == (1, 256, levels // 256, 1)
    np.testing.assert_array_equal(pixels.ravel(), np.arange(levels))


def test_rounding_is_to_the_nearest_level_and_values_outside_are_clamped():
    step = 2 / 255
    x = torch.tensor([-1 + 10.4 * step, -1 + 10.6 * step, -7.0, 7.0, float("nan"), float("inf")])
    assert to_uint8(x.reshape(1, 1, 2, 3)).ravel().tolist() == [10, 11, 0, 255, 0, 255]


def test_channels_move_to_the_end():
    x = torch.stack([torch.full((2, 5), v) for v in (-1.0, 0.2, 1.0)])[None]
    pixels = to_uint8(x)
    assert pixels.shape == (1, 2, 5, 3)
    assert pixels[0, 1, 4].tolist() == [0, 153, 255]


def test_float_data_are_shown_in_256_levels():
    assert to_uint8(torch.ones(1, 1, 1, 1), levels=0).tolist() == [[[[255]]]]


@pytest.mark.parametrize(("shape", "levels"), [((3, 4), 256), ((1, 1, 2, 2), 1024)])
def test_other_shapes_and_levels_are_refused(shape, levels):
    with pytest.raises(RequestError, match="expected"):
        to_uint8(torch.zeros(shape), levels)


def test_grid_places_every_pixel(rng):
    images = rng.integers(0, 256, (5, 3, 4, 3), dtype=np.uint8)
    expected = np.full((2 * (6 + GAP) + GAP, 3 * (8 + GAP) + GAP, 3), BACKGROUND, np.uint8)
    for n in range(5):  # by hand: cell by cell, pixel by pixel
        for y in range(6):
            for x in range(8):
                row, column = GAP + n // 3 * (6 + GAP) + y, GAP + n % 3 * (8 + GAP) + x
                expected[row, column] = images[n, y // 2, x // 2]
    picture = grid(images, 3, scale=2)
    assert picture.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(picture), expected)


@pytest.mark.parametrize(
    ("number", "height", "width", "columns", "cell"),
    [
        (100, 8, 8, 10, (48, 48)),
        (100, 28, 28, 10, (56, 56)),
        (12, 24, 40, 4, (80, 48)),
        (4, 64, 64, 4, (64, 64)),
        (200, 8, 8, 100, (8, 8)),
    ],
)
def test_small_images_are_magnified_by_whole_numbers(number, height, width, columns, cell):
    picture = grid(np.zeros((number, height, width, 1), np.uint8), columns)
    rows = -(-number // columns)
    assert picture.size == (columns * (cell[0] + GAP) + GAP, rows * (cell[1] + GAP) + GAP)


def test_large_images_are_reduced_to_a_bounded_width():
    picture = grid(np.full((8, 256, 512, 3), 200, np.uint8), 8)
    assert 1500 < picture.width <= 1600
    cell = np.asarray(picture)[GAP:-GAP, GAP : GAP + 100]
    assert cell.shape[0] == pytest.approx(197 / 2, abs=1)  # twice as wide as high, as before
    assert (cell == 200).all()


def test_a_grid_is_no_wider_than_its_images():
    assert grid(np.zeros((2, 8, 8, 1), np.uint8), 10, scale=1).size == (2 * (8 + GAP) + GAP, 8 + 2 * GAP)


def test_transparent_pixels_show_a_light_checkerboard():
    images = np.zeros((1, 16, 16, 4), np.uint8)
    images[0, :, 12:] = (10, 20, 30, 255)
    cell = np.asarray(grid(images, 1, scale=1))[GAP:-GAP, GAP:-GAP]
    assert cell[0, 0].tolist() == [255] * 3
    assert cell[8, 0].tolist() == [224] * 3
    assert cell[8, 8].tolist() == [255] * 3
    assert cell[3, 12].tolist() == [10, 20, 30]


def test_half_transparent_pixels_are_mixed_with_it():
    images = np.tile(np.array([100, 0, 200, 128], np.uint8), (1, 4, 4, 1))
    mixed = np.asarray(grid(images, 1, scale=1))[GAP, GAP].astype(float)
    np.testing.assert_allclose(mixed, 128 / 255 * np.array([100, 0, 200]) + 127 / 255 * 255, atol=1)


def test_16_bit_images_are_shown_in_8():
    images = np.array([0, 128, 129, 257 * 77, 65535], np.uint16).reshape(5, 1, 1, 1)
    picture = grid(images, 5, scale=1)
    assert picture.mode == "L"
    assert np.asarray(picture)[GAP, GAP :: GAP + 1].tolist()[:5] == [0, 0, 1, 77, 255]


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 4, 4, 2), np.uint8),
        np.zeros((2, 4, 4, 1), np.float32),
        np.zeros((4, 4, 1), np.uint8),
        np.zeros((2, 4, 4, 1), np.int16),
        np.zeros((0, 4, 4, 3), np.uint8),
    ],
)
def test_what_is_not_an_array_of_images_is_refused(images):
    with pytest.raises(RequestError, match="found"):
        grid(images, 2)


@pytest.mark.parametrize(("columns", "scale"), [(0, None), (2, 0)])
def test_grid_refuses_no_columns_and_no_scale(columns, scale):
    with pytest.raises(RequestError, match="found"):
        grid(np.zeros((2, 4, 4, 1), np.uint8), columns, scale=scale)


def test_square_vectors_are_shown_as_images():
    x = torch.rand(6, 784) * 2 - 1
    assert sample_grid(x, 3).tobytes() == sample_grid(x.reshape(6, 1, 28, 28), 3).tobytes()


def test_other_vectors_are_shown_as_lines_from_minus_one_to_one():
    rising = np.asarray(sample_grid(torch.linspace(-1, 1, 50)[None], 1, scale=1)).astype(int)[GAP:-GAP, GAP:-GAP]
    ink = rising[..., 2] - rising[..., 0] > 60  # blue
    rows = [np.flatnonzero(ink[:, column]).mean() for column in (10, 48, 85)]
    height = len(rising)
    assert rows[0] > 0.8 * height
    assert rows[1] == pytest.approx(height / 2, abs=2)
    assert rows[2] < 0.2 * height


@pytest.mark.parametrize("length", [1, 2, 9])
def test_very_short_vectors_are_drawn_too(length):
    low, high = sample_grid(-torch.ones(1, length), 1), sample_grid(torch.ones(1, length), 1)
    assert low.tobytes() != high.tobytes()


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (0, 5)])
def test_sample_grid_refuses_other_shapes(shape):
    with pytest.raises(RequestError):
        sample_grid(torch.zeros(shape), 2)


def test_png_entries_are_read_back(tmp_path):
    info = {"seed": "3", "recipe": "ab12", "note": "手写数字 ≥ 10"}
    save_png(Image.new("L", (3, 2), 7), tmp_path / "new" / "a.png", info)
    with Image.open(tmp_path / "new" / "a.png") as read:
        assert read.text == info
        assert np.asarray(read).tolist() == [[7] * 3] * 2


def test_16_bit_colour_is_shown_but_not_saved_in_8_bits_unasked():
    images = np.full((1, 2, 2, 3), (0, 257 * 77, 65535), np.uint16)
    assert np.asarray(grid(images, 1, scale=1))[GAP, GAP].tolist() == [0, 77, 255]
    with pytest.raises(RequestError, match=r"16 bits with 3 channels: save them as \.npz"):
        to_image(images[0])


def test_16_bit_grey_is_kept_in_the_file(tmp_path, rng):
    pixels = rng.integers(0, 65536, (5, 4, 1), dtype=np.uint16)
    save_png(to_image(pixels), tmp_path / "a.png", {})
    with Image.open(tmp_path / "a.png") as read:
        assert read.mode == "I;16"
        np.testing.assert_array_equal(np.asarray(read), pixels[..., 0])


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_are_saved_one_by_one(tmp_path, rng, channels):
    images = rng.integers(0, 256, (3, 5, 4, channels), dtype=np.uint8)
    assert save_images(tmp_path / "out", images, labels=[7, 0, 7], info={"seed": "1"}) == 3
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == ["00000_label7.png", "00001_label0.png", "00002_label7.png"]
    for name, pixels in zip(names, images, strict=True):
        with Image.open(tmp_path / "out" / name) as read:
            np.testing.assert_array_equal(np.asarray(read).reshape(pixels.shape), pixels)
            assert read.text == {"seed": "1", "index": str(int(name[:5])), "label": name[-5]}
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_images_may_come_from_a_generator_and_into_an_empty_folder(tmp_path):
    (tmp_path / "out").mkdir()
    assert save_images(tmp_path / "out", (np.full((2, 2, 1), n, np.uint8) for n in range(2))) == 2
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["00000.png", "00001.png"]


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(RequestError, match=f"{tmp_path.name} exists already"):
        save_images(tmp_path, np.zeros((1, 2, 2, 1), np.uint8))
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    images = [np.zeros((2, 2, 1), np.uint8), np.zeros((2, 2, 5), np.uint8)]
    with pytest.raises(RequestError, match="found uint8"):
        save_images(tmp_path / "out", images)
    assert list(tmp_path.iterdir()) == []


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace"])
def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch, step):
    path = tmp_path / "a.png"
    save_png(Image.new("L", (3, 2), 7), path, {})
    old = path.read_bytes()
    monkeypatch.setattr(step, full_disk)
    with pytest.raises(RequestError, match=r"a\.png cannot be written \(No space left on device"):
        save_png(Image.new("L", (3, 2), 200), path, {})
    with pytest.raises(RequestError, match="out cannot be written"):
        save_images(tmp_path / "out", np.zeros((1, 2, 2, 1), np.uint8))
    monkeypatch.undo()
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    save_png(Image.new("L", (3, 2), 7), path, {})
    old, seen = path.read_bytes(), []
    sync = os.fsync
    monkeypatch.setattr("os.fsync", lambda file: (seen.append(path.read_bytes()), sync(file)))
    save_png(Image.new("L", (3, 2), 200), path, {})
    assert seen[0] == old  # when the new content goes to the disk
    assert path.read_bytes() != old


def test_a_place_that_is_no_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match=r"file/a\.png cannot be written"):
        save_png(Image.new("L", (1, 1)), tmp_path / "file" / "a.png", {})


def test_pictures_are_drawn_without_torch(python):
    code = "import sparring.pictures.curves, sparring.pictures.film, sys; print('torch' in sys.modules)"
    assert python(code) == "False"


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def python():
    import subprocess

    def run(code):
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()

    return run
