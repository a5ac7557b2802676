"""What most objectives share: the discriminator judges each sample alone, so its loss is one term for a real sample
and one for a fake."""

from __future__ import annotations

from torch import Tensor

from sparring.core.game import Objective


class Unpaired(Objective):
    """The discriminator's loss is `real(logit of a real sample) + fake(logit of a fake)`; no memory."""

    def real(self, logits: Tensor) -> Tensor:
        """The discriminator's loss [B] on real samples with these logits [B]."""
        raise NotImplementedError(f"{type(self).__name__} must define real()")

    def fake(self, logits: Tensor) -> Tensor:
        """The discriminator's loss [B] on fakes with these logits [B]."""
        raise NotImplementedError(f"{type(self).__name__} must define fake()")

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return self.real(real_logits) + self.fake(fake_logits)
