"""Sparring: two networks make each other better, and an honest judge says how good they are.

`from sparring import GAN, Generator, Discriminator` loads torch when it is used; `import sparring` alone does not.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sparring.api import GAN as GAN
    from sparring.networks.layered import Discriminator as Discriminator
    from sparring.networks.layered import Generator as Generator
    from sparring.scoring import score as score

__version__ = "0.1.0"

_HOMES = {
    "GAN": "sparring.api",
    "Generator": "sparring.networks.layered",
    "Discriminator": "sparring.networks.layered",
    "score": "sparring.scoring",
}
__all__ = ["GAN", "Discriminator", "Generator", "__version__", "score"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'sparring' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
