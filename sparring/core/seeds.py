"""Random numbers that need no memory: every seed is a pure function of the run's seed, a purpose and a position.

So a resumed run draws what an uninterrupted one would have drawn, and a score in between changes nothing.
"""

from __future__ import annotations

import zlib

_MASK = (1 << 64) - 1


def derive(seed: int, purpose: str, *position: int) -> int:
    """A 63-bit seed from the run's seed, the name of a purpose and any number of integers.

    Each value is folded in with the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), so neighbouring
    positions give unrelated seeds.

    >>> derive(0, "noise", 64) == derive(0, "noise", 64)
    True
    >>> len({derive(s, p, i) for s in range(10) for p in ("noise", "order") for i in range(100)})
    2000
    """
    state = seed & _MASK
    for value in (zlib.crc32(purpose.encode()), *position):
        state = (state + value + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state >> 1
