"""Free memory, from what the system says of itself."""

import os
from pathlib import Path

import pytest

from sparring.core.free import all_bytes, free_bytes


def test_files_that_the_system_keeps_in_memory_count_as_free(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        "/proc/meminfo": "MemTotal: 9000 kB\nMemAvailable: 5000 kB\n",
        "/proc/self/cgroup": "0::/job\n",
        "/sys/fs/cgroup/job/memory.max": "3000000\n",
        "/sys/fs/cgroup/job/memory.current": "2900000\n",
        "/sys/fs/cgroup/job/memory.stat": "anon 1000000\ninactive_file 1200000\nactive_file 600000\n",
    }
    monkeypatch.setattr(Path, "read_text", lambda path: texts[str(path)])
    assert free_bytes() == 1_900_000
    texts["/sys/fs/cgroup/job/memory.max"] = "max\n"
    assert free_bytes() == 5_120_000


def test_free_memory_is_a_share_of_the_machines() -> None:
    assert 2**26 < free_bytes() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_a_machine_that_tells_nothing_has_its_usual_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(path: Path) -> str:
        raise OSError

    monkeypatch.setattr(Path, "read_text", silent)
    assert free_bytes() == all_bytes() == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    monkeypatch.setattr(os, "sysconf", lambda name: (_ for _ in ()).throw(ValueError(name)))
    assert all_bytes() == 2**34
