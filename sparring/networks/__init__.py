"""The players' networks, all in one place: `from sparring.networks import DCGANGenerator, SpectralNorm`."""

from sparring.networks.autoencoder import AutoencoderDiscriminator
from sparring.networks.condition import (
    AuxiliaryHead,
    Concatenation,
    ConditionalBatchNorm,
    Embedding,
    Projection,
)
from sparring.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from sparring.networks.ends import GumbelSoftmax, Softmax, Tanh
from sparring.networks.fastgan import FastGANDiscriminator, FastGANGenerator
from sparring.networks.layered import Discriminator, Generator
from sparring.networks.mlp import MLPDiscriminator, MLPGenerator
from sparring.networks.r3gan import R3GANDiscriminator, R3GANGenerator
from sparring.networks.recurrent import RecurrentDiscriminator, RecurrentGenerator
from sparring.networks.resnet import ResidualDiscriminator, ResidualGenerator
from sparring.networks.spectral import SpectralNorm
from sparring.networks.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from sparring.networks.tabular import TabularDiscriminator, TabularGenerator
from sparring.networks.temporal import TemporalDiscriminator, TemporalGenerator

__all__ = [
    "AutoencoderDiscriminator",
    "AuxiliaryHead",
    "Concatenation",
    "ConditionalBatchNorm",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "Discriminator",
    "Embedding",
    "FastGANDiscriminator",
    "FastGANGenerator",
    "Generator",
    "GumbelSoftmax",
    "MLPDiscriminator",
    "MLPGenerator",
    "Projection",
    "R3GANDiscriminator",
    "R3GANGenerator",
    "RecurrentDiscriminator",
    "RecurrentGenerator",
    "ResidualDiscriminator",
    "ResidualGenerator",
    "Softmax",
    "SpectralNorm",
    "StyleGAN2Discriminator",
    "StyleGAN2Generator",
    "TabularDiscriminator",
    "TabularGenerator",
    "Tanh",
    "TemporalDiscriminator",
    "TemporalGenerator",
]
