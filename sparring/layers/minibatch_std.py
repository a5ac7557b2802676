"""Minibatch standard deviation (Karras et al. 2018, "Progressive growing of GANs", section 3).

Tells the discriminator how much the samples of a batch differ, so that a generator which repeats itself is found out.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparring.layers.layer import Layer, Shape


class MinibatchStd(Layer, kw_only=False):
    """Vectors [B, D] to [B, D + 1], images [B, C, H, W] to [B, C + 1, H, W]; what is added is one number per sample.

    That number is the standard deviation over the sample's group, averaged over all features, channels and pixels.
    A batch of B is dealt out like cards to M = max(1, floor(B / group_size)) groups, so that sample i goes to group
    i mod M: groups of `group_size` where it divides B, somewhat larger ones where it does not, or the whole of a
    small batch.
    """

    group_size: int = 4

    def __post_init__(self) -> None:
        self.check_whole("group_size", least=2)

    def build(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        if len(in_shape) != 1:
            self.image(in_shape)
        return AppendStd(self.group_size), (in_shape[0] + 1, *in_shape[1:])


class AppendStd(nn.Module):
    """The module of `MinibatchStd`; deterministic, without synchronisation, twice differentiable."""

    def __init__(self, group_size: int) -> None:
        super().__init__()
        self.group_size = group_size

    def forward(self, x: Tensor) -> Tensor:
        spread = group_std(x, self.group_size).to(x.dtype)
        return torch.cat([x, spread.view(-1, *[1] * (x.dim() - 1)).expand(-1, 1, *x.shape[2:])], dim=1)


def group_std(x: Tensor, group_size: int) -> Tensor:
    """Mean standard deviation of each sample's group [B], of x [B, ...]; in float32 at least.

    The groups are columns of a table with `rows` rows; the last row may be partly empty, and `present` says where.
    """
    count = len(x)
    groups = max(count // group_size, 1)
    rows = -(-count // groups)
    wide = x.flatten(1).to(torch.promote_types(x.dtype, torch.float32))
    table = F.pad(wide, (0, 0, 0, rows * groups - count)).view(rows, groups, -1)
    present = (torch.arange(rows * groups, device=x.device) < count).view(rows, groups, 1)
    size = present.sum(0)
    mean = table.sum(0) / size
    var = ((table - mean) * present).square().sum(0) / size
    # The constant keeps the slope of the root finite where all samples are equal.
    return (var + 1e-8).sqrt().mean(1).repeat(rows)[:count]
