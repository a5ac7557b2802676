"""Auxiliary classifier GAN (Odena, Olah and Shlens 2017, "Conditional image synthesis with auxiliary classifier GANs",
section 4).

With the log-likelihood of the source, L_S, and of the right class, L_C = E log P(C = c | x_real) + E log P(C = c |
x_fake), the discriminator maximises L_S + L_C and the generator L_C - L_S.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sparring.core.errors import RequestError
from sparring.core.exchange import Exchange, Seen
from sparring.core.game import Critic
from sparring.core.protocols import Batch, DataSpec
from sparring.games.adversarial import Adversarial


class AuxiliaryClassifier(Adversarial):
    """The discriminator also tells the class of every sample, and the generator makes samples whose class is told.

    Each weight stands before a mean cross-entropy of classes: `real_classes` and `fake_classes` in the discriminator's
    loss, of real samples and of fakes, `generator_classes` in the generator's, of fakes. (`d_weight` and `g_weight`
    stand before what the objective gives.) All three are 1 in the paper; `fake_classes` = 0 learns classes from real
    samples alone, so that early fakes cannot teach wrong ones.

    For labelled data with few classes that look different, and where the class logits are of use by themselves.
    Its known weakness is variety within a class: the generator is paid for samples whose class is certain, so it leaves
    out those near the border of their class, the more so the larger `generator_classes` is. Gong et al. 2019 ("Twin
    auxiliary classifiers GAN", section 3) show what is missing, the entropy H(Y|X) of fakes: where classes overlap, the
    best generator is not the data's law. Projection (Miyato and Koyama 2018) has no such bias.

    The discriminator must have a class head: `condition=AuxiliaryHead()`, or a module with `forward_with_classes`.
    """

    reads_classes: ClassVar[bool] = True

    real_classes: float = 1.0
    fake_classes: float = 1.0
    generator_classes: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        weights = (self.real_classes, self.fake_classes, self.generator_classes)
        if min(weights) < 0:
            raise RequestError(f"AuxiliaryClassifier: expected weights of classes >= 0, found {weights}")

    def check(self, data: DataSpec, nets: Mapping[str, nn.Module]) -> None:
        """Raises `RequestError` for data without classes, and for a discriminator that tells none."""
        super().check(data, nets)
        if not self.shown(data).num_classes:
            raise RequestError(
                f"AuxiliaryClassifier: labels asked of unlabelled data: {data.name} has no classes; give labels with "
                "the samples, or play Adversarial"
            )
        if not hasattr(nets["discriminator"], "forward_with_classes"):
            raise RequestError(
                "AuxiliaryClassifier: the discriminator tells no classes; give it condition=AuxiliaryHead(), or a "
                "method forward_with_classes(x) that returns logits and class logits"
            )

    def judgement(
        self, exchange: Exchange, critic: Critic, real: Batch, fake: Batch
    ) -> tuple[Tensor, tuple[Seen, Seen], dict[str, Tensor]]:
        reader = Reader(critic.net)
        loss, seen, found = super().judgement(exchange, Critic(reader, critic.show), real, fake)
        count = len(seen[0].logits)
        # Real and fake samples were read first, in one call or in two; what penalties ask comes after them.
        classes, y = (torch.cat(part) for part in zip(*reader.read[:2], strict=True))
        both = {"real": (self.real_classes, slice(count)), "fake": (self.fake_classes, slice(count, 2 * count))}
        for name, (weight, part) in both.items():
            loss = loss + weight * cross_entropy(classes[part], y[part])
            found[f"classes_{name}"] = _told(classes[part], y[part])
        return loss, seen, found

    def wanted(self, exchange: Exchange, critic: Critic) -> Tensor:
        """The generator's mean loss [] without penalties, against any critic that tells classes."""
        reader = Reader(critic.net)
        loss = super().wanted(exchange, Critic(reader, critic.show))
        classes, y = reader.read[0]
        return loss + self.generator_classes * cross_entropy(classes, y)


class Reader(nn.Module):
    """The discriminator, with a note of the class logits and labels of all that it is asked about."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.training = net.training
        self.per_sample = getattr(net, "per_sample", False)
        self.read: list[tuple[Tensor, Tensor]] = []
        """(class logits [B, num_classes], y [B]) of each call."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        logits, classes = cast(Any, self.net).forward_with_classes(x)
        # Cross-entropy is of the data's precision also where networks compute in bfloat16.
        self.read.append((classes.to(x.dtype), y))
        return cast(Tensor, logits)


def _told(logits: Tensor, y: Tensor) -> Tensor:
    """The share [] of samples whose class was told rightly."""
    return (logits.detach().argmax(1) == y).float().mean()
