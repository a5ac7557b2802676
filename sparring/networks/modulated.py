"""Convolutions whose kernels depend on the sample, and what StyleGAN2 is made of beside them.

Modulation and demodulation after Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN",
equations 1 to 3: the input channels of a kernel are scaled by a style, and its output channels so that each has unit
deviation for independent inputs of unit deviation. Equalised learning rates after Karras et al. 2018 ("Progressive
growing of GANs"), section 4.1; resampling with the filter [1, 3, 3, 1] after Karras et al. 2020, appendix B.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GAIN = math.sqrt(2)
"""By which a leaky ReLU's input is multiplied beforehand, which is the same as multiplying its output and costs no pass
over the activations where a weight can bear it: the mean square of what comes out is then that of what came in."""


def active(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2."""
    return F.leaky_relu(x, 0.2)


def modulated(
    x: Tensor, weight: Tensor, style: Tensor, *, demodulated: bool = True, up: bool = False, gain: float = 1.0
) -> Tensor:
    """x [B, I, H, W] convolved with weight [O, I, K, K], K odd, whose input channels are scaled by style [B, I]: [B, O,
    H, W], or [B, O, 2 H + 1, 2 W + 1] where K = 3 and zeros are put between the pixels (`up`); times `gain` where
    demodulated.

    As convolution is linear, the activations are scaled in place of the kernels, input by s and output by
    gain/√(Σ s² w² + 1e-8): one kernel for all samples, where equation 3 read literally needs a kernel for each
    (`modulated_one_by_one`), which in groups takes up to four times as long on a CPU.
    """
    scaled = x * style.to(x.dtype)[:, :, None, None]
    if up:
        y = F.conv_transpose2d(scaled, weight.transpose(0, 1), stride=2)
    else:
        y = F.conv2d(scaled, weight, padding=weight.shape[-1] // 2)
    if not demodulated:
        return y
    energy = style.square() @ weight.square().sum((2, 3)).t()
    return y * (gain * (energy + 1e-8).rsqrt()).to(y.dtype)[:, :, None, None]


def modulated_one_by_one(
    x: Tensor, weight: Tensor, style: Tensor, *, demodulated: bool = True, up: bool = False, gain: float = 1.0
) -> Tensor:
    """The same, slowly: equations 1 and 3 as they stand, a kernel for each sample."""
    rows = []
    for own, s in zip(x, style, strict=True):
        kernel = weight * s[:, None, None]
        if demodulated:
            kernel = gain * kernel / (kernel.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if up:
            rows.append(F.conv_transpose2d(own[None], kernel.transpose(0, 1), stride=2))
        else:
            rows.append(F.conv2d(own[None], kernel, padding=kernel.shape[-1] // 2))
    return torch.cat(rows)


class EqualLinear(nn.Module):
    """x [B, I] to [B, O] with W = c w and b = m g v, c = m g/√I for a `multiplier` m and a `gain` g; w has deviation
    1/m at the start, so that outputs have deviation g for inputs of unit mean square.

    Adam's steps do not depend on the size of gradients, so that W moves in proportion to c: every layer at one relative
    rate, times m.
    """

    def __init__(
        self, inputs: int, outputs: int, *, bias: float = 0.0, multiplier: float = 1.0, gain: float = 1.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / multiplier)
        self.bias = nn.Parameter(torch.full((outputs,), bias / multiplier))
        self.scale, self.bias_scale = gain * multiplier / math.sqrt(inputs), gain * multiplier

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.scale, self.bias * self.bias_scale)


class EqualConv(nn.Module):
    """x [B, I, H, W] to [B, O, H', W'], a weight of unit deviation times gain/√(I K²); zeros around it at stride 1,
    none at stride 2."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, bias: bool = True, stride: int = 1, gain: float = 1.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.stride, self.padding = stride, kernel // 2 if stride == 1 else 0
        self.scale, self.gain = gain / math.sqrt(inputs * kernel**2), gain

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias * self.gain
        return F.conv2d(x, self.weight * self.scale, bias, self.stride, self.padding)


class Filter(nn.Module):
    """Every channel of x [B, C, H, W] filtered by `gain` · [1, 3, 3, 1]/8 along rows and columns, with `padding` zeros
    around, of which every `stride`-th pixel is kept."""

    kernel: Tensor
    """[1, 1, 4, 4]"""

    def __init__(self, padding: int, *, stride: int = 1, gain: float = 1.0) -> None:
        super().__init__()
        tent = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer("kernel", (gain**2 * tent[:, None] * tent)[None, None], persistent=False)
        self.padding, self.stride = padding, stride

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        kernel = self.kernel.to(x.dtype).expand(channels, 1, 4, 4)
        return F.conv2d(x, kernel, stride=self.stride, padding=self.padding, groups=channels)


class Doubled(nn.Module):
    """Images [B, C, H, W] to the first `size` rows and columns of 2 H × 2 W pixels: zeros between the pixels, filtered
    by [1, 3, 3, 1]/4. Each new pixel is 3/4 of the nearest old one and 1/4 of the next, along rows and columns."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        # Linear interpolation between centres, but for the border, where zeros follow and not the last pixel again.
        wide = F.interpolate(F.pad(x, (1, 1, 1, 1)), scale_factor=2, mode="bilinear", align_corners=False)
        return wide[:, :, 2 : 2 + self.size[0], 2 : 2 + self.size[1]]


class Noise(nn.Module):
    """x [B, C, *size] plus one noise image for all channels, times a learned strength, 0 at the start (Karras et al.
    2019, section 3.2). In training the noise is drawn for every sample; in evaluation it is fixed, so that what is made
    is a function of what it is made from."""

    fixed: Tensor
    """[*size]"""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("fixed", torch.randn(size))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            noise = torch.randn(len(x), 1, *x.shape[2:], dtype=x.dtype, device=x.device)
        else:
            noise = self.fixed.to(x.dtype)
        return x + noise * self.strength.to(x.dtype)


class Modulated(nn.Module):
    """`modulated` with a weight of its own and the style that an affine map makes of w [B, D]: [B, O, *size], which
    starts near a deviation of `gain` for inputs of unit mean square.

    Where it doubles the grid, the filter follows and what is beyond `size` is cut off.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        dim: int,
        size: tuple[int, int],
        *,
        demodulated: bool = True,
        up: bool = False,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.style = EqualLinear(dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.scale = (1.0 if demodulated else gain) / math.sqrt(inputs * kernel**2)
        self.demodulated, self.gain, self.size = demodulated, gain, size
        self.filter = Filter(1, gain=2.0) if up else None

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        weight, style, up = self.weight * self.scale, self.style(w), self.filter is not None
        y = modulated(x, weight, style, demodulated=self.demodulated, up=up, gain=self.gain)
        if self.filter is not None:
            y = self.filter(y)[:, :, : self.size[0], : self.size[1]]
        return y
