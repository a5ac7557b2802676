from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from sparring.core.errors import RequestError
from sparring.core.spec import from_json, to_json
from sparring.layers import Activation, Dense, MinibatchDiscrimination, build_stack


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_against_loops(batch: int) -> None:
    """Section 3.2, one number at a time: o(x_i)_b = Σ_j exp(-|M_ib - M_jb|₁)."""
    module, shape = MinibatchDiscrimination(3, 2).build((4,))
    module.double()
    x = torch.randn(batch, 4, dtype=torch.float64)
    tensor = module.weight.detach().numpy().reshape(4, 3, 2)
    m = np.einsum("na,abc->nbc", x.numpy(), tensor)
    expected = np.zeros((batch, 3))
    for i in range(batch):
        for b in range(3):
            for j in range(batch):
                expected[i, b] += np.exp(-sum(abs(m[i, b, c] - m[j, b, c]) for c in range(2)))
    y = module(x)
    assert shape == (7,)
    assert torch.equal(y[:, :4], x)
    np.testing.assert_allclose(y[:, 4:].detach().numpy(), expected, rtol=1e-12)


def test_equal_samples_add_their_number_and_distant_ones_one() -> None:
    module, _ = MinibatchDiscrimination(6).build((5,))
    assert torch.equal(module(torch.ones(8, 5))[:, 5:], torch.full((8, 6), 8.0))
    far = (1e4 * torch.randn(8, 5)).requires_grad_()
    y = module(far)
    assert torch.equal(y[:, 5:], torch.ones(8, 6))
    (slope,) = torch.autograd.grad(y.sum(), far)
    assert slope.isfinite().all()


def test_first_and_second_derivatives_against_finite_differences() -> None:
    stack, _ = build_stack([Dense(3), Activation("tanh"), MinibatchDiscrimination(2, 3)], (4,))
    stack.double()
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert gradcheck(stack, (x,))
    assert gradgradcheck(stack, (x,), fast_mode=True)


def test_starts_with_the_variance_of_the_features() -> None:
    module, _ = MinibatchDiscrimination(50, 20).build((400,))
    assert module.weight.mean().item() == pytest.approx(0, abs=4 / 20 / 400_000**0.5)
    assert (torch.randn(500, 400) @ module.weight).var().item() == pytest.approx(1, rel=0.02)


def test_is_a_spec_with_checked_arguments() -> None:
    layer = MinibatchDiscrimination(7, dims=3)
    assert from_json(to_json(layer)) == layer
    for wrong in ({"kernels": 0}, {"dims": 0}, {"dims": 2.5}):
        with pytest.raises(RequestError, match=f"MinibatchDiscrimination: {next(iter(wrong))} must be a whole number"):
            MinibatchDiscrimination(**wrong)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match=r"layer 1, MinibatchDiscrimination: expected a vector \(features,\)"):
        build_stack([layer], (1, 4, 4))
