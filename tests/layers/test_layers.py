"""Every layer against a slow, obvious computation of the same thing, and its second derivatives."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

from sparring.core.errors import RequestError
from sparring.core.spec import from_json, to_json
from sparring.layers import (
    Activation,
    BatchNormalization,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MinibatchStd,
    Pooling2D,
    Reshape,
    UpSampling2D,
    build_stack,
)
from sparring.layers.conv import Crop
from sparring.layers.minibatch_std import group_std


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def only(module, kind):
    return next(m for m in module.modules() if isinstance(m, kind))


def test_dense_is_a_matrix_product():
    module, shape = Dense(5).build((7,))
    nn.init.normal_(module.bias)
    x = torch.randn(3, 7)
    weight, bias = module.weight.detach().numpy(), module.bias.detach().numpy()
    assert shape == (5,)
    np.testing.assert_allclose(module(x).detach().numpy(), x.numpy() @ weight.T + bias, rtol=1e-5, atol=1e-6)


def test_dense_starts_with_glorot_variance():
    module, _ = Dense(300).build((500,))
    assert module.weight.var().item() == pytest.approx(2 / 800, rel=0.02)
    assert not module.bias.any()


def slow_conv(x, weight, bias, stride, before, out):
    """Cross-correlation, one output number at a time; the image is zero outside."""
    filters, channels, kh, kw = weight.shape
    y = np.zeros((len(x), filters, *out))
    for b, f, i, j in itertools.product(range(len(x)), range(filters), range(out[0]), range(out[1])):
        total = bias[f]
        for c, u, v in itertools.product(range(channels), range(kh), range(kw)):
            row, column = i * stride[0] + u - before[0], j * stride[1] + v - before[1]
            if 0 <= row < x.shape[2] and 0 <= column < x.shape[3]:
                total += weight[f, c, u, v] * x[b, c, row, column]
        y[b, f, i, j] = total
    return y


@pytest.mark.parametrize(
    ("layer", "before", "out"),
    [  # by hand, for an image of 5×6
        (Conv2D(2), (1, 1), (5, 6)),
        (Conv2D(2, 4), (1, 1), (5, 6)),
        (Conv2D(2, 4, strides=2), (1, 1), (3, 3)),
        (Conv2D(2, 3, 2), (1, 0), (3, 3)),
        (Conv2D(2, (1, 5), (3, 1)), (0, 2), (2, 6)),
        (Conv2D(2, 3, padding="valid"), (0, 0), (3, 4)),
        (Conv2D(2, 4, 2, padding=1), (1, 1), (2, 3)),
    ],
    ids=str,
)
def test_conv_is_the_sum_over_its_window(layer, before, out):
    module, shape = layer.build((3, 5, 6))
    module.double()
    conv = only(module, nn.Conv2d)
    nn.init.normal_(conv.bias)
    x = torch.randn(2, 3, 5, 6, dtype=torch.float64)
    weight, bias = conv.weight.detach().numpy(), conv.bias.detach().numpy()
    stride = layer.strides if isinstance(layer.strides, tuple) else (layer.strides, layer.strides)
    assert shape == (2, *out)
    np.testing.assert_allclose(module(x).detach().numpy(), slow_conv(x.numpy(), weight, bias, stride, before, out))


@pytest.mark.parametrize("padding", ["same", "valid", 1])
@pytest.mark.parametrize(("kernel", "stride"), [(4, 2), (3, 2), (5, 2), (3, 1), (4, 1), (2, 3), ((3, 4), (1, 2))])
def test_transposed_conv_is_the_adjoint_of_conv(kernel, stride, padding):
    """<conv(x), y> = <x, conv^T(y)> with equal weights, for all x and y."""
    up, (_, height, width) = Conv2DTranspose(3, kernel, stride, padding).build((2, 5, 4))
    down, shape = Conv2D(2, kernel, stride, padding).build((3, height, width))
    up.double(), down.double()
    assert shape == (2, 5, 4)
    only(down, nn.Conv2d).weight.data = only(up, nn.ConvTranspose2d).weight.data
    x = torch.randn(1, 3, height, width, dtype=torch.float64)
    y = torch.randn(1, 2, 5, 4, dtype=torch.float64)
    assert up(y).shape == x.shape
    torch.testing.assert_close((down(x) * y).sum(), (x * up(y)).sum())


def test_transposed_conv_same_multiplies_the_size_by_the_stride():
    assert Conv2DTranspose(8).build((2, 7, 9))[1] == (8, 14, 18)
    assert Conv2DTranspose(8, 3, 2).build((2, 7, 9))[1] == (8, 14, 18)
    assert Conv2DTranspose(8, 4, 2, "valid").build((2, 7, 9))[1] == (8, 16, 20)


def test_upsampling_nearest_repeats():
    x = torch.randn(2, 3, 4, 5)
    module, shape = UpSampling2D((2, 3)).build((3, 4, 5))
    assert shape == (3, 8, 15)
    torch.testing.assert_close(module(x), x.repeat_interleave(2, 2).repeat_interleave(3, 3))


def test_upsampling_bilinear_is_linear_between_pixel_centres():
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    module, shape = UpSampling2D(3, interpolation="bilinear").build((3, 4, 5))
    expected = x.numpy()
    for axis, size in ((2, 4), (3, 5)):
        at = (np.arange(3 * size) + 0.5) / 3 - 0.5
        expected = np.apply_along_axis(lambda line, at=at, n=size: np.interp(at, np.arange(n), line), axis, expected)
    assert shape == (3, 12, 15)
    np.testing.assert_allclose(module(x).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize(("mode", "reduce"), [("max", np.max), ("average", np.mean)])
def test_pooling_takes_blocks_and_drops_the_rest(mode, reduce):
    x = torch.randn(2, 3, 5, 7, dtype=torch.float64)
    module, shape = Pooling2D(2, mode).build((3, 5, 7))
    expected = [[reduce(x.numpy()[:, :, i : i + 2, j : j + 2], (2, 3)) for j in (0, 2, 4)] for i in (0, 2)]
    assert shape == (3, 2, 3)
    np.testing.assert_allclose(module(x).numpy(), np.transpose(expected, (2, 3, 0, 1)))


def test_flatten_and_reshape_undo_each_other():
    x = torch.randn(2, 3, 4, 5)
    stack, shape = build_stack([Flatten(), Reshape((3, 4, 5))], (3, 4, 5))
    assert shape == (3, 4, 5)
    assert torch.equal(stack(x), x)
    folded, shape = Reshape([5, 12]).build((3, 4, 5))
    assert shape == (5, 12)
    assert torch.equal(folded(x), x.reshape(2, 5, 12))


def test_activations_against_their_formulas():
    x = torch.linspace(-4, 4, 12, dtype=torch.float64).view(3, 4)
    n = x.numpy()
    formulas = {
        Activation("relu"): np.maximum(n, 0),
        Activation("relu", leaky_rate=0.01): np.maximum(n, 0) + 0.01 * np.minimum(n, 0),
        Activation("sigmoid"): 1 / (1 + np.exp(-n)),
        Activation("tanh"): np.tanh(n),
        Activation("softmax"): np.exp(n) / np.exp(n).sum(1, keepdims=True),
        Activation("linear"): n,
    }
    for layer, expected in formulas.items():
        module, shape = layer.build((4,))
        assert shape == (4,)
        np.testing.assert_allclose(module(x).numpy(), expected, err_msg=str(layer))


def test_softmax_of_an_image_is_over_channels():
    module, _ = Activation("softmax").build((3, 2, 2))
    torch.testing.assert_close(module(torch.randn(4, 3, 2, 2)).sum(1), torch.ones(4, 2, 2))


def test_dropout_keeps_the_mean_and_rests_in_evaluation():
    x = torch.ones(200, 500)
    module, _ = Dropout(0.25).build((500,))
    out = module(x)
    assert sorted(out.unique().tolist()) == pytest.approx([0, 4 / 3])
    assert (out == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert torch.equal(module.eval()(x), x)


def test_spatial_dropout_drops_whole_channels():
    module, _ = Dropout(0.5, spatial=True).build((8, 3, 3))
    out = module(torch.ones(16, 8, 3, 3)).flatten(2)
    assert torch.equal(out.amin(2), out.amax(2))
    assert set(out.unique().tolist()) == {0, 2}


@pytest.mark.parametrize("shape", [(4,), (4, 3, 5)])
def test_batch_normalization_against_its_formula(shape):
    module, out = BatchNormalization(momentum=0.8, epsilon=0.01).build(shape)
    assert out == shape
    gamma, beta = torch.randn(4), torch.randn(4)
    module.weight.data, module.bias.data = gamma, beta
    x = torch.randn(6, *shape) * 3 + 1
    axes = [i for i in range(x.dim()) if i != 1]
    mean, var = x.mean(axes), x.var(axes, correction=0)
    n = x.numel() // 4
    view = (1, 4, *[1] * (len(shape) - 1))

    def formula(mean, var):
        scale = gamma / (var + 0.01).sqrt()
        return x * scale.view(view) + (beta - mean * scale).view(view)

    torch.testing.assert_close(module(x), formula(mean, var), rtol=1e-4, atol=1e-5)
    # What is kept of the start (mean 0, variance 1) is 0.8; the running variance is the unbiased one.
    running_mean, running_var = 0.2 * mean, 0.8 + 0.2 * var * n / (n - 1)
    torch.testing.assert_close(module.eval()(x), formula(running_mean, running_var), rtol=1e-4, atol=1e-5)


def slow_group_std(x, group_size):
    """Sample i belongs to group i mod M; population standard deviation by loops."""
    flat, groups = x.reshape(len(x), -1), max(len(x) // group_size, 1)
    result = np.zeros(len(x))
    for g in range(groups):
        members = [i for i in range(len(x)) if i % groups == g]
        total = 0.0
        for feature in range(flat.shape[1]):
            values = [flat[i, feature] for i in members]
            centre = sum(values) / len(values)
            total += math.sqrt(sum((v - centre) ** 2 for v in values) / len(values) + 1e-8)
        result[members] = total / flat.shape[1]
    return result


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4)])
@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5, 7, 8, 11, 12])
def test_minibatch_std_against_loops(batch, shape):
    x = torch.randn(batch, *shape, dtype=torch.float64)
    module, out = MinibatchStd(4).build(shape)
    y = module(x)
    assert y.shape == (batch, *out)
    assert out == (shape[0] + 1, *shape[1:])
    assert torch.equal(y[:, :-1], x)
    added = slow_group_std(x.numpy(), 4).reshape(batch, *[1] * (len(shape) - 1))
    np.testing.assert_allclose(y[:, -1].numpy(), np.broadcast_to(added, y[:, -1].shape), rtol=1e-12)


def test_minibatch_std_of_equal_samples_is_zero_with_finite_slopes():
    x = torch.ones(8, 3, requires_grad=True)
    std = group_std(x, 4)
    torch.testing.assert_close(std, torch.full((8,), 1e-4))
    (slope,) = torch.autograd.grad(std.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(slope.square().sum(), x)
    assert slope.isfinite().all()
    assert second.isfinite().all()


TWICE = [
    ([Dense(3), Activation("tanh"), Dense(2)], (4,)),
    ([Dense(3), Activation("sigmoid"), Dense(2), Activation("softmax")], (4,)),
    ([Dense(6), Activation("relu", leaky_rate=0.2), Reshape((2, 1, 3)), Flatten(), Dense(1)], (4,)),
    ([Conv2D(2, 4, 2), Activation("tanh"), MinibatchStd(2)], (1, 4, 5)),
    ([Conv2D(2, 3, padding="valid"), Activation("tanh"), Pooling2D(2)], (1, 4, 6)),
    ([Conv2D(2), Activation("tanh"), Pooling2D(2, "average")], (1, 4, 3)),
    ([Conv2DTranspose(2, 3), Activation("tanh"), Conv2D(1, 1)], (1, 2, 2)),
    ([UpSampling2D(2, "bilinear"), Activation("tanh"), Conv2D(1)], (1, 2, 3)),
    ([UpSampling2D(2), Activation("tanh"), Conv2D(1)], (1, 2, 2)),
    ([BatchNormalization(), Activation("tanh")], (2,)),
    ([BatchNormalization(), Activation("tanh")], (2, 1, 2)),
    ([Dense(3), MinibatchStd(2)], (2,)),
]


@pytest.mark.parametrize(("layers", "shape"), TWICE, ids=lambda v: "-".join(type(a).__name__ for a in v) or None)
def test_first_and_second_derivatives_against_finite_differences(layers, shape):
    stack, _ = build_stack(layers, shape)
    stack.double()
    x = torch.randn(3, *shape, dtype=torch.float64, requires_grad=True)
    assert gradcheck(stack, (x,))
    assert gradgradcheck(stack, (x,))


def test_dropout_has_second_derivatives():
    stack, _ = build_stack([Dense(8), Activation("tanh"), Dropout(0.5), Dense(1)], (4,))
    stack.double()

    def same_mask(x):
        torch.manual_seed(1)
        return stack(x)

    assert gradgradcheck(same_mask, (torch.randn(3, 4, dtype=torch.float64, requires_grad=True),))


EVERY = [
    Dense(4),
    Conv2D(3, 5, 2, 1),
    Conv2D(3, (1, 2), padding="valid"),
    Conv2DTranspose(2),
    UpSampling2D(2, interpolation="bilinear"),
    Pooling2D((1, 2), mode="average"),
    Flatten(),
    Reshape((1, 2, 3)),
    Activation("relu", leaky_rate=0.2),
    Dropout(0.5, spatial=True),
    BatchNormalization(momentum=0.99),
    MinibatchStd(),
]


@pytest.mark.parametrize("layer", EVERY, ids=str)
def test_layers_are_specs(layer):
    assert from_json(to_json(layer)) == layer
    assert hash(layer) == hash(from_json(to_json(layer)))
    with pytest.raises(AttributeError):
        layer.units = 3


def test_numpy_numbers_are_taken_and_written():
    assert to_json(Dense(np.prod((1, 28, 28)))) == to_json(Dense(784))
    assert type(Dense(np.int64(3)).units) is int


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dense(0), "Dense: units must be a whole number of at least 1, found 0"),
        (lambda: Dense("3"), "Dense: units"),
        (lambda: Dense(2.5), "Dense: units"),
        (lambda: Dense(True), "Dense: units"),
        (lambda: Conv2D(3, 0), "Conv2D: kernel_size"),
        (lambda: Conv2D(3, (1, 2, 3)), "Conv2D: kernel_size"),
        (lambda: Conv2D(3, 3, 0), "Conv2D: strides"),
        (lambda: Conv2D(3, padding="full"), "Conv2D: padding must be 'same', 'valid' or a whole number, found 'full'"),
        (lambda: Conv2D(3, padding=-1), "Conv2D: padding"),
        (lambda: Conv2DTranspose(3, padding=None), "Conv2DTranspose: padding"),
        (
            lambda: UpSampling2D(2, "cubic"),
            "UpSampling2D: interpolation must be 'nearest' or 'bilinear', found 'cubic'",
        ),
        (lambda: Pooling2D(2, "mean"), "Pooling2D: mode must be 'max' or 'average', found 'mean'"),
        (lambda: Reshape((3, 0)), "Reshape: shape"),
        (lambda: Reshape(5), "Reshape: shape"),
        (lambda: Activation("rleu"), "did you mean 'relu'"),
        (lambda: Activation("relu", leaky_rate=1.5), "Activation: leaky_rate"),
        (lambda: Activation("tanh", leaky_rate=0.1), "it belongs to 'relu'"),
        (lambda: Dropout(1), "Dropout: rate must be a probability of at least 0 and below 1, found 1"),
        (lambda: BatchNormalization(momentum=1), "BatchNormalization: momentum"),
        (lambda: BatchNormalization(epsilon=0), "BatchNormalization: epsilon"),
        (lambda: MinibatchStd(1), "MinibatchStd: group_size must be a whole number of at least 2, found 1"),
    ],
)
def test_wrong_arguments_are_refused_by_name(make, message):
    with pytest.raises(RequestError) as error:
        make()
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("layers", "shape", "message"),
    [
        ([Dense(2), Activation("relu"), Conv2D(2)], (4,), "layer 3, Conv2D: expected an image"),
        ([Dense(2)], (1, 4, 4), "layer 1, Dense: expected a vector (features,), found (1, 4, 4): put Flatten()"),
        (
            [Conv2D(2), Conv2D(2, 5, padding="valid")],
            (1, 4, 4),
            "layer 2, Conv2D: expected an image that a kernel of 5",
        ),
        ([Conv2DTranspose(2, 2, 1, 3)], (1, 4, 4), "layer 1, Conv2DTranspose: expected"),
        ([Reshape((2, 3, 3))], (10,), "layer 1, Reshape: expected 18 numbers to make (2, 3, 3), found (10,)"),
        ([Pooling2D(5)], (1, 4, 4), "layer 1, Pooling2D: expected an image of at least (5, 5) pixels, found (1, 4, 4)"),
        ([UpSampling2D()], (4,), "layer 1, UpSampling2D: expected an image"),
        ([Pooling2D()], (4,), "layer 1, Pooling2D: expected an image"),
        ([Dropout(0.5, spatial=True)], (4,), "layer 1, Dropout: expected an image"),
        ([BatchNormalization()], (4, 4), "layer 1, BatchNormalization: expected an image"),
        ([MinibatchStd()], (4, 4), "layer 1, MinibatchStd: expected an image"),
    ],
)
def test_impossible_shapes_are_refused_with_position(layers, shape, message):
    with pytest.raises(RequestError) as error:
        build_stack(layers, shape)
    assert message in str(error.value)


def test_a_layer_without_build_says_so():
    class Unfinished(Layer):
        pass

    with pytest.raises(NotImplementedError, match="Unfinished must define build"):
        build_stack([Unfinished()], (3,))


def test_crop_keeps_the_top_left():
    assert torch.equal(Crop(1, 2)(torch.arange(6.0).view(1, 1, 2, 3)), torch.tensor([[[[0.0, 1.0]]]]))
