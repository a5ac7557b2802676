"""What a run does about its health: it follows the looks, says what is alarming, and mends what its recipe lets it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from sparring.core.game import Game
from sparring.train.health import Alarm, Means, Watch, learned_by_heart
from sparring.train.mend import SAFE, Changes, Mend, Mending, Rollback
from sparring.train.signals import Signals

Positions = Mapping[str, Tensor]
"""Live tensors of the players and of the game's memory, by name."""


class Care:
    """The alarms that stand, the changes that were made, and the positions that can be gone back to."""

    def __init__(self, game: Game, mends: Sequence[Mend]) -> None:
        self.recipe_game = game
        self.mends = mends
        self.watch = Watch((), {})
        self.changes = Changes()
        self.kept: dict[str, dict[str, Tensor]] = {}
        """The last `good` positions, and `newer` ones that have yet to prove themselves."""

    @property
    def game(self) -> Game:
        """The game as it is played now."""
        return self.changes.apply(self.recipe_game, self.mends)

    def follow(self, signals: Signals, means: Means) -> tuple[list[Alarm], dict[str, float]]:
        """After a look: what is new to be alarmed at, and how much is learned by heart where that is known."""
        self.watch, alarms = self.watch.follow(signals, means)
        share = learned_by_heart(self.watch.history)
        return alarms, {} if share is None else {"overfit": share}

    def act(self, game: Game, positions: Positions) -> list[Mending]:
        """After a look: does what the recipe lets the run do about its alarms in the game that is played.

        Raises `TrainingError` where a mend is at its end.
        """
        calm = 0 if self.watch.standing else self.changes.calm + 1
        self.changes = self.changes._replace(calm=calm, settled=self.changes.settled + 1)
        pressing = self.watch.pressing()
        mendings = []
        for mend in self.mends:
            done = mend.act(self.changes, pressing, self.watch, game)
            if done is not None:
                before, (self.changes, mending) = self.changes, done
                if self.changes.rollbacks > before.rollbacks:
                    self._roll_back(positions)
                mendings.append(mending)
        if not mendings and calm and calm % SAFE == 0:
            self.keep(positions)
        return mendings

    def keep(self, positions: Positions) -> None:
        """Copies the positions for a roll-back, where the recipe asks for one."""
        if any(isinstance(mend, Rollback) for mend in self.mends):
            newer = {name: tensor.clone() for name, tensor in positions.items()}
            # Never the same tensors twice: a checkpoint holds both.
            good = self.kept.get("newer") or {name: tensor.clone() for name, tensor in newer.items()}
            self.kept = {"good": good, "newer": newer}

    def _roll_back(self, positions: Positions) -> None:
        """All as it was when all was well. The clock goes on, so what follows is other noise and data."""
        for name, tensor in positions.items():
            tensor.data.copy_(self.kept["good"][name])
        self.kept["newer"] = {name: tensor.clone() for name, tensor in self.kept["good"].items()}
        self.watch = Watch((), {})

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What is kept, by name, and plain data."""
        tensors = {f"{which}.{k}": v for which, kept in self.kept.items() for k, v in kept.items()}
        return tensors, {"watch": self.watch.to_json(), "changes": self.changes._asdict()}

    def load(self, good: dict[str, Tensor], newer: dict[str, Tensor], meta: Mapping[str, Any]) -> None:
        """Takes a state back in."""
        self.watch = Watch.from_json(meta["watch"])
        self.kept = {which: kept for which, kept in (("good", good), ("newer", newer)) if kept}
        self.changes = Changes(**meta["changes"])
