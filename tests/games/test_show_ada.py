from __future__ import annotations

import math
import typing

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck

from sparring.core.errors import RequestError
from sparring.core.exchange import START, Clock, Exchange, Seen
from sparring.core.protocols import Batch, DataSpec
from sparring.core.spec import from_json, to_json
from sparring.games.adversarial import Adversarial
from sparring.games.penalties import R1
from sparring.games.show import ADA, BLIT, COLOUR, CORRUPTION, GEOMETRY
from sparring.games.show.ada import Transformation

EVERY: tuple[Transformation, ...] = (*BLIT, *GEOMETRY, *COLOUR, *CORRUPTION)
IMAGES = DataSpec(name="photos", shape=(3, 8, 8))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def always(name: str, x: Tensor) -> Tensor:
    return ADA(policy=(name,), p=1.0)(x, None)[0]  # type: ignore[arg-type]


def assert_moments(values: Tensor, mean: float, deviation: float) -> None:
    """Mean and standard deviation within four standard errors (of laws with tails no heavier than a Gaussian's)."""
    scale = deviation / len(values) ** 0.5
    assert abs(values.mean() - mean) < 4 * scale
    assert abs(values.std() - deviation) < 4 * scale / 2**0.5


def assert_any_angle(angles: Tensor) -> None:
    """Uniform on the circle: the first three Fourier coefficients vanish."""
    for k in (1, 2, 3):
        assert abs(torch.polar(torch.ones_like(angles), k * angles).mean()) < 3.5 / len(angles) ** 0.5


def test_the_names_are_those_of_the_groups() -> None:
    assert typing.get_args(Transformation) == EVERY


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_at_p_0_every_number_stays_what_it_is(channels: int, dtype: torch.dtype) -> None:
    x, y = torch.randn(40, channels, 7, 6, dtype=dtype), torch.arange(40)
    shown, labels = ADA(policy=EVERY)(x, y)
    assert torch.equal(shown, x)
    assert shown.dtype == dtype
    assert labels is y


def test_places_are_not_rounded_where_samples_are() -> None:
    """bfloat16 has no whole numbers between 256 and 258."""
    x = torch.randn(2, 1, 1, 600, dtype=torch.bfloat16)
    assert torch.equal(ADA()(x, None)[0], x)


SHARES = {  # of what p chooses, the share that then changes: a choice may fall on what is there already
    "flip": 1 / 2,
    "quarter_turn": 3 / 4,
    "translation": 15 / 16,  # by round(U(-2, 2)), which is 0 for a quarter
    "luma_flip": 1 / 2,
}


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("p", [0.3, 1.0])
def test_the_share_of_samples_that_change_is_p(name: str, p: float) -> None:
    x = torch.randn(1500, 3, 16, 16)
    changed = (ADA(policy=(name,), p=p)(x, None)[0] != x).flatten(1).any(1)  # type: ignore[arg-type]
    expected = p * SHARES.get(name, 1)
    assert abs(changed.float().mean() - expected) <= 4 * (expected * (1 - expected) / 1500) ** 0.5


def test_flip_and_quarter_turns_are_exact() -> None:
    x = torch.randn(400, 2, 5, 5)
    flipped = always("flip", x)
    hits = torch.stack([(flipped == e).flatten(1).all(1) for e in (x, x.flip(3))])
    assert (hits.sum(0) == 1).all()
    assert (abs(hits.sum(1) - 200) < 40).all()
    turned = always("quarter_turn", x)
    hits = torch.stack([(turned == x.rot90(k, (2, 3))).flatten(1).all(1) for k in range(4)])
    assert (hits.sum(0) == 1).all()
    assert (abs(hits.sum(1) - 100) < 36).all()


def test_translation_is_uniform_up_to_an_eighth_in_whole_pixels() -> None:
    x = torch.randn(1600, 1, 16, 8)
    y = always("translation", x)
    inner = y[:, :, 2:14, 1:7]  # what the mirrors do not reach
    counts = torch.zeros(5, 3)
    for down in range(-2, 3):
        for right in range(-1, 2):
            window = x[:, :, 2 + down : 14 + down, 1 + right : 7 + right]
            counts[down + 2, right + 1] = (inner == window).flatten(1).all(1).sum()
    assert counts.sum() == 1600
    # round(U(-2, 2)) takes its ends half as often, round(U(-1, 1)) too.
    expected = 1600 * torch.outer(torch.tensor([1, 2, 2, 2, 1]) / 8, torch.tensor([1, 2, 1]) / 4)
    assert (abs(counts - expected) < 4 * expected.sqrt()).all()


def looked_up(name: str, count: int = 1500) -> tuple[Tensor, Tensor]:
    """The linear part [B, 2, 2] and the shift [B, 2] of a map of the plane, read off what it does to two ramps."""
    return read_off(ADA(policy=(name,), p=1.0), count)  # type: ignore[arg-type]


def read_off(part: ADA, count: int) -> tuple[Tensor, Tensor]:
    line = torch.arange(17, dtype=torch.float64) - 8
    ramps = torch.stack(torch.meshgrid(line, line, indexing="xy"))
    y = part(ramps.expand(count, 2, 17, 17), None)[0]
    middle = y[:, :, 8, 8]
    return torch.stack([y[:, :, 8, 9] - middle, y[:, :, 9, 8] - middle], dim=2), middle


def test_scale_is_lognormal_and_the_same_both_ways() -> None:
    linear, shift = looked_up("scale")
    size = linear[:, 0, 0]
    torch.testing.assert_close(linear, size.view(-1, 1, 1) * torch.eye(2, dtype=torch.float64).expand_as(linear))
    assert_moments(size.log2(), 0, 0.2)
    assert not shift.any()


def test_rotation_is_by_any_angle() -> None:
    linear, shift = looked_up("rotation")
    torch.testing.assert_close(linear @ linear.mT, torch.eye(2, dtype=torch.float64).expand_as(linear))
    torch.testing.assert_close(torch.linalg.det(linear), torch.ones(len(linear), dtype=torch.float64))
    assert_any_angle(torch.atan2(linear[:, 1, 0], linear[:, 0, 0]))
    assert not shift.any()


def test_stretch_keeps_the_area() -> None:
    linear, shift = looked_up("stretch")
    size = linear[:, 0, 0]
    torch.testing.assert_close(linear, torch.diag_embed(torch.stack([size, 1 / size], 1)))
    assert_moments(size.log2(), 0, 0.2)
    assert not shift.any()


def test_drift_is_normal_with_an_eighth_of_each_side() -> None:
    """Where the mirrors are reached (beyond 8 pixels of 17, 3.8 deviations) the ramp no longer tells."""
    _, shift = looked_up("drift")
    for axis in (0, 1):
        assert_moments(shift[:, axis], 0, 17 / 8)
    assert abs(torch.corrcoef(shift.T)[0, 1]) < 0.1


def test_geometry_is_one_map_in_the_paper_s_order() -> None:
    """The paper moves the image by drift · turn · stretch · turn · scale; looking up takes the inverse, whose linear
    part has the singular values of scale · stretch whatever the two turns are."""
    torch.manual_seed(1)
    linear, _ = read_off(ADA(policy=("scale", "rotation", "stretch"), p=1.0), 1500)
    values = torch.linalg.svdvals(linear).log2()
    assert_moments(values.mean(1), 0, 0.2)
    assert abs((values[:, 0] - values[:, 1]).square().mean() - (2 * 0.2) ** 2) < 0.03
    first, _, last = torch.linalg.svd(linear)
    assert_any_angle(2 * torch.atan2(first[:, 1, 0], first[:, 0, 0]))
    assert_any_angle(2 * torch.atan2(last[:, 0, 1], last[:, 0, 0]))


def test_whole_pixels_come_before_the_scale() -> None:
    """The image is moved by whole pixels, then scaled; looked up, the scale comes first and the shift stays whole."""
    linear, shift = read_off(ADA(policy=("translation", "scale"), p=1.0), 200)
    torch.testing.assert_close(shift, shift.round(), rtol=0, atol=1e-9)
    assert shift.any()
    assert not torch.allclose(linear, linear.round())


def test_a_rotation_before_or_after_the_stretch_has_probability_p() -> None:
    """With p_rot = 1 - √(1 - p) for each of the two, neither happens with probability 1 - p."""
    x = torch.randn(2000, 1, 5, 5)
    torch.manual_seed(2)
    part = ADA(policy=("rotation", "stretch"), p=0.64)
    changed = (part(x, None)[0] != x).flatten(1).any(1).float().mean()
    assert abs(changed - (1 - 0.36 * 0.36)) < 4 * (0.87 * 0.13 / 2000) ** 0.5


def colours() -> Tensor:
    return torch.randn(1500, 3, 3, 2, dtype=torch.float64)


def test_brightness_and_contrast() -> None:
    x = colours()
    added = always("brightness", x) - x
    torch.testing.assert_close(added, added[:, :1, :1, :1].expand_as(x))
    assert_moments(added[:, 0, 0, 0], 0, 0.2)
    times = always("contrast", x) / x
    torch.testing.assert_close(times, times[:, :1, :1, :1].expand_as(x))
    assert_moments(times[:, 0, 0, 0].log2(), 0, 0.5)


def test_luma_flip_turns_grey_over_and_keeps_the_rest() -> None:
    x = colours()
    y = always("luma_flip", x)
    grey = x.mean(1, keepdim=True)
    kept, flipped = ((abs(y - e) < 1e-12).flatten(1).all(1) for e in (x, x - 2 * grey))
    assert (kept ^ flipped).all()


def test_hue_is_a_rotation_about_the_grey_axis() -> None:
    x = colours()
    y = always("hue", x)
    axis = np.ones(3) / math.sqrt(3)
    chroma_x, chroma_y = (t[:, :, 0, 0] - t[:, :, 0, 0].mean(1, keepdim=True) for t in (x, y))
    cross = torch.linalg.cross(chroma_x, chroma_y) @ torch.from_numpy(axis)
    angles = torch.atan2(cross, (chroma_x * chroma_y).sum(1))
    assert_any_angle(angles)
    matrices = torch.from_numpy(Rotation.from_rotvec(angles.numpy()[:, None] * axis).as_matrix())
    torch.testing.assert_close(y, torch.einsum("bij,bjhw->bihw", matrices, x))


def test_saturation_scales_what_differs_from_grey() -> None:
    x = colours()
    grey = x.mean(1, keepdim=True)
    y = always("saturation", x)
    times = (y - grey) / (x - grey)
    torch.testing.assert_close(times, times[:, :1, :1, :1].expand_as(x), rtol=1e-6, atol=1e-6)
    assert_moments(times[:, 0, 0, 0].log2(), 0, 1)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_hue_and_saturation_are_for_three_channels(channels: int) -> None:
    x = torch.randn(20, channels, 4, 4)
    assert torch.equal(ADA(policy=("hue", "saturation"), p=1.0)(x, None)[0], x)
    assert not torch.equal(ADA(policy=COLOUR, p=1.0)(x, None)[0], x)


def test_noise_has_a_half_normal_deviation() -> None:
    added = always("noise", torch.zeros(1500, 1, 16, 16))
    deviation = added.flatten(1).std(1)
    assert abs(deviation.square().mean() - 0.01) < 4 * 0.01 * (2 / 1500) ** 0.5
    assert abs(deviation.mean() - 0.1 * (2 / math.pi) ** 0.5) < 4 * 0.1 * 0.603 / 1500**0.5


def test_cutout_is_half_of_each_side_about_a_uniform_middle() -> None:
    """A pixel at place t of [0, 1] is cut along its axis with probability |[t - 1/4, t + 1/4] ∩ [0, 1]|."""
    y = always("cutout", torch.ones(4000, 2, 8, 4))
    assert torch.equal(y[:, 0], y[:, 1])
    chances = []
    for size in (8, 4):
        place = (torch.arange(size) + 0.5) / size
        chances.append((place + 0.25).clamp(max=1) - (place - 0.25).clamp(min=0))
    expected = torch.outer(*chances)
    cut = (y[:, 0] == 0).float().mean(0)
    assert (abs(cut - expected) < 4 * (expected * (1 - expected) / 4000).sqrt()).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_first_and_second_derivatives_against_finite_differences(channels: int) -> None:
    def same(x: Tensor) -> Tensor:
        torch.manual_seed(4)
        return ADA(policy=EVERY, p=0.7)(x, None)[0].sin()

    x = torch.randn(2, channels, 3, 4, dtype=torch.float64, requires_grad=True)
    assert gradcheck(same, (x,))
    assert gradgradcheck(same, (x,), fast_mode=True)


@pytest.mark.parametrize("count", [1, 2])
def test_shapes_of_every_kind(count: int) -> None:
    for shape in ((3, 1, 1), (1, 2, 9), (4, 9, 1)):
        x = torch.randn(count, *shape)
        shown = ADA(policy=EVERY, p=1.0)(x, None)[0]
        assert shown.shape == x.shape
        assert shown.isfinite().all()


def seen(logits: Tensor, count: int | None = None) -> Seen:
    return Seen(torch.zeros(count or len(logits), 3, 8, 8), None, logits)


@pytest.mark.parametrize("paired", [False, True])
def test_p_follows_the_sign_of_r_t_averaged_over_four_batches(paired: bool) -> None:
    part = ADA(target=0.6, images=400, paired=paired)
    memory, past, p = part.memory(IMAGES), [], 0.0
    held = dict(memory)
    risen = fallen = 0
    for step in range(60):
        real = torch.randn(7) + (1.5 if step % 20 < 10 else 0.3)
        fake = torch.randn(7) * 0.1
        past.append(np.sign((real - fake if paired else real).numpy()).mean())
        move = np.sign(np.mean(past[-4:]) - 0.6)
        before, p = p, min(1.0, max(0.0, p + move * 7 / 400))
        risen, fallen = risen + (p > before), fallen + (p < before)
        part.after(memory, seen(real), seen(fake))
        assert float(memory["p"]) == pytest.approx(p, abs=1e-6), step
    assert min(risen, fallen) > 10
    assert all(memory[name] is held[name] for name in held)


def test_p_goes_from_0_to_1_in_so_many_images_and_stays_within() -> None:
    part, sure, lost = ADA(images=80), seen(torch.full((4,), 1e4)), seen(torch.full((4,), -1e4))
    memory = part.memory(IMAGES)
    for end, real in ((1.0, sure), (0.0, lost)):
        for _ in range(25):
            part.after(memory, real, sure)
        assert float(memory["p"]) == end
    for _ in range(5):
        part.after(memory, sure, sure)
    # Two of them passed before the average over four batches was above .6 again: 1 - 2/4 < .6 < 1.
    assert float(memory["p"]) == pytest.approx(2 * 4 / 80)


def test_images_are_counted_also_where_samples_are_shown_in_packs() -> None:
    part = ADA(images=100)
    memory = part.memory(IMAGES)
    part.after(memory, seen(torch.ones(2), 8), seen(torch.ones(2), 8))
    assert float(memory["p"]) == pytest.approx(0.08)


def test_logits_that_are_no_numbers_leave_p_alone() -> None:
    part = ADA(p=0.5)
    memory = part.memory(IMAGES)
    part.after(memory, seen(torch.full((4,), torch.nan)), seen(torch.ones(4)))
    assert 0.4 < float(memory["p"]) < 0.6
    assert memory["excess"].isfinite().all()


class Flat(nn.Module):
    """D(x) = tanh of a weighted sum, so that R1 through augmentation takes second derivatives."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3 * 8 * 8))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return (x.flatten(1) @ self.weight).tanh()


class Same(nn.Module):
    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return z


def test_in_a_game_the_memory_s_p_is_what_is_applied() -> None:
    game = Adversarial(show=(ADA(images=8),), penalties=(R1(),))
    nets = {"discriminator": Flat(), "generator": Same()}
    memory = game.start(IMAGES, nets)
    assert float(memory["show.0.p"]) == 0
    x = torch.randn(6, 3, 8, 8)
    assert torch.equal(game.critic(nets, START, memory).shown(x, None)[0], x)
    memory["show.0.p"].fill_(1.0)
    changed = (game.critic(nets, START, memory).shown(x, None)[0] != x).flatten(1).any(1)
    assert changed.all()
    exchange = Exchange(nets, Batch(x, None), lambda n: torch.randn(6, 3, 8, 8), memory=memory)
    loss = game.discriminator_loss(exchange)
    (slope,) = torch.autograd.grad(loss, nets["discriminator"].weight)
    assert slope.isfinite().all()
    judged, _ = exchange.judged  # type: ignore[misc]
    excess = float(judged.logits.sign().mean()) - 0.6
    game.after(exchange)
    assert float(memory["show.0.p"]) == (1.0 if excess > 0 else pytest.approx(1 - 6 / 8))
    assert float(memory["show.0.excess"][-1]) == pytest.approx(excess)


@pytest.mark.parametrize(("progress", "p"), [(0.0, 0.1), (0.1, 0.3), (0.2, 0.5), (0.9, 0.5)])
def test_a_p_that_burns_in_is_a_function_of_the_clock(progress: float, p: float) -> None:
    part = ADA(p=0.1, final=0.5, until=0.2, policy=("noise",))
    game = Adversarial(show=(part,))
    nets = {"discriminator": Flat(), "generator": Same()}
    memory = game.start(IMAGES, nets)
    assert memory == {}, "nothing to remember"
    (now,) = game.critic(nets, Clock(0, 0, 0.0, progress), memory).show
    assert now.p == pytest.approx(p)  # type: ignore[attr-defined]
    x = torch.randn(3000, 1, 4, 4)
    assert ((now(x, None)[0] != x).flatten(1).any(1).float().mean() - p).abs() < 4 * (p * (1 - p) / 3000) ** 0.5


def test_beside_what_is_remembered_a_p_that_burns_in_stays_apart() -> None:
    game = Adversarial(show=(ADA(final=0.5), ADA(images=8)))
    nets = {"discriminator": Flat(), "generator": Same()}
    memory = game.start(IMAGES, nets)
    assert set(memory) == {"show.1.p", "show.1.excess"}
    exchange = Exchange(nets, Batch(torch.randn(6, 3, 8, 8), None), lambda n: torch.randn(6, 3, 8, 8), memory=memory)
    game.discriminator_loss(exchange)
    game.after(exchange)
    assert memory["show.1.excess"].any()


@pytest.mark.parametrize("name", [*COLOUR, "scale", "noise"])
def test_colours_change_with_a_share_of_p(name: Transformation) -> None:
    x = torch.randn(1500, 3, 16, 16)
    changed = (ADA(policy=(name,), p=0.8, colour=0.5)(x, None)[0] != x).flatten(1).any(1)
    expected = (0.4 if name in COLOUR else 0.8) * SHARES.get(name, 1)
    assert abs(changed.float().mean() - expected) <= 4 * (expected * (1 - expected) / 1500) ** 0.5


def test_comes_back_from_json() -> None:
    part = ADA(policy=(*BLIT, *CORRUPTION), paired=True)
    assert from_json(to_json(part)) == part


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(RequestError, match=r"ADA: expected images, found vectors \(2,\) in ring"):
        ADA().check(DataSpec(name="ring", shape=(2,)), nn.Identity())
    ADA().check(IMAGES, nn.Identity())
    with pytest.raises(RequestError, match="ADA: policy has no 'turn'"):
        ADA(policy=("turn",))  # type: ignore[arg-type]
    for wrong in ({"p": 1.5}, {"p": -0.1}, {"target": 1.0}, {"target": -1.0}, {"images": 0}):
        with pytest.raises(RequestError, match="ADA: expected 0 <= p <= 1, -1 < target < 1 and images >= 1"):
            ADA(**wrong)  # type: ignore[arg-type]
    for wrong in ({"final": 1.5}, {"final": -0.1}, {"until": 0.0}, {"colour": 1.1}):
        with pytest.raises(RequestError, match=r"ADA: expected final and colour in \[0, 1\] and until in \(0, 1\]"):
            ADA(**wrong)  # type: ignore[arg-type]
