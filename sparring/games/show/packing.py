"""Packing (Lin et al. 2018, "PacGAN: the power of two samples in generative adversarial networks").

D(x_1, ..., x_m) judges m samples of the same origin together, so that it sees how much they differ: a generator that
lacks modes is found out with a probability that grows with m, because packs are draws from the products of the laws.
"""

from __future__ import annotations

from torch import Tensor, nn

from sparring.core.errors import RequestError
from sparring.core.game import Show
from sparring.core.protocols import DataSpec


class Packing(Show):
    """`size` samples become one: images [B, C, H, W] to [B/size, size · C, H, W], vectors [B, D] to
    [B/size, size · D]. It stands last in `show`.

    Take it against lost modes. Its weaknesses: the discriminator has fewer judgements to learn from, one for each pack,
    and its first layer grows. Labels are refused: a pack has as many as samples, and a discriminator reads one. A
    penalty on the slope at samples is summed over those of a pack.
    """

    size: int = 2

    def __post_init__(self) -> None:
        if self.size < 2:
            raise RequestError(f"Packing: expected size >= 2, found {self.size}")

    @property
    def together(self) -> int:
        return self.size

    def data(self, data: DataSpec) -> DataSpec:
        return data.replace(shape=(self.size * data.shape[0], *data.shape[1:]))

    def check(self, data: DataSpec, net: nn.Module) -> None:
        if data.is_conditional:
            raise RequestError(
                f"Packing: a pack of {self.size} samples has as many labels and the discriminator reads one; train "
                f"{data.name} without labels, or take MinibatchStd in the discriminator instead"
            )

    def __call__(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if len(x) % self.size:
            raise RequestError(
                f"Packing: expected a batch that packs of {self.size} divide, found {len(x)}: set train.batch to a "
                f"multiple of {self.size}"
            )
        return x.reshape(-1, self.size * x.shape[1], *x.shape[2:]), y
