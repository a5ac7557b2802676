"""Your first GAN: two small networks, and handwritten digits that nobody wrote.

    python examples/first_gan.py            # 100 epochs: about three minutes on two cores
    python examples/first_gan.py 10         # 10 epochs, to see the game begin

Reads MNIST from $SPARRING_DATA or the cache, or downloads it (11 MB). Writes three pictures beside where you are:
`first_gan.png` (samples), `first_gan_curves.png` (losses) and `first_gan.gif` (the samples through the training).
"""

import sys

import numpy as np

from sparring import GAN, Discriminator, Generator
from sparring.data.open import Data
from sparring.layers import Activation, Dense


def main(epochs: int) -> None:
    mnist = Data(source="mnist", labels="ignore").load()
    train_X = mnist.images.numpy().reshape(len(mnist), 784).astype(np.float32) / 127.5 - 1  # [60000, 784] in [-1, 1]

    generator = Generator(
        layers=[Dense(256), Activation("relu", leaky_rate=0.01), Dense(784), Activation("tanh")],
    )
    discriminator = Discriminator(
        layers=[Dense(64), Activation("relu", leaky_rate=0.01), Dense(1), Activation("sigmoid")],
    )
    gan = GAN(generator, discriminator, lr=0.01, decay_rate=1e-4)
    gan.train(train_X, epoch=epochs, k=1, mini_batch_size=100)

    img = gan.generate(np.random.uniform(-1, 1, size=(100, 1)))  # one column of noise gives one column [784, 1]
    print("one image, as a column:", img.shape)
    rows = gan.generate(np.random.uniform(-1, 1, size=(64, 100)))  # rows of noise give rows [64, 784]
    print("64 images, as rows:", rows.shape)
    gan.frames[-1][1].save("first_gan.png")  # the last picture of the noise that is watched through the training
    gan.curves("first_gan_curves.png")
    gan.film("first_gan.gif")
    print("wrote first_gan.png, first_gan_curves.png, first_gan.gif")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
