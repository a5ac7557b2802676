"""A GAN of your own in one file: an objective, a penalty, and a recipe that plays with them.

    python -m sparring.testing examples/my_gan.py                      # checks both and the recipe
    sparring train digits --recipe examples/my_gan.py:my_gan --budget 60s

The idea here: the discriminator scores pairs of a real and a fake sample, is content once they lie a margin apart, and
is held back where its logits grow without saying more.
"""

from torch import Tensor
from torch.nn.functional import softplus

from sparring.core.exchange import Seen
from sparring.core.game import Critic, Objective, Penalty
from sparring.core.protocols import DataSpec, SourceSpec
from sparring.games.adversarial import Adversarial
from sparring.games.penalties import R1
from sparring.recipes.images import dcgan
from sparring.train.recipe import Recipe
from sparring.train.schedule import Budget


class SoftMargin(Objective):
    """softplus(margin - (D(real) - D(fake))) for the discriminator, and the same with the two exchanged for G."""

    paired = True  # the generator's loss reads D(real), too

    margin: float = 1.0

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return softplus(self.margin - (real_logits - fake_logits))

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return softplus(self.margin - (fake_logits - real_logits))


class Quiet(Penalty):
    """weight · (D(real)² + D(fake)²) / 2: logits that are large for no reason cost."""

    weight: float = 0.001

    def __call__(self, critic: Critic, real: Seen, fake: Seen) -> Tensor:
        return self.weight * (real.logits.square() + fake.logits.square()) / 2


def my_gan(source: SourceSpec, data: DataSpec, budget: Budget) -> Recipe:
    """The networks and the training of `dcgan`, another game."""
    game = Adversarial(objective=SoftMargin(), penalties=(R1(weight=1.0, every=8), Quiet()))
    return dcgan(source, data, budget).replace(name="my_gan", game=game)
