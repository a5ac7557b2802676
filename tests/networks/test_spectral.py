from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from sparring.core.errors import RequestError
from sparring.core.exchange import Seen
from sparring.core.game import Critic
from sparring.core.protocols import DataSpec, NetworkSpec
from sparring.core.spec import from_json, to_json
from sparring.data.tensors import Resident, from_arrays
from sparring.games.adversarial import Adversarial
from sparring.games.constraints import WeightClipping
from sparring.games.penalties import R1
from sparring.games.priors import Gaussian
from sparring.networks.condition import ConditionalBatchNorm, Embedding, Projection
from sparring.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from sparring.networks.given import GivenDiscriminator
from sparring.networks.mlp import MLPDiscriminator, MLPGenerator
from sparring.networks.spectral import Divided, SpectralNorm
from sparring.testing import check_recipe
from sparring.testing.play import Nowhere
from sparring.train.optimizers import Adam, Optimizers
from sparring.train.player import Average
from sparring.train.recipe import Recipe, Train
from sparring.train.schedule import Budget
from sparring.train.trainer import Trainer
from sparring.trained import TrainedGenerator, averaged_weights

IMAGES = DataSpec(name="test", shape=(1, 8, 9), num_classes=3)
Z_DIM = 5
PLAYERS = [DCGANDiscriminator(width=4), DCGANGenerator(width=4), MLPDiscriminator(width=16), MLPGenerator(width=16)]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def divided(net: nn.Module) -> list[nn.Module]:
    """The layers of a net that are normalised."""
    return [module for module in net.modules() if parametrize.is_parametrized(module, "weight")]


def sigma(layer: nn.Module, weight: Tensor | None = None) -> float:
    """The largest singular value, one row per output."""
    weight = (layer.weight if weight is None else weight).detach()
    matrix = weight.movedim(1 if isinstance(layer, nn.ConvTranspose2d) else 0, 0).flatten(1)
    return float(torch.linalg.svdvals(matrix)[0])


def inputs(spec: NetworkSpec, dtype: torch.dtype, count: int = 4) -> tuple[Tensor, Tensor]:
    shape = IMAGES.shape if "Discriminator" in type(spec).__name__ else (Z_DIM,)
    return torch.randn(count, *shape, dtype=dtype), torch.arange(count) % 3


@pytest.mark.parametrize("spec", PLAYERS, ids=repr)
def test_largest_singular_value_of_every_layer_is_one(spec: NetworkSpec) -> None:
    net = SpectralNorm(network=spec).build(IMAGES, Z_DIM).double()
    layers = divided(net)
    kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    assert len(layers) == sum(isinstance(module, kinds) for module in net.modules()) > 1
    arguments = inputs(spec, torch.float64)
    for _ in range(400):
        net(*arguments)
    for layer in layers:
        assert sigma(layer, layer.parametrizations.weight.original) != pytest.approx(1, rel=1e-3)
        assert sigma(layer) == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("layer", [nn.Linear(7, 5), nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(3, 4, 3)], ids=repr)
def test_against_torch_s_own(layer: nn.Module) -> None:
    """Where both iterations have come to their end: the same weights, and the same gradient."""
    ours, theirs = layer.double(), copy.deepcopy(layer)
    outputs = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
    parametrize.register_parametrization(ours, "weight", Divided(ours.weight, outputs, 300))
    parametrizations.spectral_norm(theirs, n_power_iterations=300)
    torch.testing.assert_close(ours.weight, theirs.weight)
    slopes = [
        torch.autograd.grad(net.weight.pow(3).sum(), net.parametrizations.weight.original)[0] for net in (ours, theirs)
    ]
    torch.testing.assert_close(*slopes)


def test_gradient_is_that_of_dividing_by_the_largest_singular_value() -> None:
    layer = nn.Linear(4, 3, dtype=torch.float64)
    start = layer.weight.detach().clone()
    parametrize.register_parametrization(layer, "weight", Divided(layer.weight, 0, 500))
    aim = torch.randn(3, 4, dtype=torch.float64)
    (slope,) = torch.autograd.grad((layer.weight * aim).sum(), layer.parametrizations.weight.original)

    def value(weight: Tensor) -> Tensor:
        return (weight / torch.linalg.svdvals(weight)[0] * aim).sum()

    for i, j in ((0, 0), (1, 3), (2, 1)):
        step = torch.zeros_like(start)
        step[i, j] = 1e-6
        measured = (value(start + step) - value(start - step)) / 2e-6
        assert float(slope[i, j]) == pytest.approx(float(measured), rel=1e-5)


def test_one_round_of_the_algorithm_per_call() -> None:
    layer = nn.Linear(6, 4)
    parametrize.register_parametrization(layer, "weight", Divided(layer.weight, 0, 1))
    W, held = layer.parametrizations.weight.original.detach(), layer.parametrizations.weight[0].u
    with torch.no_grad():
        W *= torch.rand(4, 1)
    u = held.clone()
    for _ in range(3):
        weight = layer.weight.detach()
        v = W.T @ u / (W.T @ u).norm()
        u = W @ v / (W @ v).norm()
        torch.testing.assert_close(held, u)
        torch.testing.assert_close(weight, W / (u @ W @ v))
    assert layer.parametrizations.weight[0].u is held


def test_second_derivatives() -> None:
    """The derivative of a penalty on ∇D in all weights, through σ, by finite differences."""
    spec = DCGANDiscriminator(width=4)
    net = SpectralNorm(network=spec).build(IMAGES, Z_DIM).double()
    x, y = inputs(spec, torch.float64, 2)
    x.requires_grad_()
    for _ in range(200):
        net(x, y)
    net.eval()
    parameters = list(net.parameters())

    def penalty() -> Tensor:
        return R1(weight=50.0)(Critic(net), Seen(x, y, net(x, y)), Seen(x, y, net(x, y))).sum()

    slopes = torch.autograd.grad(penalty(), parameters, allow_unused=True)
    for parameter, slope in zip(parameters, slopes, strict=True):
        way, ends = torch.randn_like(parameter), []
        for step in (1e-5, -2e-5):
            with torch.no_grad():
                parameter += step * way
            ends.append(penalty().item())
        with torch.no_grad():
            parameter += 1e-5 * way
        found = 0.0 if slope is None else (slope * way).sum().item()
        assert found == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4, abs=1e-7)
    assert any(slope is not None and slope.abs().max() > 1e-3 for slope in slopes)


def test_evaluation_repeats_and_changes_nothing() -> None:
    net = SpectralNorm(network=DCGANDiscriminator(width=4)).build(IMAGES, Z_DIM)
    arguments = inputs(DCGANDiscriminator(), torch.float32)
    assert not torch.equal(net(*arguments), net(*arguments)), "in training the iteration goes on"
    net.eval()
    before = copy.deepcopy(net.state_dict())
    first = net(*arguments)
    assert torch.equal(first, net(*arguments))
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    with torch.inference_mode():
        assert torch.equal(first, net(*arguments))


@pytest.mark.parametrize("spec", PLAYERS, ids=repr)
def test_state_and_copies_hold_all(spec: NetworkSpec) -> None:
    """A copy, and another net that takes the state in, go on as the first does."""
    net = SpectralNorm(network=spec).build(IMAGES, Z_DIM)
    arguments = inputs(spec, torch.float32)
    net(*arguments)
    twin, other = copy.deepcopy(net), SpectralNorm(network=spec).build(IMAGES, Z_DIM)
    other.load_state_dict(net.state_dict())
    for _ in range(2):
        out = net(*arguments)
        assert torch.equal(twin(*arguments), out)
        assert torch.equal(other(*arguments), out)
    assert sum(buffer.numel() for name, buffer in net.named_buffers() if name.endswith(".u")) > 0


def test_the_net_is_the_network_s_own() -> None:
    """Its attributes stay: whoever asks whether logits are per sample, or for features, is answered."""
    assert SpectralNorm(network=MLPDiscriminator()).build(IMAGES, Z_DIM).per_sample is True
    net = SpectralNorm(network=DCGANDiscriminator(width=4)).build(IMAGES, Z_DIM)
    assert type(net) is type(DCGANDiscriminator(width=4).build(IMAGES, Z_DIM))
    assert not hasattr(net, "per_sample")


def test_in_bfloat16_the_iteration_keeps_its_precision() -> None:
    """Under autocast layers compute in bfloat16, from weights that are divided in float32."""
    plain = SpectralNorm(network=DCGANDiscriminator(width=4)).build(IMAGES, Z_DIM)
    rounded = copy.deepcopy(plain)
    arguments = inputs(DCGANDiscriminator(), torch.float32)
    plain(*arguments)
    with torch.autocast("cpu", torch.bfloat16):
        rounded(*arguments)
    for layer, other in zip(divided(plain), divided(rounded), strict=True):
        assert torch.equal(layer.parametrizations.weight[0].u, other.parametrizations.weight[0].u)


def play(generator: NetworkSpec, discriminator: NetworkSpec, steps: int) -> tuple[Recipe, Resident, Trainer]:
    random = np.random.default_rng(0)
    source = from_arrays(random.integers(0, 256, (48, 8, 8), dtype=np.uint8), random.integers(0, 3, 48))
    adam = Adam(lr=3e-3)
    recipe = Recipe(
        name="normalised",
        source=Nowhere(),
        prior=Gaussian(dim=Z_DIM),
        generator=generator,
        discriminator=discriminator,
        game=Adversarial(penalties=(R1(weight=0.1, every=2),)),
        optimizers=Optimizers(generator=adam, discriminator=adam),
        train=Train(
            batch=8, budget=Budget(amount=8 * max(1, steps), unit="images"), average=Average(half_life=400, ramp=1.0)
        ),
    )
    recipe = recipe.replace(train=recipe.train.replace(precision="float32", matmul="highest"))
    trainer = Trainer(recipe, source, torch.device("cpu"))
    for _ in range(steps):
        trainer.take_step()
    return recipe, source, trainer


def test_a_run_of_both_players_goes_on_exactly_after_a_stop() -> None:
    recipe, source, _ = play(
        SpectralNorm(network=DCGANGenerator(width=4)), SpectralNorm(network=DCGANDiscriminator(width=4)), 0
    )
    check_recipe(recipe, source)


def test_the_average_is_normalised_and_can_be_taken_away() -> None:
    """After steps in which u has turned: torch's own would divide by uᵀWv of averages that are shorter than 1."""
    recipe, source, trainer = play(SpectralNorm(network=MLPGenerator(width=32)), MLPDiscriminator(width=32), 60)
    average = trainer.players["generator"].average
    assert average is not None
    lengths = [float(layer.parametrizations.weight[0].u.norm()) for layer in divided(average)]
    assert min(lengths) < 0.9
    for layer in divided(average):
        assert sigma(layer) == pytest.approx(1, rel=0.03)
    taken = TrainedGenerator(recipe.generator, source.spec, recipe.prior, averaged_weights(trainer.state()[0]))
    z, y = torch.randn(4, Z_DIM), torch.arange(4) % 3
    assert torch.equal(taken.net(z, y), average(z, y))


def test_it_can_be_traced_for_export() -> None:
    G = SpectralNorm(network=MLPGenerator(width=4, depth=1)).build(IMAGES, Z_DIM).eval()
    arguments = inputs(MLPGenerator(), torch.float32)
    traced = torch.export.export(G, arguments).module()
    torch.testing.assert_close(traced(*arguments), G(*arguments))


class Zeros(NetworkSpec):
    """A network whose last layer starts at zero."""

    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
        nn.init.zeros_(net[1].weight)
        return net


class NoLayers(NetworkSpec):
    def build(self, data: DataSpec, z_dim: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.ReLU())


def test_what_cannot_be_normalised_is_refused() -> None:
    with pytest.raises(RequestError, match="the weights of 1 in Zeros start at zero"):
        SpectralNorm(network=Zeros()).build(IMAGES, Z_DIM)
    with pytest.raises(RequestError, match="NoLayers has no linear or convolutional layer"):
        SpectralNorm(network=NoLayers()).build(IMAGES, Z_DIM)
    with pytest.raises(RequestError, match="iterations >= 1, found 0"):
        SpectralNorm(network=NoLayers(), iterations=0)


CLASSES, VECTORS = IMAGES, DataSpec(name="test", shape=(1, 8, 9), y_shape=(4,))


@pytest.mark.parametrize("data", [CLASSES, VECTORS], ids=["classes", "vectors"])
@pytest.mark.parametrize(
    "spec",
    [
        DCGANDiscriminator(width=4, condition=Projection()),
        DCGANGenerator(width=4, condition=ConditionalBatchNorm()),
        DCGANGenerator(width=4, condition=Embedding(dim=3)),
        MLPDiscriminator(width=16, condition=Projection()),
        MLPGenerator(width=16, condition=ConditionalBatchNorm()),
    ],
    ids=lambda spec: f"{type(spec).__name__}-{type(spec.condition).__name__}",
)
def test_what_is_computed_of_a_condition_alone_stays_free(spec: NetworkSpec, data: DataSpec) -> None:
    """SAGAN's players: spectral normalisation beside projection and conditional batch normalisation, whose weights for
    conditions start at zero."""
    plain = spec.build(data, Z_DIM)
    net = SpectralNorm(network=spec).build(data, Z_DIM)
    divided = {name for name, module in net.named_modules() if parametrize.is_parametrized(module)}
    weights = {name.removesuffix(".weight") for name, p in plain.named_parameters() if p.dim() > 1}
    free = {name for name in weights if name == "embedding" or name.endswith("affine")}
    assert free
    assert divided == weights - free


def test_a_module_of_the_user_s_own_is_normalised_once() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Linear(3, 1))
    data = DataSpec(name="test", shape=(1, 2, 2))
    for _ in range(2):
        net = SpectralNorm(network=GivenDiscriminator(module)).build(data, Z_DIM)
    assert [len(layer.parametrizations.weight) for layer in divided(net)] == [1, 1]
    other = nn.Sequential(nn.Flatten(), parametrizations.weight_norm(nn.Linear(4, 1)))
    with pytest.raises(RequestError, match=r"the weights of module.1 in GivenDiscriminator are already computed"):
        SpectralNorm(network=GivenDiscriminator(other)).build(data, Z_DIM)


def test_weight_clipping_beside_it_is_refused() -> None:
    net = SpectralNorm(network=MLPDiscriminator(width=8)).build(IMAGES, Z_DIM)
    with pytest.raises(RequestError, match="WeightClipping"):
        WeightClipping().check(IMAGES, net)


def test_through_json_and_back() -> None:
    spec = SpectralNorm(network=DCGANDiscriminator(width=8), iterations=2)
    assert from_json(to_json(spec)) == spec
