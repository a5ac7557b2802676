"""Conditional batch normalisation, against a loop over the samples."""

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck

from sparring.core.errors import RequestError
from sparring.layers import ConditionalBatchNormalization


def randomised(layer, shape):
    torch.manual_seed(0)
    module, out = layer.build(shape)
    assert out == shape
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module.double()


@pytest.mark.parametrize("shape", [(4,), (4, 3, 5)], ids=str)
def test_each_class_has_an_affine_map_of_its_own(shape):
    module = randomised(ConditionalBatchNormalization(epsilon=1e-3, conditions=3), shape)
    x = 2 + 3 * torch.randn(7, *shape, dtype=torch.float64)
    y = torch.tensor([0, 2, 1, 1, 0, 2, 2])
    found = module(x, nn.functional.one_hot(y, 3).double())
    weight, bias = module.affine.weight, module.affine.bias
    for channel in range(4):
        mean, var = x[:, channel].mean(), x[:, channel].var(unbiased=False)
        for i, k in enumerate(y):
            gamma = 1 + bias[channel] + weight[channel, k]
            beta = bias[4 + channel] + weight[4 + channel, k]
            expected = gamma * (x[i, channel] - mean) / (var + 1e-3).sqrt() + beta
            torch.testing.assert_close(found[i, channel], expected)


def test_a_vector_scales_and_shifts_linearly():
    module = randomised(ConditionalBatchNormalization(conditions=2), (3,))
    module.eval()
    x, c = torch.randn(5, 3).double(), torch.randn(5, 2).double()
    normed = x / (1 + 1e-5) ** 0.5  # running averages start at mean 0 and variance 1
    weight, bias = module.affine.weight, module.affine.bias
    gamma, beta = 1 + bias[:3] + c @ weight[:3].T, bias[3:] + c @ weight[3:].T
    torch.testing.assert_close(module(x, c), gamma * normed + beta)


def test_it_starts_as_plain_batch_normalisation_and_every_weight_learns():
    torch.manual_seed(0)
    module, _ = ConditionalBatchNormalization(momentum=0.8, conditions=3).build((4, 2, 2))
    plain = nn.BatchNorm2d(4, momentum=1 - 0.8)
    x, c = torch.randn(6, 4, 2, 2), torch.eye(3).repeat(2, 1)
    found = module(x, c)
    torch.testing.assert_close(found, plain(x))
    torch.testing.assert_close(module.norm.running_var, plain.running_var)
    found.square().mul(torch.rand_like(found)).sum().backward()
    assert module.affine.weight.grad.all()
    assert module.affine.bias.grad.all()


def test_derivatives():
    module = randomised(ConditionalBatchNormalization(conditions=2), (3, 2, 2))
    x, c = torch.randn(4, 3, 2, 2).double().requires_grad_(), torch.randn(4, 2).double().requires_grad_()
    assert gradcheck(module, (x, c))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConditionalBatchNormalization(momentum=1.0), "momentum must be at least 0 and below 1"),
        (lambda: ConditionalBatchNormalization(epsilon=0), "epsilon must be above 0"),
        (lambda: ConditionalBatchNormalization(conditions=-1), "conditions must be a whole number of at least 0"),
        (lambda: ConditionalBatchNormalization().build((3,)), "needs a class or a vector as condition"),
        (lambda: ConditionalBatchNormalization(conditions=2).build((3, 4)), "expected an image"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(RequestError, match=message):
        make()
