"""How discriminators end: a linear logit of their features, what a condition adds to it, and classes that are told.

logit = w·φ(x) + b,   and e(y)·φ(x) beside it for a `Projection` (Miyato and Koyama 2018, equation 3)
"""

from __future__ import annotations

from torch import Tensor, nn

from sparring.core.protocols import DataSpec
from sparring.networks.condition import Condition, Projection
from sparring.networks.labels import VectorEmbedding, require, table


class Judging(nn.Module):
    """A discriminator's module, which says what φ is and calls `end_in` when the rest of it is made."""

    data: DataSpec
    head: nn.Linear
    embedding: nn.Embedding | VectorEmbedding | None

    def end_in(self, data: DataSpec, features: int, condition: Condition | None) -> None:
        """Makes the head of so many features, and e, zero at first, where the condition is a `Projection`."""
        self.data = data
        self.head = nn.Linear(features, 1)
        self.embedding = None
        if isinstance(condition, Projection):
            self.embedding = table(data, features)
            nn.init.zeros_(self.embedding.weight)

    def features(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """φ(x) [B, F]."""
        raise NotImplementedError(f"{type(self).__name__} must define features()")

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        features = self.features(x, y)
        logits: Tensor = self.head(features).squeeze(1)
        if self.embedding is not None:
            logits = logits + (self.embedding(require(y, self.data, x)) * features).sum(1)
        return logits


class TellingClasses(Judging):
    """A discriminator that does not see classes and tells them, from the same features."""

    classifier: nn.Linear

    def end_in(self, data: DataSpec, features: int, condition: Condition | None) -> None:
        super().end_in(data, features, condition)
        self.classifier = nn.Linear(features, data.num_classes)

    def forward_with_classes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B] and class logits [B, num_classes]."""
        features = self.features(x)
        return self.head(features).squeeze(1), self.classifier(features)
