"""A step computed in parts is the step: one after the other where memory is short, and on several processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from sparring.core.errors import RequestError
from sparring.core.exchange import Rows
from sparring.games.adversarial import Adversarial
from sparring.games.objectives import RelativisticAverage
from sparring.games.unrolled import Unrolled
from sparring.train.ranks import Ranks
from sparring.train.rows import Whole
from tests.train.divided import ACROSS_PROCESSES, BATCH, BY_ROWS, FAMILIES, IN_PARTS_TOO, NORMALISED, played, trainer

STEPS = 50


@pytest.fixture
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def apart(one: dict[str, Tensor], two: dict[str, Tensor]) -> float:
    """The largest difference, over the largest number of its tensor or 1."""
    assert one.keys() == two.keys()
    worst = 0.0
    for key, tensor in two.items():
        scale = max(1.0, float(tensor.double().abs().max()))
        worst = max(worst, float((one[key].double() - tensor.double()).abs().max()) / scale)
    return worst


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", sorted(FAMILIES.keys() - ACROSS_PROCESSES - BY_ROWS))
def test_parts_one_after_the_other_are_the_whole(name: str) -> None:
    """In parts of five, five and two samples."""
    whole = played(name, 12)
    assert apart(played(name, 12, micro=5), whole) < 1e-12
    assert apart(played(name, 11), whole) > 1e-6  # a step is far more than that


@pytest.mark.parametrize("processes", [2, 4])
def test_several_processes_are_one(tmp_path: Path, processes: int) -> None:
    """Every family, 50 steps at the same global batch: float64 on two processes, float32 on four.

    The two also meet what can go wrong, see `divided.troubles`.
    """
    dtype, most = {2: ("float64", 1e-12), 4: ("float32", 1e-5)}[processes]
    out = tmp_path / "out.safetensors"
    script = Path(__file__).with_name("divided.py")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    done = subprocess.run(
        [*launch, str(script), str(out), dtype, str(STEPS)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        cwd=script.parents[2],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    together = load_file(out)
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        worst = {}
        for name in FAMILIES.keys() - BY_ROWS:
            alone = {f"{name}|{key}": tensor for key, tensor in played(name, STEPS).items()}
            worst[name] = apart({key: together[key] for key in alone}, alone)
            if name in IN_PARTS_TOO:
                worst[f"parts of {name}"] = apart({key: together[f"parts of {key}"] for key in alone}, alone)
        print(worst)
        assert max(worst.values()) < most, worst
    finally:
        torch.set_default_dtype(torch.float32)


def test_parts_report_what_the_whole_reports() -> None:
    """Means over all rows: of parts of five, five and two, each counts by its size."""
    whole, parts = trainer("hinge, LeCam"), trainer("hinge, LeCam")
    parts.micro = 5
    whole.take_step()
    parts.take_step()
    found = whole.report.drain()
    assert found.keys() >= {"loss_d", "loss_g", "d_real", "d_fake", "lecam"}
    assert parts.report.drain() == pytest.approx(found, rel=1e-5, abs=1e-7)


def test_parts_whose_logits_are_compared_move_running_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    """The logits of all parts are found beforehand, with statistics frozen: the turn itself must move them."""
    monkeypatch.setitem(FAMILIES, "both", (Adversarial(objective=RelativisticAverage()), NORMALISED))
    before, after = (played("both", steps, micro=4) for steps in (0, 1))
    moved = [name for name in before if "running" in name and not torch.equal(before[name], after[name])]
    assert [name for name in moved if name.startswith("generator.net")] == [
        name for name in before if "running" in name and name.startswith("generator.net")
    ]


# ---- what is random is cut from what would be drawn for the whole batch


@pytest.mark.parametrize(
    "draw",
    [
        lambda x: torch.rand(len(x), 3),
        lambda x: torch.rand((len(x), 1, 1)),
        lambda x: torch.rand(x.shape),
        lambda x: torch.randn_like(x),
        lambda x: torch.rand_like(x),
        lambda x: torch.randn(len(x), dtype=torch.float64),
        lambda x: torch.randint(5, (len(x), 2)),
        lambda x: torch.randint(-3, 4, (len(x),)),
        lambda x: torch.rand(size=(len(x), 2)),
        lambda x: torch.randint(high=5, size=(len(x),)),
        lambda x: torch.randint(-3, 4, size=(len(x),)),
        lambda x: functional.dropout(x, 0.4, True),
    ],
)
def test_parts_draw_what_the_whole_draws(draw: object) -> None:
    assert callable(draw)
    x = torch.linspace(1, 2, 7 * 4).view(7, 4)
    torch.manual_seed(3)
    whole = draw(x)
    after = torch.rand(2)
    cuts = [Rows(0, 3, 7), Rows(3, 4, 7), Rows(4, 7, 7)]
    parts = []
    for rows in cuts:
        torch.manual_seed(3)
        with Whole(rows):
            parts.append(draw(x[rows.start : rows.stop]))
        assert torch.equal(torch.rand(2), after)  # and the numbers go on alike
    assert torch.equal(torch.cat(parts), whole)


def test_joined_samples_draw_row_by_row() -> None:
    """Real and fake samples in one call: the rows of each are cut from its own half."""
    torch.manual_seed(3)
    whole = torch.rand(14, 2)
    torch.manual_seed(3)
    with Whole(Rows(2, 5, 7)):
        part = torch.rand(6, 2)
    assert torch.equal(part, torch.cat([whole[2:5], whole[9:12]]))


def test_channels_are_dropped_as_in_the_whole() -> None:
    x = torch.ones(4, 3, 2, 2)
    torch.manual_seed(0)
    whole = functional.dropout2d(x, 0.5, True)
    torch.manual_seed(0)
    with Whole(Rows(2, 4, 4)):
        part = functional.dropout2d(x[2:], 0.5, True)
    assert torch.equal(part, whole[2:])


@pytest.mark.parametrize("training", [True, False])
def test_normalisation_over_processes_is_torch_s(training: bool) -> None:
    """With a sum over one process it must be what torch computes, slopes and running statistics too."""
    torch.manual_seed(0)
    x = torch.randn(6, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    weight, bias = torch.randn(3, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    found = []
    for add in (None, lambda tensor: tensor * 1):
        mean, var = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
        with Whole(Rows(0, 6, 6), add):
            out = functional.batch_norm(x, mean, var, weight, bias, training, 0.1, 1e-5)
        (slope,) = torch.autograd.grad(out.pow(3).sum(), x)
        found.append((out, slope, mean, var))
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


# ---- refused


def test_what_can_t_be_divided_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES, "unrolled", (Unrolled(), FAMILIES["minimax"][1]))
    with pytest.raises(RequestError, match="Unrolled can't be divided among processes"):
        trainer("unrolled", Ranks(0, 2))
    with pytest.raises(RequestError, match=f"expected a multiple of 5.*found {BATCH}"):
        trainer("minimax", Ranks(0, 5))


def test_one_process_needs_nobody() -> None:
    alone = Ranks.start(torch.device("cpu"))
    x = torch.arange(3.0)
    assert alone.first
    assert torch.equal(alone.gather(x), x)
    assert alone.tell({"a": 1}) == {"a": 1}
    assert alone.agree(True, 2.5) == (True, 2.5)
    assert alone.rows(10) == Rows(0, 10, 10)
    assert alone.same({"x": x})


@pytest.mark.parametrize("said", [{"RANK": "x"}, {"RANK": "0", "WORLD_SIZE": "2"}])
def test_processes_that_can_t_meet_are_told(said: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RequestError, match="torchrun"):
        Ranks.start(torch.device("cpu"))
