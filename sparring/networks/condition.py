"""The ways in which a network takes a condition: a class, attributes, a vector or an image.

| | generator | discriminator |
|---|---|---|
| `Concatenation` | any condition | any condition |
| `Embedding` | class, attributes, vector | |
| `ConditionalBatchNorm` | class, attributes, vector | |
| `Projection` | | class, attributes, vector |
| `AuxiliaryHead` | | class |
"""

from __future__ import annotations

from typing import ClassVar, TypeVar

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec
from sparring.core.spec import Spec


class Condition(Spec):
    """A way in which a condition enters a network. A network's `condition` that is None is its own way."""

    takes: ClassVar[tuple[str, ...]] = ("class", "vector", "image")

    def check(self, data: DataSpec) -> None:
        """Raises `RequestError` where the data have no condition of a kind that this way can take."""
        name = type(self).__name__
        if not data.is_conditional:
            raise RequestError(
                f"{name}: labels asked of unlabelled data: {data.name} has neither classes nor other conditions; "
                "give them with the samples, or leave `condition` out"
            )
        kind = "class" if data.num_classes else "image" if len(data.y_shape) == 3 else "vector"
        if kind not in self.takes:
            expected = " or a ".join(self.takes)
            raise RequestError(
                f"{name}: expected a {expected} as condition, found {list(data.y_shape)}, the shape of those of "
                f"{data.name}: take Concatenation()"
            )


class Concatenation(Condition):
    """The condition beside the input of chosen layers, counted from 0 (Mirza and Osindero 2014).

    Beside a vector (z, or any layer of an MLP) stand the one-hot class, the vector, or an image row by row. Beside the
    channels of a grid stands a constant channel for every number, or the image itself, averaged to the grid (Isola
    et al. 2017). The least that can be done and good for images as conditions; in a discriminator weak for many
    classes, whose one-hot channels are many, for which `Projection` was made.
    """

    layers: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if not self.layers or min(self.layers) < 0 or len(set(self.layers)) < len(self.layers):
            raise RequestError(f"Concatenation.layers: expected different numbers from 0, found {self.layers}")

    def check_layers(self, network: str, most: int) -> None:
        """Raises `RequestError` where there is no layer of that number."""
        if max(self.layers) > most:
            raise RequestError(
                f"Concatenation.layers: {network} takes conditions at layers 0 to {most}, found {self.layers}"
            )


class Embedding(Condition):
    """A learned vector e(y) of `dim` numbers beside z, one for every class, or e(y) = W y for vectors.

    Entries for classes start standard normal, as loud as z. For many classes, of which one-hot would be mostly zeros,
    or classes that resemble each other: `dim` below their number makes them share what they have in common.
    """

    takes: ClassVar[tuple[str, ...]] = ("class", "vector")
    dim: int = 64

    def __post_init__(self) -> None:
        if self.dim < 1:
            raise RequestError(f"Embedding.dim: expected at least 1, found {self.dim}")


class ConditionalBatchNorm(Condition):
    """Every normalisation scales and shifts by the condition (Dumoulin et al. 2017, "A learned representation for
    artistic style", equation 5; de Vries et al. 2017): γ(y) x̂ + β(y), with γ and β linear in y.

    The condition is heard at every level, and has no say before it is learned. z enters as without conditions. An
    MLP, which has no normalisation otherwise, is given one after each hidden layer.
    """

    takes: ClassVar[tuple[str, ...]] = ("class", "vector")


class Projection(Condition):
    """logit = w·φ(x) + b + e(y)·φ(x) (Miyato and Koyama 2018, equation 3), φ what the last layer reads.

    e starts at zero, so that conditions have no say before they are learned. e(y) is a row for every class, and V y for
    attributes and vectors, as if the logit's part of y were a sum over them.
    """

    takes: ClassVar[tuple[str, ...]] = ("class", "vector")


class AuxiliaryHead(Condition):
    """The discriminator does not see the class, it tells it: class logits from a second head on the same features
    (Odena, Olah and Shlens 2017). To be trained by the game `AuxiliaryClassifier`; another game leaves the head alone,
    and the generator's classes then mean nothing."""

    takes: ClassVar[tuple[str, ...]] = ("class",)


C = TypeVar("C", bound=Condition)


def chosen(asked: C | None, data: DataSpec, own: C) -> C | None:
    """The way that was asked for, checked; the network's `own` where none was; None for data without conditions."""
    if asked is None:
        return own if data.is_conditional else None
    asked.check(data)
    return asked
