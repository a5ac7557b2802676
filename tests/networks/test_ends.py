"""Ends of sequences: tokens as often as their probabilities say, gradients by hand, numbers that follow from z."""

import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from sparring.core.errors import RequestError
from sparring.core.forms import Series, Text
from sparring.core.protocols import DataSpec
from sparring.core.spec import from_json, to_json
from sparring.games.priors import Coins, Gaussian
from sparring.networks.ends import GumbelSoftmax, Softmax, Tanh, Uniforms, end_of

WORDS = DataSpec(name="words", shape=(6, 3), form=Text(tokens=("", "a", "b")))
WAVES = DataSpec(name="waves", shape=(6, 1), form=Series(columns=("a",), low=(0.0,), high=(1.0,)))


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_hard_tokens_are_drawn_by_their_probabilities(temperature):
    """The greatest of logits and Gumbel noise is distributed as softmax says, at any temperature."""
    logits = torch.tensor([1.0, -0.5, 0.3, 2.0]).expand(40_000, 4)
    x = GumbelSoftmax(temperature=temperature)(logits, torch.rand(40_000, 4))
    assert torch.equal(x.sum(1), torch.ones(40_000))
    assert torch.equal(x.amax(1), torch.ones(40_000)), "hard"
    p = torch.softmax(logits[0], 0)
    assert ((x.mean(0) - p).abs() < 5 * (p * (1 - p) / 40_000).sqrt()).all()


def test_the_gradient_of_a_hard_token_is_that_of_the_soft_one():
    """d softmax(l / τ) = (diag(s) - s sᵀ) / τ, at the logits with their noise."""
    logits = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    uniform, weight = torch.rand(5, 4, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    x = GumbelSoftmax(temperature=0.7)(logits, uniform)
    (found,) = torch.autograd.grad((x * weight).sum(), logits)
    noise = torch.tensor([[-math.log(-math.log(u)) for u in row] for row in uniform.tolist()], dtype=torch.float64)
    s = torch.softmax((logits.detach() + noise) / 0.7, 1)
    expected = torch.stack([(torch.diag(r) - torch.outer(r, r)) @ w / 0.7 for r, w in zip(s, weight, strict=True)])
    torch.testing.assert_close(found, expected)


def test_soft_ends_have_second_derivatives():
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    for end in (Tanh(), Softmax()):
        assert gradcheck(end, (logits,))
        assert gradgradcheck(end, (logits,))
    torch.testing.assert_close(Softmax()(logits).sum(1), torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("prior", [Gaussian(dim=64), Gaussian(dim=4), Coins(dim=12, coins=4)], ids=str)
def test_numbers_from_z_are_uniform_and_apart_from_each_other(prior):
    """Against the law of a uniform number: Kolmogorov's distance and the correlations of 40 numbers, also of their
    squares, lie where those of independent uniform numbers do."""
    count, n = 40, 20_000
    u = Uniforms(prior.dim, count)(prior.draw(n, torch.Generator().manual_seed(1)))
    assert u.shape == (n, count)
    assert ((u > 0) & (u < 1)).all()
    steps = torch.arange(1, n + 1)[:, None] / n
    distance = (u.sort(0).values - steps).abs().amax(0)
    assert (distance < 2.2 / n**0.5).all()  # of independent numbers, one in 16,000 lies beyond
    for power in (1, 2):
        off = torch.corrcoef(u.T**power) - torch.eye(count)
        assert off.abs().max() < 5 / n**0.5


def test_the_same_z_gives_the_same_numbers_and_no_gradient():
    net, z = Uniforms(5, 7), torch.randn(4, 5, requires_grad=True)
    assert torch.equal(net(z), net(z.clone()))
    assert torch.equal(net(z)[2:], net(z[2:])), "whatever else is in the batch"
    assert not net(z).requires_grad
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(net(z), net(z.detach()))
    again = Uniforms(5, 7)
    assert not torch.equal(again(z), net(z))
    again.load_state_dict(net.state_dict())
    assert torch.equal(again(z), net(z)), "what is stored gives the same samples"


def test_what_ends_what():
    assert end_of(None, WORDS) == GumbelSoftmax()
    assert end_of(None, WAVES) == Tanh()
    assert end_of(Softmax(), WORDS) == Softmax()
    assert end_of(Softmax(), WORDS.replace(form=None)) == Softmax()
    with pytest.raises(RequestError, match=r"Softmax: waves holds series: take Tanh\(\)"):
        end_of(Softmax(), WAVES)
    with pytest.raises(RequestError, match=r"Tanh: words holds texts: take GumbelSoftmax\(\)"):
        end_of(Tanh(), WORDS)
    for end in (Tanh(), Softmax(), GumbelSoftmax(temperature=0.5)):
        assert from_json(to_json(end)) == end


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_temperatures_are_above_0(temperature):
    with pytest.raises(RequestError, match="temperature: expected more than 0, found"):
        GumbelSoftmax(temperature=temperature)
