"""R3GAN: published sizes, the start by its closed forms, resampling by hand, and what every network must bear."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.functional import conv2d, conv_transpose2d

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec
from sparring.core.spec import from_json, to_json
from sparring.networks.condition import Embedding
from sparring.networks.r3gan import (
    CIFAR10,
    FFHQ64,
    FFHQ256,
    IMAGENET,
    Block,
    R3GANDiscriminator,
    R3GANGenerator,
    Resampling,
    doubling,
)

Z_DIM = 6
KERNEL = torch.tensor([1.0, 3.0, 3.0, 1.0])
SMALL = {"width": 8, "max_width": 16, "blocks": 1}


def data_of(shape, **condition):
    return DataSpec(name="test", shape=shape, **condition)


def condition_of(data, batch=5):
    if data.num_classes:
        return torch.randint(data.num_classes, (batch,))
    return torch.rand(batch, *data.y_shape) if data.y_shape else None


def moved(net):
    """The network, away from its start: there every block is the identity."""
    for module in net.modules():
        if isinstance(module, Block):
            nn.init.normal_(module.narrower.weight, std=0.2)
            nn.init.normal_(module.wider.bias, std=0.2)
            nn.init.normal_(module.grouped.bias, std=0.2)
    return net


def moment(x: Tensor) -> float:
    """The second moment."""
    return x.detach().square().mean().item()


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("pair", "size", "num_classes", "widths", "groups", "millions"),
    [  # widths and groups of the finest level first; millions of parameters of G and D counted from them by hand
        (CIFAR10, 32, 10, [768] * 4, [96] * 4, (20.8, 21.3)),
        (FFHQ64, 64, 0, [384] + [768] * 4, [48] + [96] * 4, (22.4, 22.4)),
        (FFHQ256, 256, 0, [96, 192, 384] + [768] * 4, [12, 24, 48] + [96] * 4, (23.1, 23.0)),
        (IMAGENET, 64, 1000, [1536] * 5, [96] * 5, (103.6, 107.2)),
    ],
    ids=["cifar10", "ffhq64", "ffhq256", "imagenet"],
)
def test_published_presets(pair, size, num_classes, widths, groups, millions):
    data = data_of((3, size, size), num_classes=num_classes)
    with torch.device("meta"):
        G, D = (spec.build(data, 64) for spec in pair)
    for net, stages in ((G, list(G.stages)[::-1]), (D, list(D.stages))):
        assert [stage[0].wider.in_features for stage in stages] == widths
        assert [stage[0].grouped.groups for stage in stages] == groups
        assert all(len(stage) == 2 for stage in stages)
        assert net.basis.shape == (4, 4, widths[-1])
    for net, expected in zip((G, D), millions, strict=True):
        assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    ("size", "grids"),
    [  # by hand: ceil(H / 2^i) while the short side is at least 4
        ((28, 28), [(28, 28), (14, 14), (7, 7)]),
        ((32, 32), [(32, 32), (16, 16), (8, 8), (4, 4)]),
        ((17, 23), [(17, 23), (9, 12), (5, 6)]),
        ((8, 40), [(8, 40), (4, 20)]),
        ((1024, 1000), [(2**i, -(-1000 * 2**i // 1024)) for i in range(10, 2, -1)]),
    ],
    ids=str,
)
def test_sizes_of_the_grids(size, grids):
    levels = R3GANGenerator().levels(data_of((3, *size)))
    assert [(level.height, level.width) for level in levels] == grids


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (9, 4), (14, 3)], ids=str)
def test_doubling_is_a_transposed_convolution_with_the_kernel_and_cut_off(size):
    x = torch.randn(2, 3, *size)
    kernel = (KERNEL[:, None] * KERNEL / 16).expand(3, 1, 4, 4)
    whole = conv_transpose2d(x, kernel, stride=2, padding=1, groups=3)
    for into in ((2 * size[0], 2 * size[1]), (2 * size[0] - 1, 2 * size[1]), (2 * size[0] - 1, 2 * size[1] - 1)):
        up = Resampling(doubling(size[0], into[0]), doubling(size[1], into[1]))
        found = up(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        torch.testing.assert_close(found, whole[:, :, : into[0], : into[1]])


@pytest.mark.parametrize("size", [(8, 8), (13, 5), (9, 4), (28, 7)], ids=str)
def test_halving_is_a_convolution_with_the_kernel_over_zeros(size):
    data = data_of((1, 64, 64))
    x = torch.randn(2, 3, *size)
    half = (-(-size[0] // 2), -(-size[1] // 2))
    even = nn.functional.pad(x, (0, size[1] % 2, 0, size[0] % 2))
    expected = conv2d(even, (KERNEL[:, None] * KERNEL / 64).expand(3, 1, 4, 4), stride=2, padding=1, groups=3)
    down = Resampling(doubling(half[0], size[0]).T / 2, doubling(half[1], size[1]).T / 2)
    torch.testing.assert_close(down(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), expected)
    D = R3GANDiscriminator(**SMALL).build(data, 4)
    assert torch.equal(D.downs[0].rows, doubling(32, 64).T / 2), "the network's own"


def slow_block(block: Block, x: Tensor) -> Tensor:
    """y = x + W₃ a(g ∗ a(W₁ x)) for x [B, C, H, W], group by group."""
    wide, size = block.grouped.in_channels, block.grouped.weight.shape[1]
    h = conv2d(x, block.wider.weight[:, :, None, None]) + block.wider.bias[:, None, None]
    h = torch.where(h > 0, h, 0.2 * h)
    parts = [conv2d(h[:, i : i + size], block.grouped.weight[i : i + size], padding=1) for i in range(0, wide, size)]
    h = torch.cat(parts, 1) + block.grouped.bias[:, None, None]
    h = torch.where(h > 0, h, 0.2 * h)
    return x + conv2d(h, block.narrower.weight[:, :, None, None])


def slow_discriminator(D: nn.Module, x: Tensor, y: Tensor | None) -> Tensor:
    x = conv2d(x, D.from_image.weight[:, :, None, None])
    for i, stage in enumerate(D.stages):
        if i:
            x = nn.functional.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2))
            kernel = (KERNEL[:, None] * KERNEL / 64).to(x).expand(x.shape[1], 1, 4, 4)
            x = conv2d(x, kernel, stride=2, padding=1, groups=x.shape[1])
            if isinstance(D.widths[i - 1], nn.Linear):
                x = conv2d(x, D.widths[i - 1].weight[:, :, None, None])
        for block in stage:
            x = slow_block(block, x)
    x = conv2d(x, D.basis.permute(2, 0, 1)[:, None], groups=x.shape[1])
    logits = D.head(x.flatten(1))
    return logits[:, 0] if y is None else (logits * D.embedding.weight[y]).sum(1)


def slow_generator(G: nn.Module, z: Tensor, y: Tensor | None) -> Tensor:
    z = z if y is None else torch.cat([z, G.embedding.weight[y]], 1)
    x = G.dense(z)[:, :, None, None] * G.basis.permute(2, 0, 1)
    for i, stage in enumerate(G.stages):
        if i:
            if isinstance(G.widths[i - 1], nn.Linear):
                x = conv2d(x, G.widths[i - 1].weight[:, :, None, None])
            kernel = (KERNEL[:, None] * KERNEL / 16).to(x).expand(x.shape[1], 1, 4, 4)
            x = conv_transpose2d(x, kernel, stride=2, padding=1, groups=x.shape[1])
            x = x[:, :, : len(G.ups[i - 1].rows), : len(G.ups[i - 1].columns)]
        for block in stage:
            x = slow_block(block, x)
    return conv2d(x, G.to_image.weight[:, :, None, None])


@pytest.mark.parametrize("num_classes", [0, 3])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 17, 23), (4, 16, 16)], ids=str)
def test_both_networks_are_their_definition(shape, num_classes):
    data = data_of(shape, num_classes=num_classes)
    G = moved(R3GANGenerator(**SMALL).build(data, Z_DIM))
    D = moved(R3GANDiscriminator(**SMALL).build(data, Z_DIM)).to(memory_format=torch.channels_last)
    z, x, y = torch.randn(5, Z_DIM), torch.randn(5, *shape), condition_of(data)
    torch.testing.assert_close(G(z, y), slow_generator(G, z, y), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(D(x, y), slow_discriminator(D, x, y), rtol=1e-4, atol=1e-4)
    in_last = x.to(memory_format=torch.channels_last)
    torch.testing.assert_close(D(in_last, y), D(x, y), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("channels", "group_size", "total"), [(64, 16, 8), (96, 32, 14)])
def test_the_start_of_a_block(channels, group_size, total):
    """Of a standard normal x: the first layer has the variance 2 / 1.04 L^-½, what follows it the second moment L^-½,
    the second layer 2 / 1.04 / L and then 1 / L; away from the border, as there are zeros beside it. The last is 0."""
    block = Block(channels, 2, group_size, total)
    x = torch.randn(8, 12, 12, channels)
    assert torch.equal(block(x), x)
    gain, after = 2 / 1.04, total**-0.5
    first = block.wider(x)
    h = nn.functional.leaky_relu(first, 0.2)
    second = block.grouped(h.permute(0, 3, 1, 2))[:, :, 1:-1, 1:-1]
    assert moment(first) == pytest.approx(gain * after, rel=0.1)
    assert moment(h) == pytest.approx(after, rel=0.1)
    assert moment(second) == pytest.approx(gain * after**2, rel=0.1)
    assert moment(nn.functional.leaky_relu(second, 0.2)) == pytest.approx(after**2, rel=0.1)


def test_all_blocks_of_a_network_count():
    data = data_of((1, 28, 28))
    for spec in (R3GANGenerator, R3GANDiscriminator):
        block = spec(width=128, max_width=128, blocks=3).build(data, 4).stages[1][2]
        assert moment(block.wider.weight) == pytest.approx(2 / 1.04 * (3 * 3) ** -0.5 / 128, rel=0.05)


def test_variances_of_both_players_at_the_start():
    """G: z of variance 1 and the basis make a grid of second moment 1, of which to_image's sum has 1, too; the
    embedding has 1 / classes. D: white noise has 1 beside the first layer, whose pixels are summed to 1, and a
    class's logit has 1 / classes."""
    G = R3GANGenerator(width=256, max_width=256, blocks=1, condition=Embedding(dim=256)).build(
        data_of((64, 8, 8), num_classes=10), 256
    )
    assert moment(G.embedding.weight) == pytest.approx(1 / 10, rel=0.1)
    grids = []
    G.stages[0].register_forward_hook(lambda module, given, out: grids.append(out))
    z = torch.randn(64, 256)
    G(z, torch.randint(10, (64,)))
    assert moment(grids[0]) == pytest.approx((1 + 1 / 10) / 2, rel=0.1)
    flat = torch.randn(64, 4, 256)
    assert moment(G.to_image(flat)) == pytest.approx(1, rel=0.1)

    D = R3GANDiscriminator(width=512, max_width=512, blocks=1).build(data_of((64, 8, 8), num_classes=10), 4)
    assert moment(D.from_image(torch.randn(64, 4, 64))) == pytest.approx(1, rel=0.1)
    pooled = (torch.randn(64, 4, 4, 512) * D.basis).sum((1, 2))
    assert moment(pooled) == pytest.approx(1, rel=0.1)
    assert moment(D.head(pooled)) == pytest.approx(1, rel=0.1)
    assert moment(D.embedding.weight) == pytest.approx(1 / 10 / 512, rel=0.1)


CONDITIONS = [{}, {"num_classes": 3}, {"y_shape": (4,)}, {"y_shape": (2, 9, 9)}]


@pytest.mark.parametrize("condition", CONDITIONS, ids=str)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 8, 13), (4, 64, 24)], ids=str)
def test_every_image_shape_builds_and_every_weight_learns(shape, condition):
    if len(condition.get("y_shape", ())) == 3:
        condition = {"y_shape": (2, *shape[1:])}
    data = data_of(shape, **condition)
    generator, discriminator = R3GANGenerator(**SMALL), R3GANDiscriminator(**SMALL)
    assert from_json(to_json(generator)) == generator
    assert from_json(to_json(discriminator)) == discriminator
    G, D = moved(generator.build(data, Z_DIM)), moved(discriminator.build(data, Z_DIM))
    assert D.per_sample
    y = condition_of(data)
    x = G(torch.randn(5, Z_DIM), y)
    assert x.shape == (5, *shape)
    logits = D(x, y)
    assert logits.shape == (5,)
    logits.sum().backward()
    for name, parameter in [*G.named_parameters(), *D.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
    again = discriminator.build(data, Z_DIM)
    again.load_state_dict(D.state_dict())
    assert torch.equal(again(x, y), D(x, y))
    torch.testing.assert_close(
        torch.stack([D(x[i : i + 1], None if y is None else y[i : i + 1])[0] for i in range(5)]), logits
    )


@pytest.mark.parametrize("condition", CONDITIONS[1:], ids=str)
def test_conditions_are_heard_by_both(condition):
    condition = {"y_shape": (2, 8, 8)} if len(condition.get("y_shape", ())) == 3 else condition
    data = data_of((1, 8, 8), **condition)
    G, D = R3GANGenerator(**SMALL).build(data, Z_DIM), R3GANDiscriminator(**SMALL).build(data, Z_DIM)
    z, x = torch.randn(4, Z_DIM), torch.rand(4, 1, 8, 8)
    one = torch.zeros(4, dtype=torch.int64) if data.num_classes else torch.zeros(4, *data.y_shape)
    two = one + 1
    assert not torch.allclose(G(z, one), G(z, two))
    assert not torch.allclose(D(x, one), D(x, two))
    with pytest.raises(RequestError, match="this network was built for"):
        D(x)
    with pytest.raises(RequestError, match="this network was built for"):
        G(z)


@pytest.mark.parametrize("num_classes", [0, 3])
def test_second_derivatives(num_classes):
    data = data_of((1, 8, 9), num_classes=num_classes)
    specs = {"width": 2, "max_width": 4, "blocks": 1, "group_size": 4}
    G = moved(R3GANGenerator(**specs).build(data, 2).double())
    D = moved(R3GANDiscriminator(**specs).build(data, 2).double())
    y = condition_of(data, 2)
    z = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
    x = G(z, y).detach().requires_grad_()
    assert gradcheck(lambda z: G(z, y).square().sum((1, 2, 3)), (z,))
    assert gradgradcheck(lambda x: D(x, y), (x,))


def test_bfloat16_autocast_with_a_gradient_penalty():
    data = data_of((3, 16, 12), num_classes=3)
    G = moved(R3GANGenerator(**SMALL).build(data, Z_DIM)).to(memory_format=torch.channels_last)
    D = moved(R3GANDiscriminator(**SMALL).build(data, Z_DIM)).to(memory_format=torch.channels_last)
    y, z = condition_of(data), torch.randn(5, Z_DIM)
    outcomes = []
    for enabled in (False, True):
        D.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            x = G(z, y).float().detach().requires_grad_()
            logits = D(x, y).float()
            (slope,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
            penalty = slope.square().sum((1, 2, 3)).mean()
        penalty.backward()
        outcomes.append((x.detach(), logits.detach(), penalty.detach()))
        assert all(p.grad is None or p.grad.isfinite().all() for p in D.parameters())
    for exact, rounded in zip(*outcomes, strict=True):
        torch.testing.assert_close(rounded, exact, rtol=0.1, atol=0.05)


def test_a_generator_can_be_traced_for_export():
    data = data_of((1, 12, 9), num_classes=3)
    G = moved(R3GANGenerator(**SMALL).build(data, Z_DIM)).eval()
    arguments = (torch.randn(2, Z_DIM), condition_of(data, 2))
    traced = torch.export.export(G, arguments).module()
    torch.testing.assert_close(traced(*arguments), G(*arguments))


def test_growth_of_the_widths():
    levels = R3GANDiscriminator(width=8, growth=4, max_width=96).levels(data_of((1, 64, 64)))
    assert [level.channels for level in levels] == [8, 32, 96, 96, 96]


@pytest.mark.parametrize("shape", [(784,), (1, 7, 28)])
@pytest.mark.parametrize("spec", [R3GANGenerator(), R3GANDiscriminator()])
def test_what_is_no_image_of_8x8_is_refused(spec, shape):
    with pytest.raises(RequestError, match="expected images of at least 8×8 pixels, found tiny of shape"):
        spec.build(DataSpec(name="tiny", shape=shape), 4)


def test_what_groups_do_not_divide_is_refused():
    with pytest.raises(RequestError, match=r"groups of 16 do not divide 24 channels.*take a multiple of 8"):
        R3GANGenerator(width=12)
    with pytest.raises(RequestError, match=r"R3GANDiscriminator\.blocks: expected at least 1, found 0"):
        R3GANDiscriminator(blocks=0)


def test_a_published_start_has_unit_gain_from_noise_to_logit():
    """What the closed forms above give together, for the smallest network of published widths: all finite, no block in
    the way, and samples that are a linear map of z."""
    data = data_of((3, 8, 8))
    G = CIFAR10.generator.build(data, 8)
    z = torch.randn(2, 8)
    torch.testing.assert_close(G(z[:1] + 2 * z[1:]), G(z)[:1] + 2 * G(z)[1:], rtol=1e-4, atol=1e-4)
    assert math.isfinite(CIFAR10.discriminator.build(data, 8)(G(z)).sum().item())
