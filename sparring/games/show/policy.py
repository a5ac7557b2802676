"""A policy: names of what is done to images."""

from __future__ import annotations

import typing
from collections.abc import Sequence

from sparring.core.errors import RequestError, nearest
from sparring.core.protocols import DataSpec


def check_policy(owner: str, policy: Sequence[str], literal: object) -> None:
    """Refuses an empty policy, a name that is there twice, and one that is none of the choices of a `Literal`."""
    choices = typing.get_args(literal)
    if not policy:
        raise RequestError(f"{owner}: expected at least one name in policy, found none: {nearest('', choices)}")
    for name in policy:
        if name not in choices:
            raise RequestError(f"{owner}: policy has no {name!r}: {nearest(str(name), choices)}")
    if len(set(policy)) < len(policy):
        raise RequestError(f"{owner}: expected each name once in policy, found {', '.join(policy)}")


def check_images(owner: str, data: DataSpec) -> None:
    """Refuses data that are no images."""
    if not data.is_image:
        raise RequestError(
            f"{owner}: expected images, found vectors {data.shape} in {data.name}, which have no colours and places; "
            "take InstanceNoise, or show them as they are"
        )
