"""Convolution and its adjoint, the transposed convolution, with TensorFlow's meaning of 'same'.

'same' makes a convolution's output ceil(size / stride) and a transposed convolution's size * stride. Where the zeros
around the image cannot be shared equally, the odd one goes to the bottom and right, so that with equal kernel and
stride the one layer is exactly the adjoint of the other (Dumoulin and Visin 2016, "A guide to convolution arithmetic
for deep learning", section 4). Weights start as in `Dense`.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from sparring.layers.layer import Layer, Shape, both

Padding = Literal["same", "valid"] | int


class Conv2D(Layer, kw_only=False):
    """Images [B, C, H, W] to [B, filters, H', W'].

    `padding='same'`: H' = ceil(H / stride); `'valid'`: no zeros around; a number: that many zeros on every side,
    H' = floor((H + 2 padding - kernel) / stride) + 1.
    """

    filters: int
    kernel_size: int | tuple[int, int] = 3
    strides: int | tuple[int, int] = 1
    padding: Padding = "same"

    def __post_init__(self) -> None:
        _check(self)

    def build(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        channels, *sizes = self.image(in_shape)
        kernel, stride = both(self.kernel_size), both(self.strides)
        if self.padding == "same":
            out = [-(-n // s) for n, s in zip(sizes, stride, strict=True)]
            around = [max((o - 1) * s + k - n, 0) for o, s, k, n in zip(out, stride, kernel, sizes, strict=True)]
        else:
            around = [0 if self.padding == "valid" else 2 * self.padding] * 2
            out = [(n + p - k) // s + 1 for n, p, k, s in zip(sizes, around, kernel, stride, strict=True)]
        _check_output(self, out, in_shape)
        even = not any(p % 2 for p in around)
        conv = nn.Conv2d(channels, self.filters, kernel, stride, (around[0] // 2, around[1] // 2) if even else 0)
        _initialise(conv)
        if even:
            return conv, (self.filters, *out)
        (top, left), (bottom, right) = [p // 2 for p in around], [p - p // 2 for p in around]
        return nn.Sequential(nn.ZeroPad2d((left, right, top, bottom)), conv), (self.filters, *out)


class Conv2DTranspose(Layer, kw_only=False):
    """Images [B, C, H, W] to larger images [B, filters, H', W'].

    `padding='same'`: H' = H * stride; `'valid'`: H' = (H - 1) stride + kernel; a number: that less 2 padding.
    """

    filters: int
    kernel_size: int | tuple[int, int] = 4
    strides: int | tuple[int, int] = 2
    padding: Padding = "same"

    def __post_init__(self) -> None:
        _check(self)

    def build(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        channels, *sizes = self.image(in_shape)
        kernel, stride = both(self.kernel_size), both(self.strides)
        full = [(n - 1) * s + k for n, s, k in zip(sizes, stride, kernel, strict=True)]
        if self.padding == "same":
            out = [n * s for n, s in zip(sizes, stride, strict=True)]
        else:
            out = [f - (0 if self.padding == "valid" else 2 * self.padding) for f in full]
        _check_output(self, out, in_shape)
        padding = [max(f - o, 0) // 2 for f, o in zip(full, out, strict=True)]
        extra = [max(o - f, 0) for f, o in zip(full, out, strict=True)]
        conv = nn.ConvTranspose2d(
            channels, self.filters, kernel, stride, (padding[0], padding[1]), (extra[0], extra[1])
        )
        _initialise(conv)
        if any((f - o) % 2 for f, o in zip(full, out, strict=True) if f > o):
            return nn.Sequential(conv, Crop(out[0], out[1])), (self.filters, *out)
        return conv, (self.filters, *out)


class Crop(nn.Module):
    """The top left corner of images: [B, C, H, W] to [B, C, height, width]."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, : self.height, : self.width]


def _check(layer: Conv2D | Conv2DTranspose) -> None:
    layer.check_whole("filters")
    layer.check_pair("kernel_size")
    layer.check_pair("strides")
    if isinstance(layer.padding, str):
        layer.check(layer.padding in ("same", "valid"), "padding", "'same', 'valid' or a whole number")
    else:
        layer.check_whole("padding", least=0)


def _check_output(layer: Conv2D | Conv2DTranspose, out: list[int], in_shape: Shape) -> None:
    if min(out) < 1:
        raise layer.fail(
            f"expected an image that a kernel of {layer.kernel_size} with padding {layer.padding!r} fits, "
            f"found {in_shape}: take a smaller kernel or padding='same'"
        )


def _initialise(conv: nn.Conv2d | nn.ConvTranspose2d) -> None:
    nn.init.xavier_uniform_(conv.weight)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
