import math

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.metrics.metric import Measured, Setting
from sparring.metrics.summary import summarise
from sparring.metrics.vendi import Vendi, vendi_score


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def by_definition(x: Tensor) -> float:
    """From the n × n similarities."""
    values = np.linalg.eigvalsh(cosine_similarity(x.double().numpy()) / len(x))
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))


def test_alike_and_orthogonal() -> None:
    assert vendi_score(draw(0, 1, 5).repeat(20, 1) * torch.arange(1.0, 21)[:, None]) == pytest.approx(1, abs=1e-12)
    assert vendi_score(torch.eye(12)[:7] * 3) == pytest.approx(7, rel=1e-12)
    assert vendi_score(torch.eye(7).repeat(5, 1)) == pytest.approx(7, rel=1e-12)
    shares = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    assert vendi_score(torch.eye(3).repeat_interleave(torch.tensor([5, 3, 2]), 0)) == pytest.approx(
        math.exp(-(shares * shares.log()).sum().item()), rel=1e-12
    )


def test_a_pair() -> None:
    """Two samples of cosine c: eigenvalues (1 ± c) / 2."""
    c = 0.6
    p = (1 + c) / 2
    expected = math.exp(-p * math.log(p) - (1 - p) * math.log(1 - p))
    assert vendi_score(torch.tensor([[1.0, 0.0], [0.6, 0.8]])) == pytest.approx(expected, rel=1e-6)
    assert vendi_score(torch.tensor([[1e-30, 0.0], [0.6e30, 0.8e30]])) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("n", "d"), [(50, 7), (7, 50), (30, 30), (200, 16)])
def test_agrees_with_the_definition(n: int, d: int) -> None:
    x = draw(0, n, d) + 0.5
    assert vendi_score(x) == pytest.approx(by_definition(x), rel=1e-9)


def test_samples_without_direction_are_alike_and_unlike_others() -> None:
    assert vendi_score(torch.zeros(9, 4)) == pytest.approx(1, abs=1e-12)
    assert vendi_score(torch.cat([torch.zeros(10, 4), torch.ones(10, 4)])) == pytest.approx(2, rel=1e-12)


def test_beside_as_many_real_samples() -> None:
    fake, real = draw(0, 60, 40), draw(1, 500, 40)
    sides = (Measured(summarise(x), torch.empty(0), x, torch.empty(len(x), 0)) for x in (fake, real))
    values = Vendi().measure(*sides, Setting(None))  # type: ignore[arg-type]
    assert values == pytest.approx({"vendi": by_definition(fake), "vendi_real": by_definition(real[:60])})
    assert values["vendi_real"] < by_definition(real) - 5


def test_what_is_refused() -> None:
    with pytest.raises(RequestError, match="1 of 3 samples"):
        vendi_score(torch.tensor([[1.0], [torch.nan], [2.0]]))
    with pytest.raises(RequestError, match="at least 1 sample"):
        vendi_score(torch.empty(0, 3))
