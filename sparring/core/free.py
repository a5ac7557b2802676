"""How much memory there is for the taking."""

from __future__ import annotations

import os
from pathlib import Path


def all_bytes() -> int:
    """Bytes of memory that this machine has; 16 GiB where it does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2**34


def free_bytes() -> int:
    """Bytes that this process may still take: what the machine and its own control group have left, with the pages of
    files that the system would give back."""
    free = all_bytes()
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        pass
    try:
        group = Path("/sys/fs/cgroup", Path("/proc/self/cgroup").read_text().strip().rpartition("::/")[2])
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        lines = (group / "memory.stat").read_text().splitlines()
        cached = sum(int(line.split()[1]) for line in lines if line.startswith(("active_file ", "inactive_file ")))
        return max(0, min(free, limit - used + cached))
    except (OSError, ValueError):  # no group, or no limit ("max")
        return free
