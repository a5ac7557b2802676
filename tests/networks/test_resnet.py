"""Residual players: their plan, their blocks by the papers' formulas, how they hear conditions and parts of z."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import gradgradcheck

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec, NetworkSpec
from sparring.core.spec import from_json, to_json
from sparring.layers.conditional_batchnorm import ConditionalNorm
from sparring.networks.attention import SelfAttention
from sparring.networks.condition import AuxiliaryHead, Concatenation, ConditionalBatchNorm, Embedding
from sparring.networks.resnet import DownBlock, ResidualDiscriminator, ResidualGenerator, UpBlock, levels_of
from sparring.networks.spectral import SpectralNorm

PLAIN = DataSpec(name="test", shape=(1, 8, 9))
CLASS = PLAIN.replace(num_classes=3)
VECTOR = PLAIN.replace(y_shape=(4,))
IMAGE = PLAIN.replace(y_shape=(2, 5, 6))
KINDS = {"none": PLAIN, "class": CLASS, "vector": VECTOR, "image": IMAGE}
Z_DIM = 6
WAYS: dict[str, list[Concatenation | Embedding | ConditionalBatchNorm | None]] = {
    "none": [None],
    "class": [None, Concatenation(layers=(1, 2)), Embedding(dim=5), ConditionalBatchNorm()],
    "vector": [None, Concatenation(layers=(0, 1)), Embedding(dim=5), ConditionalBatchNorm()],
    "image": [None, Concatenation()],
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def conditions(kind: str, count: int = 5) -> Tensor | None:
    if kind in ("none", "class"):
        return torch.arange(count) % 3 if kind == "class" else None
    return torch.randn(count, *KINDS[kind].y_shape)


def players(kind: str) -> Iterator[NetworkSpec]:
    """Every way in which they hear a kind of condition, z whole and in parts, with and without attention."""
    for way in WAYS[kind]:
        yield ResidualGenerator(width=3, condition=way)
        yield ResidualGenerator(width=3, hierarchical=True, attention=0, condition=way)
    yield ResidualGenerator(width=3, blocks=2, hierarchical=kind != "none")
    yield ResidualDiscriminator(width=3)
    yield ResidualDiscriminator(width=3, blocks=2, attention=1)
    if kind != "none":
        yield ResidualDiscriminator(width=3, condition=Concatenation(layers=(0, 1)))
    if kind == "class":
        yield ResidualDiscriminator(width=3, condition=AuxiliaryHead())


def loudly(net: nn.Module) -> nn.Module:
    """The network with all that starts at zero made random, so that each part of it has a say."""
    for parameter in net.parameters():
        if not parameter.any():
            nn.init.normal_(parameter)
    return net


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_learns_and_every_condition_is_heard(kind: str) -> None:
    data, y = KINDS[kind], conditions(kind)
    for spec in players(kind):
        assert from_json(to_json(spec)) == spec
        net = loudly(spec.build(data, Z_DIM))
        makes = isinstance(spec, ResidualGenerator)
        x = torch.randn(5, Z_DIM) if makes else torch.randn(5, *data.shape)
        tells = hasattr(net, "forward_with_classes")
        out = net(x, y)
        assert out.shape == ((5, *data.shape) if makes else (5,))
        assert not makes or out.abs().max() <= 1
        (out.square().sum() + (net.forward_with_classes(x)[1].square().sum() if tells else 0)).backward()
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None, (spec, name)
            assert parameter.grad.any(), (spec, name)
        if y is not None:
            net.eval()
            assert torch.equal(net(x, y.roll(1, 0)), net(x, y)) is tells, spec
        assert net.double()(x.double(), y).dtype is torch.float64


@pytest.mark.parametrize(
    "shape", [(1, 28, 28), (3, 32, 32), (4, 24, 40), (3, 96, 64), (2, 17, 23), (1, 15, 9)], ids=str
)
def test_any_size_and_number_of_channels(shape: tuple[int, ...]) -> None:
    """Noise matters from the start, and every pixel is looked at."""
    data = DataSpec(name="test", shape=shape)
    x = ResidualGenerator(width=4).build(data, Z_DIM)(torch.randn(5, Z_DIM))
    assert x.shape == (5, *shape)
    assert x.std(0).mean() > 0.1
    D = ResidualDiscriminator(width=4).build(data, Z_DIM)
    x = torch.randn(5, *shape, requires_grad=True)
    (slope,) = torch.autograd.grad(D(x).sum(), x)
    assert (slope.abs().sum((0, 1)) > 0).all()


def test_sizes_and_widths_are_planned_as_in_dcgan() -> None:
    data = DataSpec(name="test", shape=(3, 30, 45))
    G = ResidualGenerator(width=4, max_width=10, blocks=2).build(data, Z_DIM)
    assert G.coarsest == (8, 12, 10)
    assert [block.size for block in G.blocks] == [(15, 23), (15, 23), (30, 45), (30, 45)]
    assert [block.convs[1].out_channels for block in G.blocks] == [8, 8, 4, 4]
    D = ResidualDiscriminator(width=4, max_width=10, blocks=2).build(data.replace(shape=(3, 33, 70)), Z_DIM)
    assert [block.halves for block in D.blocks] == [True, False, True, False, True, False, False]
    assert [block.convs[1].out_channels for block in D.blocks] == [4, 4, 8, 8, 10, 10, 10]
    assert [levels_of(data.replace(shape=(1, side, 1024))) for side in (8, 15, 16, 31, 32, 1024)] == [1, 1, 2, 2, 3, 8]


@pytest.mark.parametrize("size", [(6, 8), (5, 7), (3, 4)], ids=str)
def test_a_block_on_the_way_up_by_its_formula(size: tuple[int, int]) -> None:
    """BN, ReLU, repeat, convolve, BN, ReLU, convolve, beside repeat and convolve; (3, 4) is the size that is there."""
    block = UpBlock(5, 4, size, 0, attends=False).double().eval()
    for norm in block.norms:
        nn.init.normal_(norm.norm.weight)
        nn.init.normal_(norm.norm.running_mean)
    x = torch.randn(2, 5, 3, 4, dtype=torch.float64)

    def larger(x: Tensor) -> Tensor:
        times = 1 if size == (3, 4) else 2
        return x.repeat_interleave(times, 2).repeat_interleave(times, 3)[:, :, : size[0], : size[1]]

    first, second = block.convs
    h = F.conv2d(larger(F.relu(block.norms[0].norm(x))), first.weight, None, padding=1)
    h = F.conv2d(F.relu(block.norms[1].norm(h)), second.weight, second.bias, padding=1)
    torch.testing.assert_close(block(x, x.new_empty(2, 0)), h + F.conv2d(larger(x), block.skip.weight))


@pytest.mark.parametrize("halves", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_a_block_on_the_way_down_by_its_formula(halves: bool, first: bool) -> None:
    block = DownBlock(3, 4, halves=halves, first=first, attends=False).double()
    x = torch.randn(2, 3, 7, 4, dtype=torch.float64)

    def smaller(x: Tensor) -> Tensor:
        if not halves:
            return x
        return sum(x[:, :, i : i + 6 : 2, j::2] for i in (0, 1) for j in (0, 1)) / 4

    one, two = block.convs
    h = F.conv2d(x if first else x.clamp(min=0), one.weight, one.bias, padding=1)
    h = F.conv2d(h.clamp(min=0), two.weight, two.bias, padding=1)
    torch.testing.assert_close(block(x), smaller(h) + smaller(F.conv2d(x, block.skip.weight)))


@pytest.mark.parametrize(
    ("spec", "place"),
    [
        (ResidualGenerator(width=4, blocks=2, attention=1), 1),
        (ResidualDiscriminator(width=4, blocks=2, attention=1), 1),
    ],
)
def test_a_level_s_last_block_ends_with_attention(spec: NetworkSpec, place: int) -> None:
    net = spec.build(DataSpec(name="test", shape=(1, 16, 16)), Z_DIM)
    assert [isinstance(block.attention, SelfAttention) for block in net.blocks].index(True) == place
    assert sum(isinstance(module, SelfAttention) for module in net.modules()) == 1


def test_only_the_first_block_sees_values_below_zero() -> None:
    D = ResidualDiscriminator(width=4, blocks=2).build(DataSpec(name="test", shape=(1, 16, 16)), Z_DIM)
    assert [block.first for block in D.blocks] == [True, False, False, False, False]


@pytest.mark.parametrize(
    "way", [ConditionalBatchNorm(), Embedding(dim=5), Concatenation()], ids=["y", "shared embedding", "one-hot"]
)
def test_each_part_of_z_is_heard_by_its_own_block(way: ConditionalBatchNorm | Embedding | Concatenation) -> None:
    """The normalisations of block i are plain ones with γ and β computed from part i and the class."""
    spec = ResidualGenerator(width=3, blocks=2, hierarchical=True, condition=way)
    net = loudly(spec.build(CLASS, 8)).eval()
    z, y = torch.randn(1, 8), torch.tensor([2])
    found = net(z, y)
    said = net.embedding.weight[2] if way == Embedding(dim=5) else F.one_hot(y, 3)[0].float()
    first, *parts = z[0].split([4, 2, 2])  # 8 numbers for three: two of the length 8 // 3, the rest before them
    x = net.dense.weight @ (first if way == ConditionalBatchNorm() else torch.cat([first, said])) + net.dense.bias
    x = x.view(4, 5, 6).permute(2, 0, 1)[None]

    def normal(norm: ConditionalNorm, x: Tensor, c: Tensor) -> Tensor:
        gamma, beta = (norm.affine.weight @ c + norm.affine.bias).chunk(2)
        return F.batch_norm(x, norm.norm.running_mean, norm.norm.running_var, 1 + gamma, beta)

    for block, part in zip(net.blocks, parts, strict=True):
        c = torch.cat([said, part] if way == ConditionalBatchNorm() else [part, said])
        larger = x if x.shape[2:] == block.size else x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        skip = block.skip(larger[:, :, :8, :9])
        larger = normal(block.norms[0].norm, x, c).relu()
        larger = larger if x.shape[2:] == block.size else larger.repeat_interleave(2, 2).repeat_interleave(2, 3)
        h = block.convs[0](larger[:, :, :8, :9])
        x = skip + block.convs[1](normal(block.norms[1].norm, h, c).relu())
    x = normal(net.norm.norm, x, said) if way == ConditionalBatchNorm() else net.norm.norm(x)
    torch.testing.assert_close(found, net.to_image(x.relu()).tanh())


def test_projection_and_classes_read_the_features_of_the_logit() -> None:
    x, y = torch.randn(5, 1, 8, 9), conditions("class")
    D = ResidualDiscriminator(width=3).build(CLASS, Z_DIM)
    assert torch.equal(D(x, y), D(x, y.roll(1))), "conditions have no say before they are learned"
    loudly(D)
    h = x
    for block in D.blocks:
        h = block(h)
    features = h.clamp(min=0).flatten(1)
    expected = [(D.head.weight[0] + D.embedding.weight[y[i]]) @ features[i] + D.head.bias[0] for i in range(5)]
    torch.testing.assert_close(D(x, y), torch.stack(expected))
    D = ResidualDiscriminator(width=3, condition=AuxiliaryHead()).build(CLASS, Z_DIM)
    logits, classes = D.forward_with_classes(x)
    torch.testing.assert_close(logits, D(x))
    torch.testing.assert_close(classes, D.features(x) @ D.classifier.weight.T + D.classifier.bias)


def test_weights_start_within_glorot_s_bounds() -> None:
    """Uniform within ±√(6 g² / (fan-in + fan-out)), g² = 2 for 3×3 convolutions and 1 for skips; biases 0."""
    up, down = UpBlock(16, 12, (4, 4), 0, attends=False), DownBlock(16, 12, halves=True, first=False, attends=False)
    for block in (up, down):
        for conv, gain, taps in ((block.convs[0], 2, 9), (block.convs[1], 2, 9), (block.skip, 1, 1)):
            bound = (6 * gain / (taps * (conv.in_channels + 12))) ** 0.5
            assert 0.95 * bound < float(conv.weight.detach().abs().max()) <= bound
        assert not block.convs[1].bias.any()


def test_logits_do_not_depend_on_the_company() -> None:
    """It says that it is `per_sample`."""
    for spec in (ResidualDiscriminator(width=3), ResidualDiscriminator(width=3, attention=1)):
        D = loudly(spec.build(CLASS, Z_DIM)).double()
        x, y = torch.randn(5, 1, 8, 9, dtype=torch.float64), torch.arange(5) % 3
        torch.testing.assert_close(D(x[2:3], y[2:3]), D(x, y)[2:3])
        assert D.per_sample


@pytest.mark.parametrize("kind", KINDS)
def test_second_derivatives_of_discriminators(kind: str) -> None:
    data = KINDS[kind].replace(shape=(1, 8, 8))
    for spec in players(kind):
        if isinstance(spec, ResidualDiscriminator):
            net = loudly(spec.replace(width=2).build(data, Z_DIM)).double()
            x, y = torch.randn(2, 1, 8, 8, dtype=torch.float64, requires_grad=True), conditions(kind, 2)
            y = y.double() if y is not None and y.is_floating_point() else y
            assert gradgradcheck(lambda x, net=net, y=y: net(x, y), (x,), fast_mode=True)


def test_bfloat16_copies_states_and_layouts() -> None:
    """With attention, parts of z and a shared embedding."""
    generator = ResidualGenerator(width=8, attention=0, hierarchical=True, condition=Embedding(dim=5))
    discriminator = ResidualDiscriminator(width=8, attention=1)
    for spec, x in ((generator, torch.randn(5, Z_DIM)), (discriminator, torch.randn(5, 1, 8, 9))):
        net, y = loudly(spec.build(CLASS, Z_DIM)).eval(), conditions("class")
        other = spec.build(CLASS, Z_DIM).eval()
        other.load_state_dict(net.state_dict())
        exact = net(x, y).detach()
        assert torch.equal(copy.deepcopy(net)(x, y), exact)
        assert torch.equal(other(x, y), exact)
        other = other.to(memory_format=torch.channels_last)
        wide = x.to(memory_format=torch.channels_last) if x.dim() == 4 else x
        torch.testing.assert_close(other(wide, y), exact, rtol=1e-4, atol=1e-5)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = other(wide, y)
        assert 0 < (rounded - exact).abs().mean() < 0.02 * exact.abs().max()


@pytest.mark.parametrize(
    "spec",
    [
        ResidualGenerator(width=4, attention=0, condition=ConditionalBatchNorm()),
        ResidualDiscriminator(width=4, attention=1),
    ],
)
def test_every_layer_but_gains_can_be_divided_by_its_largest_singular_value(spec: NetworkSpec) -> None:
    net = SpectralNorm(network=spec).build(CLASS, Z_DIM)
    x = torch.randn(4, Z_DIM) if isinstance(spec, ResidualGenerator) else torch.randn(4, *CLASS.shape)
    for _ in range(60):
        net(x, conditions("class", 4))
    layers = [m for m in net.modules() if isinstance(m, nn.Linear | nn.Conv2d) and hasattr(m, "parametrizations")]
    assert len(layers) == sum(isinstance(m, nn.Linear | nn.Conv2d) for m in net.modules()) - sum(
        isinstance(m, ConditionalNorm) for m in net.modules()
    )
    for layer in layers:
        assert float(torch.linalg.svdvals(layer.weight.detach().flatten(1))[0]) == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (ResidualGenerator(width=0), "width, max_width and blocks of at least 1, found 0, 256 and 1"),
        (ResidualDiscriminator(blocks=0), "width, max_width and blocks of at least 1, found 16, 256 and 0"),
        (ResidualGenerator(attention=2), "the generator has levels 0 to 1, found 2: the nearest is attention=1"),
        (
            ResidualDiscriminator(attention=0),
            "the discriminator has levels 1 to 2, found 0: the nearest is attention=1",
        ),
        (ResidualGenerator(hierarchical=True, blocks=3), "expected a prior of at least 7 numbers, found 6"),
        (ResidualGenerator(condition=Concatenation(layers=(4,))), "this generator takes conditions at layers 0 to 3"),
        (ResidualDiscriminator(condition=Concatenation(layers=(3,))), "conditions at layers 0 to 2"),
    ],
)
def test_what_cannot_be_built_is_refused(spec: NetworkSpec, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        spec.build(CLASS.replace(shape=(1, 20, 16)), Z_DIM)


@pytest.mark.parametrize("shape", [(784,), (1, 7, 28)])
@pytest.mark.parametrize("spec", [ResidualGenerator(), ResidualDiscriminator()])
def test_what_is_no_image_of_8x8_is_refused(spec: NetworkSpec, shape: tuple[int, ...]) -> None:
    with pytest.raises(RequestError, match="expected images of at least 8×8 pixels, found tiny of shape"):
        spec.build(DataSpec(name="tiny", shape=shape), 4)
