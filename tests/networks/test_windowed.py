"""Texts by a network that reads the last tokens alone: what it knows, what it can't, and their likelihood."""

from __future__ import annotations

import copy

import pytest
import torch

from sparring.core.errors import RequestError
from sparring.core.forms import Text
from sparring.core.protocols import DataSpec
from sparring.core.spec import from_json, to_json
from sparring.networks.windowed import WindowedGenerator, WindowedWriter

FORM = Text(tokens=("", "a", "b", "c"))
DATA = DataSpec(name="texts", shape=(6, 4), form=FORM)
TEXTS = FORM.one_hot(torch.tensor([[1, 2, 0, 0, 0, 0], [3, 3, 1, 2, 2, 1], [2, 0, 0, 0, 0, 0]]))


def built(data: DataSpec = DATA, **more: int) -> WindowedWriter:
    torch.manual_seed(0)
    net = WindowedGenerator(width=12, **more).build(data, 8)  # type: ignore[arg-type]
    assert isinstance(net, WindowedWriter)
    torch.nn.init.normal_(net.ending)
    return net


def test_samples_are_tokens_and_a_function_of_z() -> None:
    assert from_json(to_json(WindowedGenerator(window=2))) == WindowedGenerator(window=2)
    G, z = built(), torch.randn(50, 8)
    x = G(z)
    assert x.shape == (50, 6, 4)
    assert torch.equal(x.sum(2), torch.ones(50, 6))
    assert torch.equal(x, copy.deepcopy(G).eval()(z))
    assert len(set(FORM.decode(x))) > 20


@pytest.mark.parametrize("window", [1, 3])
def test_likelihood_is_the_product_of_what_is_written_step_by_step(window: int) -> None:
    G, z = built(window=window), torch.randn(3, 8)
    told, found = G._told(z, None), G.log_likelihood(TEXTS, z)
    for row, length in enumerate([3, 6, 2]):  # the first token that ends a text counts, those after it do not
        total = torch.zeros(())
        for t in range(length):
            before = [TEXTS[row, i] if i >= 0 else torch.zeros(4) for i in range(t - window, t)]
            hidden = torch.nn.functional.leaky_relu(G.read(torch.cat(before)) + told[row], 0.2)
            for layer in G.hidden:
                hidden = torch.nn.functional.leaky_relu(layer(hidden), 0.2)
            logits = G.to_token(hidden) + G.ending[t] * torch.tensor([1.0, 0, 0, 0])
            total = total + torch.log_softmax(logits, 0)[TEXTS[row, t].argmax()]
        assert found[row].item() == pytest.approx(total.item() / length, rel=1e-5)


def test_tokens_are_drawn_as_likely_as_they_are_said_to_be() -> None:
    """Of the first token, over many z; and of its probabilities squared, where psi is a half."""
    G = built()
    with torch.no_grad():
        G.told.weight[:, :] = 0  # as if z said nothing
        z = torch.randn(40_000, 8)
        said = torch.softmax(G._logits(torch.zeros(1, 12), G._told(z[:1], None), G.ending[:1]), 1)[0]
        drawn = G(z)[:, 0].mean(0)
        sharper = G.truncated(z, None, 0.5)[:, 0].mean(0)
    torch.testing.assert_close(drawn, said, atol=0.01, rtol=0)
    torch.testing.assert_close(sharper, said.square() / said.square().sum(), atol=0.01, rtol=0)


def test_what_was_written_before_the_window_is_forgotten() -> None:
    """A text's last token is as likely after another beginning, where the ends of both are the same."""
    G, z = built(window=2), torch.randn(1, 8)
    texts = FORM.one_hot(torch.tensor([[1, 2, 3, 3, 1, 2], [3, 1, 2, 3, 1, 2]]))
    ends = FORM.one_hot(torch.tensor([[1, 2, 3, 3, 1, 1], [3, 1, 2, 3, 1, 1]]))
    both = z.expand(2, -1)
    ratio = 6 * (G.log_likelihood(texts, both) - G.log_likelihood(ends, both))
    assert ratio[0].item() == pytest.approx(ratio[1].item(), abs=1e-5)
    longer = built(window=4)
    ratio = 6 * (longer.log_likelihood(texts, both) - longer.log_likelihood(ends, both))
    assert abs(ratio[0].item() - ratio[1].item()) > 1e-4


def test_the_gradient_of_a_token_is_that_of_a_soft_one() -> None:
    G, z = built(), torch.randn(4, 8)
    G(z)[:, 2, 1].sum().backward()
    assert all(p.grad is not None for p in G.parameters())
    assert G.to_token.weight.grad is not None
    assert G.to_token.weight.grad.abs().sum() > 0


def test_classes_stand_beside_z() -> None:
    data = DATA.replace(num_classes=3)
    G = built(data)
    z = torch.randn(300, 8)
    assert not torch.equal(G(z, torch.zeros(300).long()), G(z, torch.ones(300).long()))


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(RequestError, match="WindowedGenerator: expected texts, found mnist"):
        WindowedGenerator().build(DataSpec(name="mnist", shape=(1, 28, 28)), 8)
    with pytest.raises(RequestError, match="window, width and depth of at least 1"):
        WindowedGenerator(window=0).build(DATA, 8)
