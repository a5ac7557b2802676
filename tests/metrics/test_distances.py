import pytest
import torch
from scipy.spatial import KDTree
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.metrics import distances
from sparring.metrics.distances import held_by_balls, in_any_ball, nearest, nearest_others


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def by_differences(x: Tensor, y: Tensor) -> Tensor:
    return (x.double()[:, None] - y.double()).square().sum(2).sqrt()


@pytest.mark.parametrize(("N", "M", "d", "k"), [(300, 700, 3, 5), (600, 40, 17, 1), (5, 9, 1, 9), (1, 2, 64, 2)])
def test_the_k_nearest_as_a_tree_finds_them(N: int, M: int, d: int, k: int) -> None:
    x, y = draw(0, N, d), draw(1, M, d)
    expected, index = KDTree(y.double().numpy()).query(x.double().numpy(), k=range(1, k + 1))
    found = nearest(x, y, k)
    assert found.distances.dtype == torch.float64
    assert torch.allclose(found.distances, torch.from_numpy(expected), rtol=1e-14, atol=0)
    assert torch.equal(found.positions, torch.from_numpy(index))


def test_a_sample_is_not_its_own_neighbour_but_its_copy_is() -> None:
    x = draw(0, 500, 6)
    x[7] = x[411]
    found = nearest_others(x, 4)
    between = by_differences(x, x) + torch.diag(torch.full((500,), torch.inf))
    assert torch.allclose(found.distances, between.topk(4, largest=False).values, rtol=1e-14, atol=0)
    assert torch.allclose(found.distances, between.gather(1, found.positions), rtol=1e-14, atol=0)
    assert found.distances[7, 0] == found.distances[411, 0] == 0
    assert (found.positions[7, 0], found.positions[411, 0]) == (411, 7)


def test_copies_and_near_copies_far_from_the_origin() -> None:
    """At 1e6 a product is wrong by 1e-4 in the square, where copies and steps of .25 must be told apart."""
    y = torch.arange(400.0)[:, None] * 0.25 + 1e6 + torch.zeros(400, 8)
    found = nearest(y[::7] + torch.tensor([1e-3] + [0.0] * 7).double(), y, 3)
    step = 0.25 * 8**0.5
    assert torch.equal(found.positions[:, 0], torch.arange(0, 400, 7))
    assert torch.allclose(found.distances[:, 0], torch.tensor(1e-3).double(), rtol=1e-6)
    assert torch.allclose(found.distances[1:-1, 1:], torch.tensor(step).double(), rtol=1e-3)
    assert torch.equal(nearest(y, y).distances, torch.zeros(400, 1, dtype=torch.float64))


def test_more_copies_than_candidates() -> None:
    """Thirty samples crowd out what the product finds; the right ones are 1e-9 apart from them."""
    x = torch.full((1, 3), 1000.0, dtype=torch.float64)
    y = torch.cat([x.repeat(30, 1) + 2e-9, x + 1e-9, draw(0, 300, 3).double()])
    y = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(1))]
    found = nearest(x, y, 2)
    expected, index = by_differences(x, y).topk(2, largest=False)
    assert torch.allclose(found.distances, expected, rtol=1e-14, atol=0)
    assert found.positions[0, 0] == index[0, 0]
    others = nearest_others(torch.cat([x, y]), 2)
    assert torch.allclose(others.distances[0], expected[0], rtol=1e-14, atol=0)
    assert torch.equal(nearest_others(torch.ones(50, 4), 3).distances, torch.zeros(50, 3, dtype=torch.float64))


def test_order_that_the_product_cannot_see() -> None:
    """Distances that differ by less than the product is wrong by, of samples far out: it names others, and is sure."""
    missed = 0
    for seed in range(20):
        x = 1000 * draw(seed, 1, 256).double()
        steps = 1e-2 + 1e-10 * torch.arange(60)[torch.randperm(60, generator=torch.Generator().manual_seed(seed))]
        direction = draw(seed + 100, 60, 256).double()
        y = x + steps[:, None] * direction / direction.norm(dim=1, keepdim=True)
        expected, index = by_differences(x, y).topk(2, largest=False)
        product = NearestNeighbors(n_neighbors=10, algorithm="brute").fit(y.numpy()).kneighbors(x.numpy())
        missed += int(index[0, 0]) not in product[1][0] and product[0][0, 1] < product[0][0, -1]
        found = nearest(x, y, 2)
        assert torch.allclose(found.distances, expected, rtol=1e-14, atol=0)
        assert torch.equal(found.positions, index)
    assert missed > 5


def test_balls_as_differences_have_it() -> None:
    points, centres = draw(0, 600, 5), draw(1, 2100, 5) * 1.1
    radii = torch.rand(2100, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    inside = by_differences(points, centres) < radii
    assert 0.2 < inside.any(1).double().mean() < 0.99
    assert torch.equal(in_any_ball(points, centres, radii), inside.any(1))
    held = held_by_balls(points, centres, radii)
    assert torch.equal(held.balls, inside.sum(1))
    assert torch.equal(held.points, inside.sum(0))


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_the_surface_is_inside_for_one_and_outside_for_the_other(offset: float) -> None:
    """Radii that are distances to points, so that each surface passes through points; and balls of radius 0."""
    centres = draw(0, 300, 7).double() + offset
    points = centres[torch.randperm(300, generator=torch.Generator().manual_seed(1))]
    found = nearest_others(centres, 3)
    radii = found.distances[:, -1]
    assert torch.equal(held_by_balls(points, centres, radii).points, torch.full((300,), 3))  # itself and two others
    assert torch.equal(held_by_balls(points, centres, torch.zeros(300)).points, torch.zeros(300, dtype=torch.int64))
    alone = torch.zeros(300, 300, dtype=torch.float64).fill_diagonal_(1)
    for i in (0, 17, 299):
        only = found.distances[i, -1] * alone[i] + torch.full((300,), -1.0).double() * (1 - alone[i])
        reached = in_any_ball(points, centres[i : i + 1], only[i : i + 1])
        assert int(reached.sum()) == 4
    assert in_any_ball(points, centres, torch.zeros(300)).all()
    assert not in_any_ball(points + 10, centres, torch.zeros(300)).any()


def test_results_do_not_depend_on_how_the_work_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = draw(0, 257, 9), draw(1, 301, 9)
    x[:40] = y[:40]
    radii = nearest_others(y, 2).distances[:, -1]
    whole = nearest(x, y, 3), in_any_ball(x, y, radii), held_by_balls(x, y, radii)
    monkeypatch.setattr(distances, "ROWS", 7)
    monkeypatch.setattr(distances, "COLUMNS", 11)
    parts = nearest(x, y, 3), in_any_ball(x, y, radii), held_by_balls(x, y, radii)
    assert torch.equal(whole[0].distances, parts[0].distances)
    assert torch.equal(whole[1], parts[1])
    assert torch.equal(whole[2].balls, parts[2].balls)


def test_what_is_refused() -> None:
    x = draw(0, 3, 2)
    with pytest.raises(RequestError, match="4 nearest neighbours need at least 4 samples, found 3"):
        nearest(x, x, 4)
    with pytest.raises(RequestError, match="3 nearest neighbours need at least 4 samples, found 3"):
        nearest_others(x, 3)
    for bad in (torch.nan, torch.inf):
        broken = x.clone()
        broken[1, 1] = bad
        for call in (
            lambda broken=broken: nearest(broken, x),
            lambda broken=broken: nearest(x, broken),
            lambda broken=broken: in_any_ball(x, broken, torch.ones(3)),
            lambda broken=broken: held_by_balls(broken, x, torch.ones(3)),
        ):
            with pytest.raises(RequestError, match="1 of 3 samples have features that are not finite"):
                call()
