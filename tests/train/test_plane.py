import pytest
import torch
from torch import Tensor, nn

from sparring.core.game import Critic
from sparring.train.plane import CELLS, survey


class Bowl(nn.Module):
    """D(x) = −|x − c|²/2, whose slope is c − x."""

    def __init__(self, centre: Tensor) -> None:
        super().__init__()
        self.centre = centre

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return -(x - self.centre).square().sum(1) / 2


@pytest.mark.parametrize("d", [1, 2])
def test_every_place_has_its_logit_and_slope(d: int) -> None:
    """The first index is the first coordinate: a bowl that is not in the middle tells."""
    centre = torch.tensor([0.5, -0.25][:d])
    real = torch.tensor([[-0.5, 0.1], [0.5, 0.3]])[:, :d]
    plane = survey(Critic(Bowl(centre)), real, real + 1)
    assert plane.low[0] == pytest.approx(-0.6)
    assert plane.high[0] == pytest.approx(0.6)
    assert [high - low for low, high in zip(plane.low, plane.high, strict=True)] == pytest.approx([1.2] * d)
    assert plane.logits is not None
    assert plane.slopes is not None
    assert plane.logits.shape == (CELLS,) * d
    at = (3, 40)[:d]
    x = torch.tensor([low + (i + 0.5) / CELLS * 1.2 for low, i in zip(plane.low, at, strict=True)])
    assert plane.logits[at].item() == pytest.approx(-(x - centre).square().sum().item() / 2, rel=1e-5)
    assert plane.slopes[at] == pytest.approx(centre - x, rel=1e-5)


def test_data_that_are_all_one_point_have_a_surrounding() -> None:
    plane = survey(Critic(Bowl(torch.zeros(2))), torch.full((5, 2), 0.25), torch.zeros(3, 2))
    assert (plane.low, plane.high) == ((-0.75, -0.75), (1.25, 1.25))


def test_where_a_place_alone_cannot_be_judged_there_are_only_points() -> None:
    class InPairs(nn.Module):
        def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
            return x.view(-1, 4).sum(1)

    points = torch.rand(6, 2)
    for plane in (
        survey(Critic(InPairs()), points, points),
        survey(Critic(Bowl(torch.zeros(2))), points, points, conditional=True),
    ):
        assert plane.logits is plane.slopes is None
        assert torch.equal(plane.real, points)
