"""Where a run is played, and what of that has changed when it goes on: how much of its sameness can still be promised.

A run is a function of its recipe, data and seed to the last bit on one machine with one version of everything. What is
written here is what that bit depends on beside them.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sparring import __version__

_ROUNDING = "the last bits of what follows may differ"
_MEANS = {
    "device": _ROUNDING,
    "hardware": _ROUNDING,
    "threads": _ROUNDING,
    "processes": _ROUNDING,
    "torch": _ROUNDING,
    "python": "nothing should differ",
    "sparring": "what follows may be made in another way",
    "code": "what follows may be made in another way",
    "recipe_file": "nothing can be promised of what follows",
}
"""What it means when one of these is another than before."""


def environment(device: torch.device, recipe_file: Path | None, processes: int = 1) -> dict[str, Any]:
    """What `recipe.json` keeps of the machine, the versions and the code; `recipe_file` is the user's own, if any."""
    found = {
        "device": device.type,
        "hardware": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "processes": processes,
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "sparring": __version__,
        "code": code_hash(Path(__file__).parent),
    }
    return found if recipe_file is None else found | {"recipe_file": _hash(recipe_file.read_bytes())}


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What is not as it was, each with what can no longer be promised; what was not noted before is left out.

    >>> differences({"threads": 1, "torch": "2.13.0"}, {"threads": 4, "torch": "2.13.0", "device": "cpu"})
    ['threads was 1 and is 4: the last bits of what follows may differ']
    """
    return [
        f"{name.replace('_', ' ')} was {_shown(before[name])} and is {now.get(name, 'not given')}: {means}"
        for name, means in _MEANS.items()
        if name in before and before[name] != now.get(name)
    ]


def code_hash(package: Path) -> str:
    """The first 16 digits of a SHA-256 of all Python files of a package, by name and content."""
    files = sorted(package.rglob("*.py"), key=lambda path: path.relative_to(package).as_posix())
    return _hash(b"".join(f"{_hash(p.read_bytes())} {p.relative_to(package).as_posix()}\n".encode() for p in files))


def _shown(value: Any) -> str:
    """What a file from elsewhere says, as part of one line."""
    return "".join(c if c.isprintable() else "?" for c in str(value)[:60])


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
