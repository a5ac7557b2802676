import math
from typing import Any

import pytest
import scipy.stats
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.protocols import Batch
from sparring.metrics.features import PCA, Digits8, FeatureNetwork
from sparring.metrics.judge import Judge
from sparring.metrics.memorisation import CLOSEST, Memorisation, closeness, ct, memorised
from sparring.metrics.metric import Measured, Setting
from sparring.metrics.summary import summarise


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def uniform(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def measured(x: Tensor, num: int | None = None) -> Measured:
    return Measured(summarise(x)._replace(num=num or len(x)), torch.empty(0), x, torch.empty(len(x), 0))


def judged(fake: Tensor, train: Tensor, held_out: Tensor) -> dict[str, float]:
    setting = Setting(None, held_out=measured(held_out))  # type: ignore[arg-type]
    return Memorisation().measure(measured(fake), measured(train), setting)


def accused(fake: Tensor, train: Tensor, held_out: Tensor) -> bool:
    found = closeness(fake, train, held_out)
    return memorised(found.copies.named("copies") | found.copies_held_out.named("copies_held_out"))


@pytest.mark.parametrize(("d", "expected"), [(1, 1 / 3), (2, 0.3785), (3, 0.4074)])
def test_authentic_share_of_uniform_data(d: int, expected: float) -> None:
    """Edges of the square and the cube add a little, which 6,000 training samples keep near a hundredth."""
    found = closeness(uniform(0, 6000, d), uniform(1, 6000, d), uniform(2, 6000, d))
    assert found.authentic.value == pytest.approx(expected, abs=0.025)
    assert found.authentic_held_out == pytest.approx(expected, abs=0.025)


def test_authentic_share_by_its_definition() -> None:
    fake, train = draw(0, 80, 3), draw(1, 100, 3)
    authentic = 0
    for g in fake:
        to_train = [math.dist(g, t) for t in train]
        i = min(range(100), key=lambda i: to_train[i])
        authentic += to_train[i] > min(math.dist(train[i], train[j]) for j in range(100) if j != i)
    found = closeness(fake, train, draw(2, 30, 3))
    assert found.authentic.value == authentic / 80
    assert 0 < authentic < 80


def test_copies_by_their_definition() -> None:
    train, held_out = draw(1, 200, 2), draw(2, 250, 2)
    fake = train[torch.arange(300) % 200] + 0.01 * draw(0, 300, 2)
    spacing = NearestNeighbors(n_neighbors=2).fit(train).kneighbors(train)[0][:, 1]

    def ratios(x: Tensor) -> Any:
        distance, index = NearestNeighbors(n_neighbors=1).fit(train).kneighbors(x)
        return distance[:, 0] / spacing[index[:, 0]]

    found = closeness(fake, train, held_out)
    third = sorted(ratios(held_out))[2]  # a hundredth of 250, rounded up
    assert found.copies.value == (ratios(fake) <= third * (1 + 1e-9)).mean()
    assert found.copies_held_out.value == 3 / 250
    assert 0.1 < found.copies.value < 0.9


def test_copies_are_not_authentic() -> None:
    train = draw(1, 300, 4)
    found = closeness(train[torch.arange(500) % 300], train, draw(2, 200, 4))
    assert found.authentic.value == 0
    assert found.copies.value == 1
    assert found.authentic_held_out > 0.3


def test_dense_kinds_alone_are_not_copies() -> None:
    """Nine tenths of the data lie a hundred times as sparse; unseen samples of the dense tenth are closer to the
    training set than nearly all held-out ones, which C_T takes for copying."""

    def kinds(seed: int, num: int) -> Tensor:
        dense = torch.arange(num)[:, None] % 10 == 0
        return draw(seed, num, 4).where(dense, 100 * draw(seed + 1, num, 4) + 1000)

    train, held_out, fake = kinds(0, 2000), kinds(2, 1000), draw(4, 500, 4)
    values = judged(fake, train, held_out)
    assert not memorised(values)
    assert values["copies"] < 0.04
    assert ct(fake, train, held_out, cells=1) < -20
    assert memorised(judged(train[::10], train, held_out))


def test_ct_of_copies() -> None:
    """−(nm/2) / √(nm(n + m + 1)/12): −38.72 for 1,000 and 1,000 in one cell."""
    train, held_out = draw(0, 1000, 5), draw(1, 1000, 5)
    assert ct(train, train, held_out, cells=1) == pytest.approx(-38.72, abs=0.005)
    assert ct(held_out, train, train, cells=1) == pytest.approx(38.72, abs=0.005)
    assert ct(train[:300], train, held_out[:200], cells=1) == pytest.approx(-((60_000 * 3 / 501) ** 0.5), rel=1e-12)


def test_ct_of_one_distribution_is_standard_normal() -> None:
    found = torch.tensor(
        [ct(draw(i, 100, 2), draw(i + 500, 200, 2), draw(i + 900, 150, 2), cells=1) for i in range(200)]
    )
    assert abs(found.mean()) < 3.5 / 40**0.5
    assert scipy.stats.kstest(found.numpy(), "norm").pvalue > 1e-3


@pytest.mark.parametrize("d", [3, 80])
def test_ct_by_its_definition(d: int) -> None:
    """In cells, in up to 64 principal components, weighted by held-out samples; a cell of 20 fakes does not count."""
    modes = torch.zeros(3, d)
    modes[1, 0], modes[2, 1] = 60, -90
    mode, unseen_mode = (torch.tensor([0] * a + [1] * b + [2] * 20) for a, b in ((200, 100), (130, 170)))
    train = draw(0, 400, d) + modes[torch.arange(400) % 3]
    held_out = draw(1, 320, d) + modes[unseen_mode]
    fake = draw(2, 320, d) * (0.9 - 0.4 * (mode == 1))[:, None] + modes[mode]
    basis = torch.eye(d)
    if d > 64:
        basis = torch.linalg.svd(train - train.mean(0), full_matrices=False).Vh[:64].T
    scores = []
    for i in (0, 1):
        part = train[torch.arange(400) % 3 == i]
        search = NearestNeighbors(n_neighbors=1).fit(part @ basis)
        made, unseen = (search.kneighbors(x @ basis)[0][:, 0] for x in (fake[mode == i], held_out[unseen_mode == i]))
        m, n = len(made), len(unseen)
        u = scipy.stats.mannwhitneyu(made, unseen).statistic
        scores.append((u - m * n / 2) / math.sqrt(m * n * (m + n + 1) / 12))
    assert ct(fake, train, held_out) == pytest.approx((130 * scores[0] + 170 * scores[1]) / 300, rel=1e-6)
    assert abs(scores[0] - scores[1]) > 0.5


def test_ct_of_few_samples_is_left_out(digits: tuple[Tensor, Tensor], held: Any) -> None:
    assert math.isnan(ct(draw(0, 20, 2), draw(1, 50, 2), draw(2, 50, 2), cells=1))
    assert ct(torch.zeros(50, 2), torch.zeros(40, 2), torch.zeros(30, 2)) == 0  # one cell: there is but one sample
    x = digits[0]
    judge = Judge(held(x[:100]), metrics=(Memorisation(),), held_out=held(x[100:200]))
    score = judge.score(lambda start, count: Batch(x[300 + start : 300 + start + count], None), num_samples=20, seed=0)
    assert "ct" not in score.values
    assert "ct is not finite and left out" in score.notes


def splits(digits: tuple[Tensor, Tensor], network: FeatureNetwork) -> Any:
    """Ten times: 1,000 samples to train on, 400 held out, and 397 others that nobody has seen."""
    features = network(digits[0])
    for seed in range(10):
        order = torch.randperm(1797, generator=torch.Generator().manual_seed(seed))
        yield digits[0][order[:1000]], *(features[part] for part in torch.split(order, [1000, 400, 397]))


@pytest.mark.parametrize("features", ["digits8", "pca"])
def test_a_replay_is_found_and_unseen_samples_are_not(features: str, digits: Any, held: Any) -> None:
    network = Digits8() if features == "digits8" else PCA.fit(held(digits[0]), 32)
    for seed, (x, train, held_out, unseen) in enumerate(splits(digits, network)):
        generator = torch.Generator().manual_seed(seed)
        noisy = network((x + 0.04 * torch.randn(x.shape, generator=generator)).clamp(-1, 1))
        assert accused(train, train, held_out)
        assert accused(train[torch.randint(0, 1000, (400,), generator=generator)], train, held_out)
        assert accused(noisy, train, held_out)
        assert accused(torch.cat([unseen[:320], train[:80]]), train, held_out)
        assert not accused(unseen, train, held_out)


def test_chance_alone_does_not_accuse() -> None:
    """100 held-out samples: the one that makes the threshold may be an outlier."""
    found = [accused(draw(3 * i, 500, 3), draw(3 * i + 1, 300, 3), draw(3 * i + 2, 100, 3)) for i in range(60)]
    assert sum(found) == 0


def test_doubled_training_samples_and_ties() -> None:
    """Few values, so that unseen samples equal training samples too; and a training set that holds each twice."""
    train, held_out, fake = (
        torch.randint(0, 5, (200, 2), generator=torch.Generator().manual_seed(i)) for i in range(3)
    )
    values = judged(fake.float(), train.float(), held_out.float())
    assert values["copies"] == values["copies_held_out"] == 1
    assert not memorised(values)
    doubled = draw(0, 300, 3).repeat(2, 1)
    values = judged(doubled[:200], doubled, draw(1, 200, 3))
    assert values["copies"] == 1
    assert values["authentic_share"] == 0
    assert memorised(values)
    assert accused(doubled[:200] + 0.01 * draw(2, 200, 3), doubled, draw(1, 200, 3))


def test_notes() -> None:
    train, held_out = draw(0, 300, 4), draw(1, 250, 4)
    setting = Setting(None, held_out=measured(held_out))  # type: ignore[arg-type]
    metric = Memorisation()

    def notes(fake: Measured, real: Measured, setting: Setting = setting) -> list[str]:
        return list(metric.notes(fake, real, setting, metric.measure(fake, real, setting)))

    assert notes(measured(draw(2, 200, 4)), measured(train)) == []
    assert (
        "the reference is a test split"
        in notes(measured(draw(2, 200, 4)), measured(train), setting._replace(split="test"))[0]
    )
    assert notes(measured(train), measured(train, num=1200)) == [
        "memorisation is suspected: 100.0% of the samples are as close to a training sample as only 1.2% of unseen "
        "real samples are",
        "samples are compared with 300 of 1,200 training samples: about 25% of any copies are seen",
    ]


def test_values() -> None:
    values = judged(draw(0, 200, 3), draw(1, 300, 3), draw(2, 250, 3))
    named = {f"{n}{end}" for n in ("authentic_share", "copies", "copies_held_out") for end in ("", "_low", "_high")}
    assert values.keys() == named | {"authentic_share_held_out", "ct"}
    for name in ("authentic_share", "copies", "copies_held_out"):
        assert values[f"{name}_low"] < values[name] < values[f"{name}_high"]
    p = values["authentic_share"]
    assert values["authentic_share_high"] - values["authentic_share_low"] == pytest.approx(
        2 * 1.96 * (p * (1 - p) / 200) ** 0.5, rel=0.02
    )
    assert CLOSEST <= values["copies_held_out"] < CLOSEST + 1 / 250
    assert judged(draw(0, 200, 3), draw(1, 300, 3), draw(2, 250, 3)) == values


def test_what_is_refused() -> None:
    x = draw(0, 30, 2)
    with pytest.raises(RequestError, match="found 30 and 0"):
        closeness(x, x, x[:0])
    with pytest.raises(RequestError, match="found 0 and 30"):
        closeness(x[:0], x, x)
    with pytest.raises(RequestError, match="at least 2 different training samples, found 1"):
        closeness(x, x[:1].repeat(5, 1), x)
    for i in range(3):
        sets = [x, x, x]
        sets[i] = x * torch.nan
        with pytest.raises(RequestError, match="not finite"):
            closeness(*sets)
        with pytest.raises(RequestError, match="not finite"):
            ct(*sets)
    with pytest.raises(RequestError, match="name them as held out"):
        Memorisation().measure(measured(x), measured(x), Setting(None))  # type: ignore[arg-type]
