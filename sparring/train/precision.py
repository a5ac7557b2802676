"""Which arithmetic is fast and right on this machine, measured rather than guessed.

On some processors the vendor library's float32 matrix product runs at 40 % of what the chip does, and torch's
`medium` setting sends it to another library that is twice as fast with the same error; on others `medium` really
rounds to bfloat16. A few milliseconds of measurement tell which.
"""

from __future__ import annotations

import functools
import time
from typing import NamedTuple

import torch

_FLOAT32_ERROR = 1e-5  # float32 products of this size have a relative error near 5e-7, bfloat16 ones near 3e-3


class Arithmetic(NamedTuple):
    """`precision`: float32 or bfloat16 for activations; `matmul`: torch's float32 matmul precision; why, in words."""

    precision: str
    matmul: str
    reason: str


@functools.cache
def choose_arithmetic(device: torch.device) -> Arithmetic:
    """The fastest setting of float32 products that keeps float32's error, and bfloat16 where the device has it.

    Takes about 0.1 seconds on a CPU, once in a process, draws no global random numbers and leaves torch's setting as
    it was.
    """
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return Arithmetic("bfloat16" if native else "float32", "highest", f"bfloat16 native on this GPU: {native}")
    if device.type != "cpu":
        return Arithmetic("float32", "highest", f"float32 on {device.type}")
    matmul, why = _choose_matmul()
    native = _cpu_has_bfloat16()
    return Arithmetic(
        "bfloat16" if native else "float32",
        matmul,
        f"this CPU {'computes' if native else 'does not compute'} in bfloat16 natively; {why}",
    )


def _choose_matmul() -> tuple[str, str]:
    random = torch.Generator().manual_seed(0)
    a = torch.randn(64, 1024, generator=random)
    b = torch.randn(1024, 784, generator=random)
    exact = a.double() @ b.double()
    before = torch.get_float32_matmul_precision()
    best = {"highest": float("inf"), "medium": float("inf")}
    error = {}
    try:
        for setting in best:
            torch.set_float32_matmul_precision(setting)
            error[setting] = float((a @ b - exact).abs().max() / exact.abs().max())
        for _ in range(10):
            for setting in best:
                torch.set_float32_matmul_precision(setting)
                start = time.perf_counter()
                for _ in range(8):
                    a @ b
                best[setting] = min(best[setting], (time.perf_counter() - start) / 8)
    finally:
        torch.set_float32_matmul_precision(before)
    gain = best["highest"] / best["medium"]
    if error["medium"] < _FLOAT32_ERROR and gain > 1:
        return "medium", f"float32 products {gain:.1f} times faster with 'medium' at float32's error"
    return "highest", f"'medium' products: {gain:.1f} times the speed, relative error {error['medium']:.0e}"


def _cpu_has_bfloat16() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
