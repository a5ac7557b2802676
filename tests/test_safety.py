"""What strangers may send: run folders, recipes and networks are read; nothing in them is run or believed."""

from __future__ import annotations

import dataclasses
import importlib
import json
import pkgutil
import shutil
import subprocess
import sys
import time
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import sparring
from sparring.cli import main
from sparring.core.errors import RequestError
from sparring.core.spec import Spec, from_json, to_json
from sparring.data.open import Data
from sparring.recipes.images import mlp
from sparring.train.schedule import Budget

PACKAGE = Path(sparring.__file__).parent
WATCHED = Path(__file__).parent / "watched.py"
Edit = Callable[[Callable[[dict[str, Any]], None]], Path]


def watched(*arguments: str, cwd: Path | None = None) -> Any:
    """What the hook found in a process of its own."""
    done = subprocess.run([sys.executable, str(WATCHED), *arguments], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("watched")


@pytest.fixture(scope="module")
def seen(folder: Path) -> dict[str, Any]:
    """Every verb on the digits, under the hook; the run is for the tests below."""
    train = ["train", "digits", "--recipe", "mlp", "--out", str(folder / "run"), "--budget", "128img"]
    scoring = ["--set", "scoring.samples=64", "--set", "scoring.times=1", "--set", "scoring.spacing=0"]
    verbs = [
        [*train, *scoring],
        ["resume", str(folder / "run"), "--budget", "192img"],
        ["sample", str(folder / "run"), "-n", "4", "--out", str(folder / "drawn.npz")],
        ["score", str(folder / "run"), "--against", "digits", "-n", "64", "--metrics", "fid"],
        ["data", "digits"],
        ["doctor"],
    ]
    words = [word for verb in verbs for word in (*verb, "and")]
    found: dict[str, Any] = watched(str(folder), *words[:-1], cwd=folder)
    return found


def test_no_verb_unpickles_runs_connects_or_writes_elsewhere(seen: dict[str, Any]) -> None:
    assert seen == {"codes": [0] * 6, "found": []}


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import pickle; pickle.loads(pickle.dumps(len))", "pickle.find_class ('builtins', 'len')"),
        ("import marshal; marshal.loads(marshal.dumps(1))", "marshal.loads"),
        ("eval('1')", "exec of <string> by "),
        ("import os; os.system('true')", "os.system (b'true',)"),
        ("import subprocess; subprocess.run(['true'])", "subprocess.Popen ('true', "),
        ("import socket; socket.create_connection(('127.0.0.1', 9))", "socket.connect ("),
        ("import urllib.request; urllib.request.urlopen('http://127.0.0.1:9')", "urllib.Request ('http://127.0.0.1:9'"),
        ("open('../outside', 'w')", "open ../outside for writing"),
        ("import os; os.rename('inside', '../outside')", "os.rename ('inside', '../outside'"),
        ("import os; os.symlink('/etc/passwd', 'inside')", "os.symlink ('/etc/passwd'"),
        ("import os; os.mkdir('/tmp/sparring-is-not-allowed-to/do-this')", "os.mkdir ("),
        ("import sys; sys.path.insert(0, '.'); import stranger", "exec of "),
    ],
)
def test_each_forbidden_act_is_seen(code: str, said: str, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "stranger.py").write_text("x = 1\n")
    code = f"try:\n    {code}\nexcept OSError:\n    pass"
    found = watched(str(inside), "code", code, cwd=inside)
    assert [what for what in found if what.startswith(said) and "made.py by" not in what], found


def ours() -> Iterator[ModuleType]:
    """All modules of the package, imported."""
    for found in pkgutil.walk_packages(sparring.__path__, "sparring."):
        if not found.name.rpartition(".")[2].startswith("_"):
            yield importlib.import_module(found.name)


def test_no_module_of_ours_holds_what_unpickles_or_runs() -> None:
    """What the names of a module mean once it is loaded, however they got there."""
    forbidden = ("pickle", "_pickle", "marshal", "shelve", "dbm", "dill", "cloudpickle", "joblib", "runpy", "code")
    for module in ours():
        for name, value in vars(module).items():
            home = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
            assert str(home).partition(".")[0] not in forbidden, f"{module.__name__}.{name}"
            # The builtins of the module itself are not in question.
            assert name == "__builtins__" or value not in [eval, exec, compile, torch.load], f"{module.__name__}.{name}"


# Recipes.

RECIPE = to_json(mlp(Data(source="digits"), Data(source="digits").load().spec, Budget(amount=64.0, unit="images")))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one short line of a command that must be refused, soon."""
    started = time.process_time()
    code = main(list(arguments))
    said = capsys.readouterr().err
    assert code == 2
    assert time.process_time() - started < 5
    assert said.count("\n") == 1
    assert len(said) < 1000
    assert "Traceback" not in said
    return said


@pytest.fixture
def stranger(seen: dict[str, Any], folder: Path, tmp_path: Path) -> Path:
    """A run folder that came from somebody else, to be spoilt."""
    assert seen["codes"][0] == 0
    path = tmp_path / "stranger"
    shutil.copytree(folder / "run", path, ignore=shutil.ignore_patterns("*.png", "*.gif", "*.html"))
    return path


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "builtins:exec",
        "subprocess:Popen",
        "sparring.core.spec:__builtins__",
        "sparring.core.spec:Spec.__subclasses__",
        "sparring.core.spec:importlib",
        "sparring.core.execute:load_file",
        "sparring.__main__:main",
        "sparring.testing.__main__:main",
        "sparring..cli:main",
        "sparring.core.spec.:Spec",
        "sparring:Spec",
        "." * 5000 + ":x",
        "sparring." + "a" * 5000 + ":X",
        "sparring." + ".".join("a" * 2000) + ":X",
    ],
)
def test_a_recipe_names_parts_of_ours_and_nothing_else(name: str) -> None:
    with pytest.raises(RequestError) as error:
        from_json(RECIPE | {"generator": {"spec": name}})
    assert len(str(error.value)) < 400
    assert "\n" not in str(error.value)


def test_a_recipe_s_words_do_not_start_the_command_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sparring.__main__", raising=False)
    with pytest.raises(RequestError, match="not a part of sparring"):
        from_json({"spec": "sparring.__main__:main"})
    assert "sparring.__main__" not in sys.modules


def nested(depth: int) -> Any:
    data: Any = 1
    for _ in range(depth):
        data = [data]
    return data


def as_specs(depth: int) -> Any:
    data: Any = {"spec": "sparring.games.adversarial:Adversarial"}
    for _ in range(depth):
        data = {"spec": "sparring.games.adversarial:Adversarial", "objective": data}
    return data


DENSE = {"spec": "sparring.layers.dense:Dense", "units": 8}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (RECIPE | {"prior": nested(100_000)}, "50 levels deep"),
        (RECIPE | {"prior": as_specs(50_000)}, "50 levels deep"),
        (RECIPE | {str(i): 1 for i in range(1_000_000)}, "at most 1,000,000 values"),
        (RECIPE | {str(i): 1 for i in range(10_000)}, "Recipe has no field"),
        (RECIPE | {"prior": [DENSE] * 20_000}, "10,000 parts"),
        (RECIPE | {"prior": [[0] * 1000] * 2000}, "at most 1,000,000 values"),
        (RECIPE | {"name": "x" * 10_000_000}, "at most 10,000 characters, found 10,000,000"),
        (RECIPE | {"x" * 10_000_000: 1}, "at most 10,000 characters"),
        (RECIPE | {"name": [7] * 100_000}, "Recipe.name: expected str, found "),
        (RECIPE | {"name": 2**63}, "whole numbers below 2"),
        (RECIPE | {"name": -(10**4000)}, "whole numbers below 2"),
        (RECIPE | {"name": float("nan")}, "expected finite numbers, found nan"),
        (RECIPE | {"name": float("-inf")}, "expected finite numbers, found -inf"),
        (RECIPE | {"name": "two\nlines", "nane": 1}, "no field 'nane'"),
        (RECIPE | {"train": RECIPE["train"] | {"batch": 1e300}}, "Train.batch: expected int"),
        (RECIPE | {"train": RECIPE["train"] | {"batch": True}}, "Train.batch: expected int"),
        (RECIPE | {"train": RECIPE["prior"]}, "Recipe.train: expected Train"),
        (RECIPE | {"generator": [RECIPE["generator"]]}, "Recipe.generator: expected NetworkSpec"),
        (RECIPE | {"generator": RECIPE["discriminator"] | {"__class__": "x"}}, "no field '__class__'"),
        (RECIPE | {"generator": RECIPE["generator"] | {"build": "x"}}, "no field 'build'"),
    ],
    ids=range(20),
)
def test_a_hostile_recipe_is_refused_in_a_short_line_and_soon(data: Any, said: str) -> None:
    started = time.process_time()
    with pytest.raises(RequestError) as error:
        from_json(data)
    assert said in str(error.value)
    assert len(str(error.value)) < 400
    assert "\n" not in str(error.value)
    assert time.process_time() - started < 2


def classes(base: type[Spec]) -> Iterator[type[Spec]]:
    for cls in base.__subclasses__():
        if cls.__module__.startswith("sparring."):
            yield cls
        yield from classes(cls)


def some(hint: Any, levels: int) -> Any:
    """A value for a field without a default."""
    if isinstance(hint, type) and issubclass(hint, Spec):
        for cls in [hint, *classes(hint)]:
            data = least(cls, levels - 1) if levels else {}
            try:
                from_json(data)
            except RequestError:
                continue
            return data
    if typing.get_origin(hint) is tuple:
        return []
    if typing.get_args(hint):
        return some(typing.get_args(hint)[0], levels)
    return {int: 2, float: 0.5, str: "digits", bool: True}.get(hint)


def least(cls: type[Spec], levels: int = 3) -> dict[str, Any]:
    """A spec's JSON with the fields that it can't do without."""
    hints = typing.get_type_hints(cls)
    needed = [f.name for f in dataclasses.fields(typing.cast(Any, cls)) if f.default is dataclasses.MISSING]
    return {"spec": f"{cls.__module__}:{cls.__qualname__}"} | {name: some(hints[name], levels) for name in needed}


STRANGE: list[Any] = [0, -1, 2**63 - 1, 1 - 2**63, 1e308, -1e308, 5e-324, "", "x" * 10_000, "../..", True, None]
STRANGE += [[], {}, [0, -1], [2**62, 2**62], [[[]]], {"spec": "sparring.data.open:Data", "source": "x"}]


def test_any_field_of_any_part_takes_any_value_or_refuses_it() -> None:
    list(ours())
    checked = 0
    for cls in dict.fromkeys(classes(Spec)):
        data = least(cls)
        for field in dataclasses.fields(typing.cast(Any, cls)):
            for value in STRANGE:
                checked += 1
                said = ""
                try:
                    from_json(data | {field.name: value})
                except RequestError as error:
                    said = str(error)
                assert len(said) < 400, (cls, field.name)
                assert "\n" not in said, (cls, field.name)
    assert checked > 5000
