"""Recurrent players against torch's own cells, with their weights; and what writing step by step means."""

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec
from sparring.networks.ends import GumbelSoftmax, Softmax
from sparring.networks.recurrent import CELLS, RecurrentDiscriminator, RecurrentGenerator

SERIES = DataSpec(name="test", shape=(7, 3))
TORCHS = {"gru": nn.GRU, "lstm": nn.LSTM}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def with_weights_of(theirs, inputs, width, kind):
    cell = CELLS[kind](inputs, width).double()
    cell.load_state_dict(
        {
            "into.weight": theirs.weight_ih_l0,
            "into.bias": theirs.bias_ih_l0,
            "again.weight": theirs.weight_hh_l0,
            "again.bias": theirs.bias_hh_l0,
        }
    )
    return cell


@pytest.mark.parametrize("kind", TORCHS)
def test_a_cell_is_torch_s_forwards_backwards_and_twice_so(kind):
    theirs = TORCHS[kind](3, 5, batch_first=True).double()
    cell = with_weights_of(theirs, 3, 5, kind)
    x = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    start = tuple(torch.randn(2, 5, dtype=torch.float64) for _ in range(cell.states))
    expected, _ = theirs(x, start[0][None] if kind == "gru" else tuple(s[None] for s in start))
    found = cell(x, start)
    torch.testing.assert_close(found, expected)
    weight = torch.randn_like(found)
    ours = torch.autograd.grad((found * weight).sum(), [x, *cell.parameters()], create_graph=True)
    their = torch.autograd.grad((expected * weight).sum(), [x, *theirs.parameters()], create_graph=True)
    names = ["x", *(name for name, _ in cell.named_parameters())]
    order = {"x": 0, "into.weight": 1, "again.weight": 2, "into.bias": 3, "again.bias": 4}
    for name, gradient in zip(names, ours, strict=True):
        torch.testing.assert_close(gradient, their[order[name]], msg=name)
    # The second derivative: of |∂/∂x|², as R1 takes it, in the weights.
    twice = torch.autograd.grad(ours[0].square().sum(), cell.again.weight)
    torch.testing.assert_close(twice, torch.autograd.grad(their[0].square().sum(), theirs.weight_hh_l0))
    assert gradcheck(lambda x: cell(x, start), (x,))
    assert gradgradcheck(lambda x: cell(x, start), (x,))


@pytest.mark.parametrize("kind", TORCHS)
def test_a_discriminator_of_two_layers_by_torch_s_cells(kind):
    net = RecurrentDiscriminator(cell=kind, width=4, depth=2).build(SERIES, 2).double()
    theirs = TORCHS[kind](3, 4, num_layers=2, batch_first=True).double()
    names = {"into.weight": "weight_ih", "into.bias": "bias_ih", "again.weight": "weight_hh", "again.bias": "bias_hh"}
    with torch.no_grad():
        for i, cell in enumerate(net.cells):
            for own, name in names.items():
                getattr(theirs, f"{name}_l{i}").copy_(cell.get_parameter(own))
    x = torch.randn(5, 7, 3, dtype=torch.float64)
    out = theirs(x)[0]
    torch.testing.assert_close(net.features(x), torch.cat([out[:, -1], out.mean(1)], 1))
    torch.testing.assert_close(net(x), (net.features(x) @ net.head.weight[0]) + net.head.bias)


@pytest.mark.parametrize("kind", TORCHS)
def test_feedback_that_is_not_listened_to_changes_nothing(kind):
    """With its weights at 0, writing step by step is writing layer by layer."""
    spec = RecurrentGenerator(cell=kind, width=4, depth=2, noise=2)
    plain, fed = spec.build(SERIES, 6), spec.replace(feedback=True).build(SERIES, 6)
    weights = plain.state_dict()
    into = weights["cells.0.into.weight"]
    weights["cells.0.into.weight"] = torch.cat([into, torch.zeros(len(into), 3)], 1)
    fed.load_state_dict(weights)
    z = torch.randn(5, 6)
    torch.testing.assert_close(fed(z), plain(z))
    with torch.no_grad():
        fed.cells[0].into.weight[:, -3:] = 1
    moved = fed(z)
    torch.testing.assert_close(moved[:, 0], plain(z)[:, 0])
    assert ((moved - plain(z)).abs().amax(2) > 1e-6)[:, 1:].all(), "from the second step on"


def test_a_text_s_next_token_follows_from_the_one_that_was_drawn():
    """Weights by hand: token k is followed by k + 1, whatever the first was."""
    data = DataSpec(name="test", shape=(6, 4))
    net = RecurrentGenerator(width=4, noise=0, feedback=True, end=Softmax()).build(data, 3)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        net.start.weight[:, :3] = torch.eye(4)[:, :3] * 9
        cell = net.cells[0]
        cell.into.bias[4:8] = -30  # the update gate is shut: all is new
        cell.into.weight[8:, -4:] = 9 * torch.eye(4).roll(1, 0)
        cell.again.weight[8:] = 0
        net.to_sample.weight.copy_(30 * torch.eye(4))
        net.to_sample.bias[2] = 3
    x = net(torch.tensor([[1.0, 0.0, 0.0]]))[0].argmax(1)
    assert x.tolist() == [(2 + t) % 4 for t in range(6)]


@pytest.mark.parametrize("shape", [(3, 8, 8), (5,), ()])
@pytest.mark.parametrize("spec", [RecurrentGenerator(), RecurrentDiscriminator()])
def test_what_is_no_sequence_is_refused(spec, shape):
    with pytest.raises(RequestError, match=r"expected series \[T, C\] or texts \[T, V\], found odd of shape"):
        spec.build(DataSpec(name="odd", shape=shape), 4)


@pytest.mark.parametrize("change", [{"width": 0}, {"depth": 0}, {"depth": 9}, {"noise": -1}], ids=str)
def test_sizes_out_of_range_are_refused(change):
    with pytest.raises(RequestError, match=r"expected width >= 1, depth from 1 to 8 and noise >= 0, found"):
        RecurrentGenerator(**change).build(SERIES, 4)
    with pytest.raises(RequestError, match="expected a cell of gru or lstm, found 'rnn'"):
        RecurrentDiscriminator(cell="rnn").build(SERIES, 4)


@pytest.mark.parametrize(("end", "cut"), [(GumbelSoftmax(), True), (Softmax(), False)], ids=str)
def test_a_token_that_was_drawn_is_read_without_a_gradient(end, cut):
    net = RecurrentGenerator(width=4, noise=0, feedback=True, end=end).build(SERIES, 6)
    read = []
    net.cells[0].into.register_forward_hook(lambda module, inputs, output: read.append(inputs[0].requires_grad))
    assert net(torch.randn(2, 6)).requires_grad
    assert read == [False] + [not cut] * 6
