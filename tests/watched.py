"""The command under an audit hook: python tests/watched.py FOLDER VERB ... [and VERB ...]; prints what it must not do.

https://docs.python.org/3/library/audit_events.html; PEP 578. The hook stands before anything of the package is loaded.
Forbidden is: unpickling, running what was read, starting processes, the network, and writing outside of FOLDER. Three
things look like it and are not, each told apart by who calls: modules being imported from where Python and its
packages are installed; `typing`, which evaluates the annotations of our own classes; and Jinja, which compiles the one
template of our own.
"""

from __future__ import annotations

import json
import os
import sys
import sysconfig
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

INSTALLED = tuple(
    os.path.realpath(place) + os.sep
    for place in (
        *sysconfig.get_paths().values(),
        sys.base_prefix,
        Path(__file__).parent.parent / "sparring",
    )
)
EVALUATES_ANNOTATIONS, COMPILES_OUR_TEMPLATE = "typing.py", str(Path("jinja2", "environment.py"))
ONLY_PARSES = "ast.py"
RUNS = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn", "subprocess.Popen")
WRITES = (
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "os.chown",
)

found: list[str] = []
folder = ""


def installed(path: str) -> bool:
    return os.path.realpath(path).startswith(INSTALLED)


def importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported, somewhere up from here."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def outside(path: Any) -> bool:
    """Whether a path that is written to lies outside of the folder; /dev/null is nowhere."""
    if isinstance(path, int):
        return False
    real = os.path.realpath(os.fsdecode(path))
    return real != folder and not real.startswith(folder + os.sep) and real != os.devnull


def complaint(event: str, args: tuple[Any, ...]) -> str | None:
    if event == "pickle.find_class" or event.startswith(("socket.", "urllib.", "http.")) or event in RUNS:
        return f"{event} {args!r:.200}"
    if event in ("marshal.loads", "marshal.load", "exec", "compile"):
        caller = sys._getframe(2)
        if event.startswith("marshal"):
            return None if importing(caller) else event
        # Either may come without a name of a file: of a namedtuple, of an annotation.
        name = args[0].co_filename if isinstance(args[0], CodeType) else str(args[1])
        own = name.startswith("<") or installed(name)
        if importing(caller) and own:
            return None
        while caller.f_code.co_filename.startswith("<frozen") and caller.f_back is not None:
            caller = caller.f_back
        by = caller.f_code.co_filename
        excused = (EVALUATES_ANNOTATIONS, COMPILES_OUR_TEMPLATE, *((ONLY_PARSES,) if event == "compile" else ()))
        if not (installed(by) and by.endswith(excused)):
            return f"{event} of {name} by {by}"
    if event == "ctypes.dlopen" and args[0] is not None and not installed(str(args[0])):
        return f"{event} {args[0]}"
    if event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        return f"open {args[0]} for writing" if outside(args[0]) else None
    if event in WRITES and any(outside(path) for path in args[: 2 if event in WRITES[:1] + WRITES[4:6] else 1]):
        return f"{event} {args!r:.200}"
    return None


def hook(event: str, args: tuple[Any, ...]) -> None:
    said = complaint(event, args)
    if said is not None:
        found.append(said)


def main() -> None:
    global folder
    folder = os.path.realpath(sys.argv[1])
    os.environ["SPARRING_CACHE"] = str(Path(folder, "cache"))
    sys.dont_write_bytecode = True
    sys.addaudithook(hook)
    if sys.argv[2] == "code":  # a test of this file
        exec(compile(sys.argv[3], str(Path(INSTALLED[0], "made.py")), "exec"), {})
        print(json.dumps(found))
        return
    from sparring.cli import main as command

    codes, arguments = [], list[str]()
    for word in [*sys.argv[2:], "and"]:
        if word == "and":
            codes.append(command(arguments))
            arguments = []
        else:
            arguments.append(word)
    files = {str(getattr(module, "__file__", None) or "") for module in sys.modules.values()} - {__file__}
    # Modules that torch makes up have names of files that are nowhere.
    found.extend(f"imported {file}" for file in sorted(files) if Path(file).is_file() and not installed(file))
    print("\n" + json.dumps({"codes": codes, "found": found}))


if __name__ == "__main__":
    main()
