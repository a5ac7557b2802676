"""Players for tables: each fast path beside a slow one, the laws of what is drawn, conditions, and what is refused."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from sparring.core.errors import RequestError
from sparring.core.exchange import Rows
from sparring.core.forms import Series, Table
from sparring.core.forms.table import Categorical, Continuous
from sparring.core.protocols import DataSpec
from sparring.core.spec import from_json, to_json
from sparring.networks.tabular import Ends, TabularDiscriminator, TabularGenerator, Values, choices, gumbel
from sparring.train.rows import Whole

ONE = Continuous(name="one", means=(3.0,), deviations=(2.0,), weights=(1.0,), low=-9.0, high=9.0)
MANY = Continuous(
    name="many", means=(0.0, 10.0), deviations=(1.0, 2.0), weights=(0.75, 0.25), low=-9.0, high=99.0, missing=3
)
SHORT = Categorical(name="short", values=("a", "b"), counts=(3, 2))
LONG = Categorical(name="long", values=(1, 2, 3, 4), counts=(1, 2, 3, 4), others=(5,), other_counts=(1,))
CONSTANT = Categorical(name="same", values=(0,), counts=(9,))
FORM = Table(columns=(SHORT, ONE, CONSTANT, MANY, LONG))  # 2, 1, 0, 1 + 3, 5 numbers
DATA = DataSpec(name="test", shape=(12,), form=FORM, levels=0, y_shape=(7,))
PLAIN = DATA.replace(y_shape=())
Z_DIM = 16


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def condition(count: int) -> Tensor:
    y = FORM.conditions(count, torch.Generator().manual_seed(1))
    assert y is not None
    return y


def slow_ends(out: Tensor, noise: Tensor, y: Tensor, temperature: float) -> Tensor:
    """Block by block."""
    parts, drawn, asked = [], 0, 0
    for place in FORM.places():
        mine = out[:, place.slice]
        if place.block.kind == "tanh":
            parts.append(mine.tanh())
            continue
        width = place.block.width
        chosen = ((mine + noise[:, drawn : drawn + width]) / temperature).softmax(1)
        drawn += width
        if isinstance(place.column, Categorical):
            wanted = y[:, asked : asked + width]
            asked += width
            chosen = torch.where(wanted.any(1, keepdim=True), wanted, chosen)
        parts.append(chosen)
    return torch.cat(parts, 1)


@pytest.mark.parametrize("asks", [True, False])
def test_ends_are_those_of_each_block(asks: bool) -> None:
    ends = Ends(FORM)
    out, noise = torch.randn(50, 12), gumbel(torch.randn(50, choices(FORM)))
    y = condition(50) if asks else torch.zeros(50, 7)
    expected = slow_ends(out, noise, y, 0.7)
    torch.testing.assert_close(ends(out, noise, y, 0.7, False), expected)
    if not asks:
        torch.testing.assert_close(ends(out, noise, y[:, :0], 0.7, False), expected)
    hard = ends(out, noise, y, 0.7, True)
    for place in FORM.places():
        if place.block.kind == "softmax":
            assert torch.equal(hard[:, place.slice].argmax(1), expected[:, place.slice].argmax(1))
            torch.testing.assert_close(hard[:, place.slice].max(1).values, torch.ones(50))
            torch.testing.assert_close(hard[:, place.slice].sum(1), torch.ones(50))


def test_categories_are_drawn_with_the_probability_that_the_network_gives_them() -> None:
    count = 40_000
    logits = torch.randn(12)
    noise = gumbel(torch.randn(count, choices(FORM)))
    x = Ends(FORM)(logits.expand(count, -1), noise, torch.zeros(count, 0), 0.2, True)
    for place in FORM.places():
        if place.block.kind == "softmax":
            p = logits[place.slice].softmax(0)
            assert ((x[:, place.slice].mean(0) - p).abs() < 5 * (p * (1 - p) / count).sqrt()).all()


def test_gumbel_noise_has_its_law() -> None:
    noise = gumbel(torch.randn(100_000, dtype=torch.float64)).sort().values
    at = torch.linspace(0, 1, 100_002, dtype=torch.float64)[1:-1]
    assert ((-(-noise).exp()).exp() - at).abs().max() < 1.63 / 100_000**0.5  # Kolmogorov and Smirnov's 1 %
    assert gumbel(torch.tensor([-40.0, 40.0])).isfinite().all()


def test_the_same_z_is_the_same_row_and_what_is_asked_for_is_there() -> None:
    G = TabularGenerator(width=16).build(DATA, Z_DIM)
    z, y = torch.randn(200, Z_DIM), condition(200)
    for net in (G, G.eval()):
        x = net(z, y)
        asked = torch.cat([x[:, part] for part in FORM.asked()], 1)
        assert torch.equal(asked[y > 0], torch.ones(200))
        for part, own in zip(FORM.asked(), y.split((2, 5), 1), strict=True):
            mine = own.any(1)
            assert torch.equal(x[mine, part], own[mine])
            torch.testing.assert_close(x[:, part].sum(1), torch.ones(200))
    assert torch.equal(G(z, y), G(z, y))
    assert not torch.equal(G(z, y)[:, 2], G(z.roll(1, 0), y)[:, 2])


def test_the_value_of_a_number_is_what_its_modes_say() -> None:
    x = torch.zeros(5, 12)
    x[:, [2, 3]] = torch.rand(5, 2) * 2 - 1
    x[torch.arange(5), 4 + torch.tensor([0, 1, 1, 0, 2])] = 1
    found = Values(FORM)(x)
    for number, (column, start) in enumerate([(ONE, 2), (MANY, 3)]):
        mean, deviation = column.moments()
        values, missing = column.numbers(x[:, start : start + 4].double().numpy())
        expected = torch.where(torch.from_numpy(missing), 0.0, (torch.from_numpy(values) - mean) / deviation)
        torch.testing.assert_close(found[:, number], expected.float())


@pytest.mark.parametrize("data", [DATA, PLAIN], ids=["conditional", "plain"])
def test_every_weight_learns(data: DataSpec) -> None:
    G, D = TabularGenerator(width=16).build(data, Z_DIM), TabularDiscriminator(width=16).build(data, Z_DIM)
    y = condition(32) if data.y_shape else None
    logits = D(G(torch.randn(32, Z_DIM), y), y)
    assert logits.shape == (32,)
    logits.sum().backward()
    for net in (G, D):
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None
            assert parameter.grad.any(), name


def test_second_derivatives_exist() -> None:
    G = TabularGenerator(width=4, depth=1).build(DATA, Z_DIM).double()
    D = TabularDiscriminator(width=4, depth=2, dropout=0.0).build(DATA, Z_DIM).double()
    z = torch.randn(3, Z_DIM, dtype=torch.float64, requires_grad=True)
    y = condition(3).double()
    x = G(z, y).detach().requires_grad_()
    assert gradcheck(lambda x: D(x, y), x)
    assert gradgradcheck(lambda x: D(x, y), x)
    assert gradgradcheck(lambda z: G(z, y), z)


def test_a_logit_is_of_its_row_alone() -> None:
    D = TabularDiscriminator(width=16, dropout=0.0).build(DATA, Z_DIM)
    x, y = torch.rand(6, 12), condition(6)
    assert D.per_sample
    torch.testing.assert_close(D(x, y)[:2], D(x[:2], y[:2]))


def test_dropout_drops_while_training_and_keeps_the_mean() -> None:
    D = TabularDiscriminator(width=64, depth=1, dropout=0.3).build(DATA, Z_DIM)
    x, y = torch.rand(1, 12), condition(1)
    trained = D(x.expand(20_000, -1), y.expand(20_000, -1))
    sure = D.eval()(x, y)
    assert trained.std() > 0
    assert abs(trained.mean() - sure) < 5 * trained.std() / 20_000**0.5
    assert torch.equal(D(x, y), sure)


def test_state_copies_and_json() -> None:
    for spec in (TabularGenerator(width=8, depth=3, temperature=0.5), TabularDiscriminator(width=8, depth=1)):
        assert from_json(to_json(spec)) == spec
        net = spec.build(DATA, Z_DIM).eval()
        other = spec.build(DATA, Z_DIM).eval()
        other.load_state_dict(net.state_dict())
        given = torch.randn(4, Z_DIM if isinstance(spec, TabularGenerator) else 12)
        y = condition(4)
        assert torch.equal(other(given, y), net(given, y))
        assert torch.equal(copy.deepcopy(net)(given, y), net(given, y))


def test_the_parts_of_a_divided_batch_are_those_of_the_whole() -> None:
    G = TabularGenerator(width=8).build(DATA, Z_DIM).eval()
    z, y = torch.randn(6, Z_DIM), condition(6)
    with Whole(Rows(2, 4, 6)):
        part = G(z[2:4], y[2:4])
    torch.testing.assert_close(part, G(z, y)[2:4])
    D, x = TabularDiscriminator(width=8, dropout=0.5).build(DATA, Z_DIM), torch.rand(6, 12)
    found = []
    for own in (Rows(0, 6, 6), Rows(2, 4, 6)):
        torch.manual_seed(5)
        with Whole(own):
            found.append(D(x[own.start : own.stop], y[own.start : own.stop]))
    torch.testing.assert_close(found[1], found[0][2:4])


def test_it_computes_in_bfloat16() -> None:
    G, D = TabularGenerator(width=8).build(DATA, Z_DIM), TabularDiscriminator(width=8).build(DATA, Z_DIM)
    y = condition(5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        x = G(torch.randn(5, Z_DIM), y)
        logits = D(x, y)
    assert x.dtype == torch.float32
    assert x.isfinite().all()
    assert logits.isfinite().all()


def test_tables_of_numbers_alone_or_of_categories_alone() -> None:
    for columns in ((ONE,), (SHORT, LONG), (SHORT,)):
        form = Table(columns=columns)
        asked = sum(len(column.frequencies) for column in form.conditional())
        data = DataSpec(name="t", shape=(form.width,), form=form, levels=0, y_shape=(asked,) if asked else ())
        y = form.conditions(7, torch.Generator().manual_seed(0))
        G = TabularGenerator(width=4).build(data, 8 + choices(form))
        x = G(torch.randn(7, 8 + choices(form)), y)
        assert x.shape == (7, form.width)
        TabularDiscriminator(width=4).build(data, 8)(x, y).sum().backward()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: TabularGenerator().build(DATA, 10), r"a prior of more than 10 numbers.*found 10; set prior.dim to 42"),
        (lambda: TabularGenerator().build(DATA.replace(form=None), 99), r"expected rows of a table.*take an MLP"),
        (lambda: TabularDiscriminator().build(DATA.replace(shape=(24,)), 99), r"rows of a table, found test of shape"),
        (
            lambda: TabularDiscriminator().build(
                DATA.replace(form=Series(columns=("a",), low=(0.0,), high=(1.0,)), shape=(4, 1)), 9
            ),
            "expected rows of a table",
        ),
        (lambda: TabularGenerator(temperature=0.0), "temperature > 0, found 128, 2 and 0.0"),
        (lambda: TabularDiscriminator(dropout=1.0), r"dropout in \[0, 1\), found 128, 2 and 1.0"),
        (lambda: TabularDiscriminator(width=0), "width >= 1"),
        (lambda: TabularGenerator().build(DATA, Z_DIM)(torch.randn(2, Z_DIM)), "built for conditions of shape"),
    ],
)
def test_what_does_not_fit_is_refused(wrong, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(RequestError, match=message):
        wrong()
