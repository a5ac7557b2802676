"""Runs `sparring` once for each request, in one process that has loaded all that it needs.

    python worker.py

Says `ready`. A request is a line of JSON on standard input: arguments, folder (where it runs), seconds (of work,
after which a signal ends the process), and where they are true alone (in a child) and nobody (in a child, and where we
are root as a user who owns nothing). The answer is a line of JSON: code, out, err, and mebibytes, the most
memory that was held beyond what was held at first.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

STOP = 4 << 30
"""Bytes of addresses beyond our own where an allocation fails, so that no test can fill the machine."""
NOBODY = 65534
WAITED = 6
"""Seconds of the clock for each second of work: what waits for ever does no work, what is crowded out does little."""


def held(what: str) -> int:
    """A line of what Linux tells of this process, in KiB."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith(what)))


def _play(request: dict[str, Any]) -> int:
    """The exit code; 1 for whatever `main` should not have let through."""
    from sparring.cli import main

    kept = [os.dup(stream) for stream in (1, 2)]
    for name, stream in (("out", 1), ("err", 2)):
        file = os.open(f"{request['folder']}/../{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, stream)
        os.close(file)
    os.chdir(request["folder"])
    if request.get("nobody") and os.getuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    signal.setitimer(signal.ITIMER_PROF, request["seconds"])
    signal.alarm(WAITED * request["seconds"])
    code = 1
    try:
        code = main(request["arguments"])
    except SystemExit as error:
        code = int(str(error.code))
    except BaseException:
        traceback.print_exc()
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.alarm(0)
    sys.stdout.flush()
    sys.stderr.flush()
    for stream, file in zip((1, 2), kept, strict=True):
        os.dup2(file, stream)
        os.close(file)
    return code


def _run(request: dict[str, Any], before: int) -> dict[str, Any]:
    if request.get("alone") or request.get("nobody"):
        child = os.fork()
        if child == 0:
            os._exit(_play(request))
        _, status, used = os.wait4(child, 0)
        code, most = os.waitstatus_to_exitcode(status), used.ru_maxrss
    else:
        ctypes.CDLL(None).malloc_trim(0)  # what the last request left is not counted to this one
        Path("/proc/self/clear_refs").write_text("5")  # the most that is held is counted anew
        code, most = _play(request), held("VmHWM")
    above = Path(request["folder"]).parent
    out, err = ((above / name).read_bytes().decode("utf-8", "replace") for name in ("out", "err"))
    return {"code": code, "out": out, "err": err, "mebibytes": max(0, most - before) >> 10}


if __name__ == "__main__":
    import torch
    from PIL import Image

    import sparring.commands
    import sparring.data.images  # noqa: F401

    torch.set_num_threads(1)
    Image.init()  # all that is imported on the way, before somebody without rights must find it
    size = held("VmSize") * 1024 + STOP
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    at_first = held("VmRSS")
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(_run(json.loads(line), at_first)), flush=True)
