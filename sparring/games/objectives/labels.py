"""Labels that are less than certain: smoothed on one side, random, or swapped now and then.

With A the loss of a sample called real and B of one called fake, a target t between 0 and 1 costs t A + (1 - t) B. For
the logistic objectives that is the cross-entropy with t. Only D's turn is changed; G wants what it wanted.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.games.objectives.minimax import NonSaturating
from sparring.games.objectives.unpaired import Unpaired
from sparring.games.objectives.wasserstein import Wasserstein


class Relabelled(Unpaired):
    """What the three share: the objective whose labels they change. It must judge each sample alone."""

    objective: Unpaired = NonSaturating()

    def __post_init__(self) -> None:
        if not isinstance(self.objective, Unpaired) or isinstance(self.objective, Wasserstein):
            raise RequestError(
                f"{type(self).__name__}: expected an objective that calls each sample real or fake by itself, found "
                f"{type(self.objective).__name__}, which has no such labels: take NonSaturating, LeastSquares or Hinge"
            )

    def toward(self, target: float | Tensor, logits: Tensor) -> Tensor:
        """The loss [B] of logits [B] for a target, [] or [B], in [0, 1]."""
        return target * self.objective.real(logits) + (1 - target) * self.objective.fake(logits)

    def real(self, logits: Tensor) -> Tensor:
        return self.objective.real(logits)

    def fake(self, logits: Tensor) -> Tensor:
        return self.objective.fake(logits)

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return self.objective.generator(real_logits, fake_logits)


class OneSidedSmoothing(Relabelled):
    """Salimans et al. 2016, section 3.4: real samples have a target below 1, fakes keep 0.

    D* = smooth · p/(p + q) for the logistic objectives, so D is never sure of a real sample. Fakes are not smoothed:
    where there are nearly only fakes, D would then hold G to what it makes. Take it where D gets too sure; it bounds
    D's values, not its slope, as a gradient penalty does.
    """

    smooth: float = 0.9
    """The target of real samples."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.5 < self.smooth <= 1:
            raise RequestError(f"OneSidedSmoothing: expected smooth above 0.5 and at most 1, found {self.smooth}")

    def real(self, logits: Tensor) -> Tensor:
        return self.toward(self.smooth, logits)


class NoisyLabels(Relabelled):
    """Targets drawn anew for every sample, uniformly: of real samples from one range, of fakes from another.

    On average the targets are the middles of the ranges, r and f: D* = (r p + f q)/(p + q) for the logistic objectives.
    Take it in place of smoothing for more noise in D's turn; fakes with a target above 0 keep G where it is.
    """

    real_targets: tuple[float, float] = (0.8, 1.0)
    fake_targets: tuple[float, float] = (0.0, 0.2)

    def __post_init__(self) -> None:
        super().__post_init__()
        (low, high), (real_low, real_high) = self.fake_targets, self.real_targets
        if not (0 <= low <= high <= 1 and 0 <= real_low <= real_high <= 1 and low + high < real_low + real_high):
            raise RequestError(
                "NoisyLabels: expected ranges (low, high) within 0 and 1, that of real samples above that of fakes, "
                f"found {self.real_targets} and {self.fake_targets}"
            )

    def real(self, logits: Tensor) -> Tensor:
        return self.toward(_uniform(logits, self.real_targets), logits)

    def fake(self, logits: Tensor) -> Tensor:
        return self.toward(_uniform(logits, self.fake_targets), logits)


class FlippedLabels(Relabelled):
    """A share of the samples, drawn anew each time, is called what it is not.

    D* = ((1 - s) p + s q)/(p + q) for the logistic objectives, with s the share: D is sure of nothing, on both sides.
    Take it as the crudest brake on D.
    """

    share: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.share < 0.5:
            raise RequestError(f"FlippedLabels: expected a share of at least 0 and below 0.5, found {self.share}")

    def real(self, logits: Tensor) -> Tensor:
        return self.toward(1 - self._flips(logits), logits)

    def fake(self, logits: Tensor) -> Tensor:
        return self.toward(self._flips(logits), logits)

    def _flips(self, logits: Tensor) -> Tensor:
        """1 where a label is swapped, 0 elsewhere, [B]."""
        return (_uniform(logits, (0, 1)) < self.share).to(logits.dtype)


def _uniform(like: Tensor, bounds: tuple[float, float]) -> Tensor:
    low, high = bounds
    return torch.rand(like.shape, dtype=like.dtype, device=like.device) * (high - low) + low
