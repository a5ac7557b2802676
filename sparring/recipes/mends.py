"""What a run may do about its alarms, by the names that `--mend` takes."""

from __future__ import annotations

from sparring.core.errors import RequestError, nearest
from sparring.games.show import DiffAugment
from sparring.train.mend import AdaptSteps, Augment, Mend, RaisePenalty, Rollback

MENDS: dict[str, Mend] = {
    "penalty": RaisePenalty(),
    "augment": Augment(show=(DiffAugment(),)),
    "steps": AdaptSteps(),
    "rollback": Rollback(),
}


def parse_mends(text: str) -> tuple[Mend, ...]:
    """Mends from their names, each once. Raises `RequestError` for a name that there is not.

    >>> [type(mend).__name__ for mend in parse_mends("penalty,rollback")]
    ['RaisePenalty', 'Rollback']
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in MENDS:
            raise RequestError(f"--mend {name!r}: {nearest(name, MENDS)}")
    return tuple(MENDS[name] for name in dict.fromkeys(names))
