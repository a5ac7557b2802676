from __future__ import annotations

import torch

from sparring.train.precision import choose_arithmetic


def test_choice_is_valid_and_leaves_no_trace() -> None:
    before, state = torch.get_float32_matmul_precision(), torch.random.get_rng_state()
    found = choose_arithmetic(torch.device("cpu"))
    assert found.precision in ("float32", "bfloat16")
    assert found.matmul in ("highest", "medium")
    assert torch.get_float32_matmul_precision() == before
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_chosen_product_is_a_float32_product() -> None:
    """Whatever was chosen, the error against float64 is float32's, not bfloat16's 3e-3."""
    before = torch.get_float32_matmul_precision()
    a, b = torch.randn(64, 512), torch.randn(512, 64)
    try:
        torch.set_float32_matmul_precision(choose_arithmetic(torch.device("cpu")).matmul)
        product = a @ b
    finally:
        torch.set_float32_matmul_precision(before)
    exact = a.double() @ b.double()
    assert float((product - exact).abs().max() / exact.abs().max()) < 1e-5
