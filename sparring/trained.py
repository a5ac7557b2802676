"""A trained generator, ready for use: the averaged weights, and what is needed to draw from them."""

from __future__ import annotations

import re
from functools import partial

import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.game import Prior
from sparring.core.protocols import Batch, DataSpec, NetworkSpec
from sparring.core.seeds import derive
from sparring.train.samples import at_once

_AVERAGED = "generator.average."


class TrainedGenerator:
    """The averaged weights of a generator, in evaluation mode."""

    def __init__(self, spec: NetworkSpec, data: DataSpec, prior: Prior, weights: dict[str, Tensor]) -> None:
        self.spec, self.data, self.prior = spec, data, prior
        with torch.random.fork_rng(devices=[]):  # building draws initial weights, which are replaced at once
            net = spec.build(data, prior.dim)
        try:
            net.load_state_dict(weights)
        except RuntimeError as error:
            why = " ".join(str(error).split())
            raise RequestError(f"the weights do not fit the generator that the recipe describes: {why}") from None
        self.net = net.eval().requires_grad_(False)

    def sample(
        self, count: int, *, labels: Tensor | None = None, seed: int = 0, truncation: float | None = None
    ) -> Batch:
        """`count` samples float32 [count, *shape] in [-1, 1], and their labels int64 [count], conditions float32
        [count, *y_shape], or None.

        Without `labels`, a generator of classes takes them in turn; one of other conditions refuses. Sample i depends
        on (seed, i) through blocks of 500 alone, so the first samples of a larger count are those of a smaller multiple
        of 500.
        """
        if count < 1:
            raise RequestError(f"-n: expected at least 1 sample, found {count}")
        parts = [self.numbered(i, min(500, count - i), seed, truncation, labels) for i in range(0, count, 500)]
        y = None if parts[0].y is None else torch.cat([p.y for p in parts if p.y is not None])
        return Batch(torch.cat([p.x for p in parts]), y)

    def numbered(
        self, start: int, count: int, seed: int, truncation: float | None = None, labels: Tensor | None = None
    ) -> Batch:
        """The samples with numbers start .. start + count - 1 of the sequence that belongs to a seed."""
        classes = self.data.num_classes
        y = None
        if self.data.y_shape and labels is None and self.data.form is not None:
            random = torch.Generator().manual_seed(derive(seed, "sample conditions", start))
            y = self.data.form.conditions(count, random)
        elif self.data.y_shape:
            if labels is None or labels.shape[1:] != self.data.y_shape:
                found = "none" if labels is None else f"labels of shape {list(labels.shape)}"
                raise RequestError(
                    f"this generator needs a condition of shape {list(self.data.y_shape)} for every sample, found "
                    f"{found}; give them from Python: TrainedGenerator.sample(n, labels=...)"
                )
            y = labels[start : start + count]
        elif labels is not None:
            y = labels[start : start + count]
            if not classes:
                raise RequestError("--label: this generator was trained without labels; leave the label out")
            if len(y) and not 0 <= int(y.min()) <= int(y.max()) < classes:
                raise RequestError(f"--label: expected 0 to {classes - 1}, found {int(y.min())} to {int(y.max())}")
        elif classes:
            y = torch.arange(start, start + count) % classes
        random = torch.Generator().manual_seed(derive(seed, "sample", start))
        truncated = getattr(self.net, "truncated", None)  # nearer to the mean of w instead of z, where there is a w
        z = self.prior.draw(count, random, None if truncated else truncation)
        make = self.net if truncation is None or truncated is None else partial(truncated, psi=truncation)
        parts = [slice(i, i + at_once(self.data)) for i in range(0, count, at_once(self.data))]
        with torch.inference_mode():
            x = torch.cat([make(z[i], None if y is None else y[i]).float().clamp(-1, 1) for i in parts])
        return Batch(x.contiguous(), y)


def averaged_weights(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The averaged generator's weights among a checkpoint's tensors."""
    return {name.removeprefix(_AVERAGED): tensor for name, tensor in tensors.items() if name.startswith(_AVERAGED)}


def expected_weights(spec: NetworkSpec, data: DataSpec, prior: Prior) -> dict[str, Tensor]:
    """What a checkpoint must hold to draw from it: tensors of the right names, types and shapes."""
    with torch.random.fork_rng(devices=[]):
        net = spec.build(data, prior.dim)
    return {f"{_AVERAGED}{name}": tensor for name, tensor in net.state_dict().items()}


def label_number(text: str, data: DataSpec) -> int:
    """A label by its number or its class name."""
    if text in data.class_names:
        return data.class_names.index(text)
    if not re.fullmatch("[0-9]{1,18}", text):
        raise RequestError(
            f"--label {text!r:.40}: expected a number or one of {', '.join(data.class_names) or 'no names'}"
        )
    return int(text)
