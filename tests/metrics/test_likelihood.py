import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.protocols import Batch
from sparring.metrics.features.values import Values
from sparring.metrics.judge import measure
from sparring.metrics.likelihood import SIGMAS, Parzen, choose_sigma, log_likelihood
from sparring.metrics.metric import Measured, Setting


def draw(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_definition(x: Tensor, centres: Tensor, sigma: float) -> Any:
    """The log of the mean of products of one-dimensional normal densities [M]."""
    logs = norm.logpdf(x[:, None].numpy(), centres[None].numpy(), sigma).sum(2)
    return logsumexp(logs, axis=1) - math.log(len(centres))


def measured(values: Tensor) -> Measured:
    """Of values in [0, 1]."""
    return measure(Values(tuple(values.shape[1:])), [Batch((values * 2 - 1).float(), None)])


def test_one_dimension() -> None:
    """Centres and samples N(0, 1), σ = .5: −½ ln(2π · 1.25) − .4 = −1.43051."""
    grid = torch.arange(4000, dtype=torch.float64).add(0.5).div(4000)
    normal = torch.special.ndtri(grid)[:, None]
    found = log_likelihood(normal, normal, (0.5,)).mean().item()
    assert found == pytest.approx(-1.43051, abs=5e-4)
    assert found == pytest.approx(-0.5 * math.log(2 * math.pi * 1.25) - 0.4, abs=5e-4)


@pytest.mark.parametrize(("num", "num_centres", "dim"), [(1, 1, 3), (600, 40, 3), (60, 30, 784)])
def test_agrees_with_the_definition(num: int, num_centres: int, dim: int) -> None:
    """Across chunks; in many dimensions too, where every density underflows."""
    x, centres = draw(0, num, dim), draw(1, num_centres, dim)
    found = log_likelihood(x, centres, (0.1, 0.5))
    assert found.shape == (2, num)
    for row, sigma in enumerate((0.1, 0.5)):
        assert np.allclose(found[row].numpy(), by_definition(x, centres, sigma), rtol=1e-10, atol=1e-10)


def test_the_window_is_the_likeliest_of_ten() -> None:
    assert np.allclose(SIGMAS, np.logspace(-1, 0, 10), rtol=1e-14)
    validation, centres = draw(0, 100, 6), draw(1, 80, 6)
    scores = [by_definition(validation, centres, s).mean() for s in SIGMAS]
    assert choose_sigma(validation, centres) == SIGMAS[int(np.argmax(scores))]
    assert 0 < int(np.argmax(scores)) < 9
    assert choose_sigma(torch.full((2, 1), 5.0), torch.zeros(3, 1)) == 1
    assert choose_sigma(torch.zeros(2, 1), torch.zeros(3, 1)) == SIGMAS[0]


def test_the_metric_chooses_on_the_reference_and_tests_on_what_is_held_out() -> None:
    fake, held_out = draw(0, 200, 4), draw(2, 300, 4)
    # Of the reference, the first 1,000 lie close to the fakes; the others, out of play, far from them.
    real = torch.cat([fake.repeat(5, 1) + draw(1, 1000, 4) * 0.01, torch.full((500, 4), 4.0, dtype=torch.float64)])
    metric = Parzen()
    setting = Setting(Values((4,)), held_out=measured(held_out))
    values = metric.measure(measured(fake), measured(real), setting)
    sigma = SIGMAS[int(np.argmax([by_definition(real[:1000], fake, s).mean() for s in SIGMAS]))]
    assert sigma == SIGMAS[0]
    assert choose_sigma(held_out, fake) > sigma
    found = by_definition(held_out, fake, sigma)
    half = 1.959964 * found.std(ddof=1) / math.sqrt(300)
    assert values == pytest.approx(
        {
            "parzen": found.mean(),
            "parzen_low": found.mean() - half,
            "parzen_high": found.mean() + half,
            "parzen_sigma": sigma,
        },
        rel=1e-6,
    )
    assert list(metric.notes(measured(fake), measured(real), setting, {})) == [
        "parzen of 200 samples: it grows with their number, and published figures take 10,000"
    ]
    assert metric.better == {}


def test_more_of_the_same_centres_change_nothing() -> None:
    x, centres = draw(0, 50, 5), draw(1, 40, 5)
    once, thrice = log_likelihood(x, centres, (0.2,)), log_likelihood(x, centres.repeat(3, 1), (0.2,))
    assert torch.allclose(once, thrice, rtol=1e-12)


def test_refusals() -> None:
    fake, network = measured(draw(0, 10, 4)), Values((4,))
    network.name = "pca64-values"
    with pytest.raises(RequestError, match="found features 'pca64-values'; use features 'values'"):
        Parzen().measure(fake, fake, Setting(network, held_out=fake))
    with pytest.raises(RequestError, match="not trained on: name them with --held-out"):
        Parzen().measure(fake, fake, Setting(Values((4,))))
    for x, centres in (((3, 4), (2, 5)), ((0, 4), (2, 4)), ((3, 4), (0, 4)), ((3,), (2, 3))):
        with pytest.raises(RequestError, match=r"samples \[M, D\] and centres \[N, D\]"):
            log_likelihood(torch.zeros(x), torch.zeros(centres), (1.0,))


@pytest.mark.mnist
def test_real_mnist_as_its_own_model(mnist: Any) -> None:
    """10,000 training images as centres are published at 243 (Theis et al. 2016) and found between 238 and 243, by the
    choice of images; here on 1,000 test images."""
    images, test = (mnist(split)[0].flatten(1).add(1).div(2) for split in ("train", "test"))
    sigma = choose_sigma(images[50_000:50_200], images[:10_000])
    assert sigma == pytest.approx(0.1668, abs=1e-4)
    found = log_likelihood(test[::10], images[:10_000], (sigma,))
    assert found.mean().item() == pytest.approx(241.2, abs=3 * 213 / 1000**0.5)
    assert found.std().item() / 100 == pytest.approx(2.1, abs=0.15)
