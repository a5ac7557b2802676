"""Keras-like building blocks: say what layers there are, and their input shapes are inferred."""

from sparring.layers.activation import Activation
from sparring.layers.batchnorm import BatchNormalization
from sparring.layers.conditional_batchnorm import ConditionalBatchNormalization
from sparring.layers.conv import Conv2D, Conv2DTranspose
from sparring.layers.dense import Dense
from sparring.layers.dropout import Dropout
from sparring.layers.layer import Layer, build_stack
from sparring.layers.minibatch_discrimination import MinibatchDiscrimination
from sparring.layers.minibatch_std import MinibatchStd
from sparring.layers.pooling import Pooling2D
from sparring.layers.shape import Flatten, Reshape
from sparring.layers.upsampling import UpSampling2D

__all__ = [
    "Activation",
    "BatchNormalization",
    "ConditionalBatchNormalization",
    "Conv2D",
    "Conv2DTranspose",
    "Dense",
    "Dropout",
    "Flatten",
    "Layer",
    "MinibatchDiscrimination",
    "MinibatchStd",
    "Pooling2D",
    "Reshape",
    "UpSampling2D",
    "build_stack",
]
