"""Python files that the user names on the command line: FILE.py:FUNCTION. Nothing else is ever executed from a file."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from sparring.core.errors import RequestError


def load_file(name: str, *, option: str, kind: str) -> ModuleType:
    """The module of FILE.py:FUNCTION, called `sparring_<kind>_<file>`; executes the file, once in a process.

    `option` is what the name was given to, for the messages. Raises `RequestError` for a name of another form, a file
    that is not there, and a file that fails.
    """
    file = Path(name.rpartition(":")[0])
    if file.suffix != ".py" or not file.is_file():
        raise RequestError(f"{option} {name!r}: expected FILE.py:FUNCTION of an existing file")
    file = file.resolve()
    module_name = f"sparring_{kind}_{file.stem}"
    if getattr(sys.modules.get(module_name), "__file__", None) != str(file):
        spec = importlib.util.spec_from_file_location(module_name, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module  # before it runs: dataclasses look their module up
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[module_name]
            raise RequestError(f"{option} {name!r}: {file} fails with {type(error).__name__}: {error}") from error
    return sys.modules[module_name]


def load_function(name: str, *, option: str, kind: str) -> Callable[..., Any]:
    """The function of FILE.py:FUNCTION; executes the file as `load_file` does. Raises `RequestError` without one."""
    found = getattr(load_file(name, option=option, kind=kind), name.rpartition(":")[2], None)
    if not callable(found):
        raise RequestError(f"{option} {name!r}: the file defines no function {name.rpartition(':')[2]!r}")
    return found  # type: ignore[no-any-return]
