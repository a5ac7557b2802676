"""The teaching view: colours mean what the legend says, and everything stands in its place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from sparring.core.errors import RequestError
from sparring.pictures.advice import BRIGHTER, DARKER, HEAD, MARGIN, SPACE, advice_picture, draw_advice, heat
from sparring.pictures.grid import GAP
from sparring.pictures.ink import ORANGE

WHITE = (255, 255, 255)


def test_colours_are_signed_symmetric_and_measured_by_the_root_mean_square() -> None:
    values = np.array([[3.0, -3.0, 0.0], [1.5, -1.5, 100.0]])
    values = np.concatenate([values, -values, np.full((400, 3), 1.0), np.full((400, 3), -1.0)])
    rms = np.sqrt(np.mean(values**2))
    colours = heat(values / rms * 1e-7)  # scale free
    shares = values / rms / 3
    assert tuple(colours[0, 2]) == WHITE
    assert tuple(colours[1, 2]) == BRIGHTER
    assert tuple(colours[3, 2]) == DARKER
    for at in ((0, 0), (0, 1), (1, 0), (1, 1)):
        end = BRIGHTER if values[at] > 0 else DARKER
        expected = [255 + abs(shares[at]) * (c - 255) for c in end]
        np.testing.assert_allclose(colours[at], expected, atol=0.5001)


def test_no_advice_is_white_and_numbers_that_are_not_finite_are_none() -> None:
    assert (heat(np.zeros((4, 4))) == 255).all()
    colours = heat(np.array([[np.nan, np.inf, -np.inf, 1.0, -1.0]]))
    assert (colours[0, :3] == 255).all()
    assert tuple(colours[0, 3]) != WHITE
    picture = draw_advice(
        torch.full((1, 1, 8, 8), torch.nan),
        torch.full((1, 1, 8, 8), torch.nan),
        torch.full((1, 1, 8, 8), torch.nan),
        [(float("nan"), float("nan"))],
    )
    assert picture.width > 100


def cell(picture: Image.Image, block: int, row: int, which: int, side: int) -> np.ndarray:
    """The pixels of one cell without its frame, for cells of images 8 pixels wide, magnified to 128."""
    pitch = side + 2 * GAP + SPACE
    left = MARGIN + block * (3 * pitch - SPACE + 40) + which * pitch + GAP
    top = HEAD + row * (side + 2 * GAP + 32) + GAP
    return np.asarray(picture)[top : top + side, left : left + side]


@pytest.mark.parametrize("channels", [1, 3])
def test_each_triple_stands_in_its_place(channels: int) -> None:
    random = torch.Generator().manual_seed(0)
    x, after = (torch.rand(3, channels, 8, 8, generator=random) * 2 - 1 for _ in range(2))
    advice = torch.randn(3, channels, 8, 8, generator=random)
    picture = draw_advice(x, advice, after, [(0.1, 0.9)] * 3, ["7", "8", "9"])
    for n in range(3):
        found = [cell(picture, n % 2, n // 2, which, 128)[8::16, 8::16] for which in range(3)]
        for images, pixels in ((x, found[0]), (after, found[2])):
            expected = ((images[n] + 1) * 127.5).round().numpy().transpose(1, 2, 0)
            np.testing.assert_array_equal(pixels, np.broadcast_to(expected, (8, 8, 3)))
        mean = advice[n].double().numpy().mean(0)
        np.testing.assert_array_equal(found[1], heat(mean))


def test_beliefs_and_classes_stand_below_their_sample() -> None:
    x = torch.zeros(2, 1, 8, 8)

    def below(before_after: list[tuple[float, float]], asked: list[str]) -> np.ndarray:
        rows = np.asarray(draw_advice(x, x, x, before_after, asked))[HEAD + 133 : HEAD + 158]
        return np.stack([rows[:, MARGIN + k * 140 : MARGIN + k * 140 + 139] for k in range(3)])

    plain = below([(0.1, 0.9), (0.5, 0.5)], [])
    changed = [
        below([(0.3, 0.9), (0.5, 0.5)], []),
        below([(0.1, 0.9), (0.5, 0.5)], ["cat", "dog"]),
        below([(0.1, 0.8), (0.5, 0.5)], []),
    ]
    for which, other in enumerate(changed):
        assert [bool((plain[k] != other[k]).any()) for k in range(3)] == [k == which for k in range(3)]
    assert plain[1].min() == 255  # no class, no words


def test_square_vectors_are_images_and_others_lines_with_bars() -> None:
    random = torch.Generator().manual_seed(0)
    x, advice = (torch.rand(2, 64, generator=random) - 0.5 for _ in range(2))
    folded = [t.reshape(2, 1, 8, 8) for t in (x, advice, x)]
    assert draw_advice(x, advice, x, [(0.5, 0.5)] * 2).tobytes() == draw_advice(*folded, [(0.5, 0.5)] * 2).tobytes()

    x, advice = torch.zeros(1, 4), torch.tensor([[1.0, -2.0, 0.0, 1.0]])
    picture = np.asarray(draw_advice(x, advice, x + 0.5, [(0.5, 0.5)])).astype(int)
    bars = picture[HEAD : HEAD + 128, MARGIN + 200 : MARGIN + 200 + 192]
    rms = np.sqrt(6 / 4)
    for n, value in enumerate(advice[0].tolist()):
        column = bars[:, 48 * n + 24]
        up, down = ((np.abs(column - colour).max(1) < 30).sum() for colour in (BRIGHTER, DARKER))
        height = abs(value) / rms / 3 * 58
        assert (up if value > 0 else down) == pytest.approx(height, abs=2)
        assert (down if value > 0 else up) == 0
    line = np.abs(picture - np.array(Image.new("RGB", (1, 1), ORANGE))[0, 0]).max(2) < 40
    rows, columns = np.nonzero(line)
    assert columns.min() > MARGIN + 2 * 200
    assert rows.mean() - HEAD == pytest.approx(64 - 0.5 * 58, abs=1)


@pytest.mark.parametrize("shape", [(1, 1, 28, 28), (3, 3, 32, 32), (2, 3, 600, 400), (1, 4, 16, 16), (5, 2), (1, 300)])
def test_any_shape_stays_within_its_picture(shape: tuple[int, ...]) -> None:
    x = torch.zeros(shape)
    picture = draw_advice(x, x + 1, x, [(0.0, 1.0)] * shape[0], ["a class with quite a long name"] * shape[0])
    pixels = np.asarray(picture)
    assert pixels[:, -8:].min() == 255
    assert pixels[-6:].min() == 255
    assert picture.width <= 1700
    assert picture.mode == "RGB"


def test_the_file_carries_its_entries(tmp_path) -> None:  # type: ignore[no-untyped-def]
    x = torch.zeros(1, 1, 8, 8)
    advice_picture(tmp_path / "advice" / "7.png", x, x, x, [(0.5, 0.5)], info={"images": "7"})
    with Image.open(tmp_path / "advice" / "7.png") as read:
        assert read.text == {"images": "7"}  # type: ignore[attr-defined]
        assert read.tobytes() == draw_advice(x, x, x, [(0.5, 0.5)]).tobytes()


def test_requests_that_cannot_be_met() -> None:
    x = torch.zeros(2, 1, 8, 8)
    for wrong in ((x, x[:1], x), (x, x, x[..., 1:]), (x[:0], x[:0], x[:0])):
        with pytest.raises(RequestError, match="of one shape"):
            draw_advice(*wrong, [(0.5, 0.5)] * 2)
    with pytest.raises(RequestError, match="pairs of beliefs, found 1"):
        draw_advice(x, x, x, [(0.5, 0.5)])
