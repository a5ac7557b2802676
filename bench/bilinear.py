"""The bilinear game min_θ max_ψ -ψθ, played by the library: measured and predicted growth of the distance in a step.

    python bench/bilinear.py

It is the Dirac-GAN of the Wasserstein objective. Simultaneous steps spiral out, alternating ones go round, an extra
gradient and optimism spiral in (Gidel et al. 2019; Daskalakis et al. 2018). A few seconds on one thread.
"""

from __future__ import annotations

from theory import played

from sparring.games.adversarial import Adversarial, Extragradient, Simultaneous
from sparring.games.objectives import Wasserstein
from sparring.theory import Order, bilinear_rate, measured_rate
from sparring.train.optimizers import SGD, OptimisticSGD, Optimizer

WAYS: dict[Order, tuple[Adversarial, type[Optimizer], dict[str, float]]] = {
    "simultaneous": (Simultaneous(objective=Wasserstein()), SGD, {"momentum": 0.0}),
    "alternating": (Adversarial(objective=Wasserstein()), SGD, {"momentum": 0.0}),
    "extragradient": (Extragradient(objective=Wasserstein()), SGD, {"momentum": 0.0}),
    "optimistic": (Simultaneous(objective=Wasserstein()), OptimisticSGD, {}),
}


def rates(order: Order, lr: float, steps: int = 300) -> tuple[float, float]:
    """Measured and predicted: what the distance to (0, 0) is multiplied by in a step of this learning rate."""
    game, optimizer, more = WAYS[order]
    path = played(game, (1.0, 1.0), steps, optimizer(lr=lr, **more))  # type: ignore[arg-type]
    return measured_rate(path, steps // 3), bilinear_rate(lr, order)


def main() -> None:
    print(f"{'':16}{'learning rate':>14}{'measured':>12}{'predicted':>12}")
    for lr in (0.05, 0.1, 0.3):
        for order in WAYS:
            measured, predicted = rates(order, lr)
            print(f"{order:16}{lr:14}{measured:12.6f}{predicted:12.6f}")


if __name__ == "__main__":
    main()
