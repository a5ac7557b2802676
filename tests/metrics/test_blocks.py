import pytest
import torch
from scipy import stats

from sparring.core.errors import RequestError
from sparring.metrics.blocks import against_rest, interval_of


def test_blocks_of_both_sides_meet_the_rest_of_the_reference() -> None:
    """The distance is told by who was compared: sums of powers of two name the members."""
    fake, real = 2.0 ** torch.arange(20), 2.0 ** torch.arange(12)
    seen: list[tuple[float, float]] = []

    def distances(block: torch.Tensor, rest: torch.Tensor) -> torch.Tensor:
        seen.append((block.sum().item(), rest.sum().item()))
        assert (len(block), len(rest)) == (4, 8)
        return torch.stack([block.mean(), torch.tensor(0.0)])

    found = against_rest(fake, real, distances)
    thirds = [2.0**k * 15 for k in (0, 4, 8)]
    assert seen[:5] == [(2.0 ** (4 * k) * 15, 4095 - thirds[k % 3]) for k in range(5)]
    assert seen[5:] == [(own, 4095 - own) for own in thirds]
    assert found.fake.shape == (5, 2)
    assert found.real[:, 0].tolist() == [own / 4 for own in thirds]
    values = found.named("d")
    assert values["d"] == pytest.approx(fake.mean().item() / 2)
    assert values["d_real"] == pytest.approx(4095 / 12 / 2)


def test_a_small_reference_is_halved() -> None:
    sizes: list[tuple[int, int]] = []

    def distances(block: torch.Tensor, rest: torch.Tensor) -> torch.Tensor:
        sizes.append((len(block), len(rest)))
        return torch.zeros(1)

    found = against_rest(torch.zeros(100), torch.zeros(13), distances)
    assert sizes == [(6, 7)] * 12  # at most ten blocks of fakes, and two of the reference
    assert (len(found.fake), len(found.real)) == (10, 2)


def test_the_interval_is_students() -> None:
    values = torch.tensor([1.0, 2.0, 4.0, 5.0]).double()
    expected = stats.ttest_1samp(values.numpy(), 0).confidence_interval(0.95)
    found = interval_of(values)
    assert (found.value, found.low, found.high) == pytest.approx((3.0, expected.low, expected.high))
    assert interval_of(torch.tensor([0.0, 1.0])).low == 0


@pytest.mark.parametrize(("count", "real"), [(1000, 400), (100, 3000), (3000, 100)])
def test_equal_laws_give_the_floor(count: int, real: int) -> None:
    """Also of a distance that is far above 0 for them: the difference of the greatest values."""
    random = torch.Generator().manual_seed(0)
    means = []
    for _ in range(200):
        x = torch.randn(count + real, generator=random).square()
        found = against_rest(x[:count], x[count:], lambda a, b: (a.max() - b.max()).abs()[None])
        means.append([found.fake.mean(), found.real.mean()])
    fake, floor = torch.tensor(means).T
    assert fake.mean() > 0.5
    assert abs(fake.mean() - floor.mean()) < 3 * (fake - floor).std() / 200**0.5


def test_too_few_are_refused() -> None:
    with pytest.raises(RequestError, match="need at least 10 samples on each side, found 20 and 9"):
        against_rest(torch.zeros(20), torch.zeros(9), lambda a, b: torch.zeros(1))
