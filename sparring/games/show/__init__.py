"""What is done to every sample before the discriminator sees it: augmentation, noise, packs.

Both players meet the same: real samples and fakes, in the discriminator's turn and in the generator's.
"""

from sparring.games.show.ada import ADA, BLIT, COLOUR, CORRUPTION, GEOMETRY
from sparring.games.show.diffaugment import DiffAugment
from sparring.games.show.instance_noise import InstanceNoise
from sparring.games.show.packing import Packing

__all__ = ["ADA", "BLIT", "COLOUR", "CORRUPTION", "GEOMETRY", "DiffAugment", "InstanceNoise", "Packing"]
