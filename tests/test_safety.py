"""What strangers may send: run folders, recipes and networks are read; nothing in them is run or believed."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import json
import pkgutil
import re
import resource
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
from sparring.data import named
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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"format": 1, "recipe": ' + "[" * 100_000 + "]" * 100_000 + "}", "recipe.json: "),
        ('{"format": 1, "recipe": ' + "[" * 900 + "]" * 900 + "}", ""),
        ('{"format": 1, "recipe": {"spec": ' + "9" * 5000 + "}}", "recipe.json: "),
        ('{"format": 1, "recipe": 1e999}', ""),
        ('{"format": 1, "recipe": NaN}', ""),
        ('{"format": 1, "recipe": {"spec": "a:b", "spec": "os:system"}}', "recipe.json: "),
        ('{"format": 1, "format": 1}', "recipe.json: "),
        ("[1]", "expected a JSON object"),
        ('{"format": [[1]]}', "reads format"),
        ('{"format": ' + "[" * 5000 + "]" * 5000 + "}", ""),
        ('{"format": "' + "9" * 100_000 + '"}', "reads format"),
        ('{"format": 1, "recipe": null, "data": null}', ""),
        ('{"format": 1}', ""),
        ('{"format": 1, "recipe": [[]], "data": 7}', ""),
        ("{" + ",".join(f'"{i}": 1' for i in range(100_000)) + "}", "reads format"),
        ("\ufeff{}", ""),
        ("", "not JSON"),
        ("\x00" * 100, "not JSON"),
    ],
    ids=range(18),
)
def test_a_hostile_recipe_file_is_refused_by_each_verb(
    text: str, said: str, stranger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (stranger / "recipe.json").write_text(text, encoding="utf-8")
    out = stranger.parent / "out.png"
    for verb in (["resume", str(stranger)], ["sample", str(stranger), "--out", str(out)]):
        assert said in refused(capsys, *verb)
    assert not out.exists()


# Folders.


def test_a_recipe_file_that_a_folder_mentions_is_not_run(
    stranger: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = f"from pathlib import Path; Path({str(stranger.parent / 'ran')!r}).touch()"
    for place in (stranger, stranger.parent):
        (place / "mine.py").write_text(marks)
    monkeypatch.chdir(stranger)
    monkeypatch.syspath_prepend(str(stranger))
    name = f"{stranger / 'mine.py'}:mine"

    def mention(data: dict[str, Any]) -> None:
        data["origin"] = name
        data["recipe"]["name"] = name
        data["recipe"]["scoring"]["features"] = name

    edit(stranger / "recipe.json", mention)
    assert "mine.py" in refused(capsys, "resume", str(stranger), "--budget", "256img")
    assert main(["sample", str(stranger), "-n", "4", "--out", str(stranger.parent / "out.png")]) == 0
    for spec in ("mine:Recipe", "sparring_recipe_mine:Generator", name):
        edit(stranger / "recipe.json", lambda data, spec=spec: data["recipe"]["generator"].update(spec=spec))  # type: ignore[misc]
        refused(capsys, "resume", str(stranger))
        refused(capsys, "sample", str(stranger), "--out", str(stranger.parent / "other.png"))
        refused(capsys, "score", str(stranger), "--against", "digits", "-n", "64", "--metrics", "fid")
    assert not (stranger.parent / "ran").exists()


@pytest.mark.parametrize("name", ["../../outside/000000000192", "/etc/passwd", "..", "", 7, None, ["x"], "0" * 5000])
def test_the_best_checkpoint_is_one_of_the_folder_s(
    name: object, stranger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = stranger.parent / "outside"
    shutil.copytree(stranger / "checkpoints", outside)
    for path in outside.glob("*.json"):
        path.write_text("{}")
    best = stranger / "checkpoints" / "best.json"
    best.write_text(json.dumps({"checkpoint": name}))
    out = stranger.parent / "out.png"
    code = main(["sample", str(stranger), "-n", "4", "--out", str(out)])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert len(said.err) < 1000
    # Either it is said and another one is taken, or nothing is drawn; a checkpoint elsewhere is not even opened.
    assert code == (0 if out.exists() else 2)
    assert "outside" not in said.out


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("name", ["samples", "advice", "checkpoints", "model"])
def test_a_folder_that_is_a_link_out_is_not_written_to(
    name: str, stranger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = stranger.parent / "outside"
    outside.mkdir()
    (outside / "000000999999.png").write_bytes(b"a picture of mine")
    if (stranger / name).exists():
        shutil.copytree(stranger / name, outside, dirs_exist_ok=True)
        shutil.rmtree(stranger / name)
    (stranger / name).symlink_to(outside)
    before = listing(outside)
    assert "link" in refused(capsys, "resume", str(stranger), "--budget", "256img")
    assert listing(outside) == before


@pytest.mark.parametrize("name", ["log.jsonl", "scores.jsonl", "alarms.jsonl", "recipe.json", "data.json"])
def test_a_file_that_is_a_link_out_is_not_written_to(
    name: str, stranger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = stranger.parent / "mine"
    outside.write_bytes((stranger / name).read_bytes() if (stranger / name).exists() else b"")
    (stranger / name).unlink(missing_ok=True)
    (stranger / name).symlink_to(outside)
    before = outside.read_bytes()
    main(["resume", str(stranger), "--budget", "256img"])
    assert outside.read_bytes() == before
    assert "Traceback" not in capsys.readouterr().err


@pytest.fixture
def _little_memory() -> Iterator[None]:
    """A little more than there is, so that what should be refused and is not fails instead of filling the machine."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 3 * 2**30, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


LIES: list[tuple[str, dict[str, Any]]] = [
    ("generator", {"width": 10**6, "depth": 2}),
    ("generator", {"width": 2**40}),
    ("generator", {"width": 1000, "depth": 100}),
    ("prior", {"dim": 10**12}),
    ("prior", {"dim": 2**62}),
]


@pytest.mark.usefixtures("_little_memory")
@pytest.mark.parametrize(("part", "change"), LIES, ids=range(len(LIES)))
@pytest.mark.parametrize("verb", ["sample", "resume", "score"])
def test_a_network_larger_than_its_weights_is_refused_before_it_is_made(
    part: str, change: dict[str, Any], verb: str, stranger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(stranger / "recipe.json", lambda data: data["recipe"][part].update(change))
    more = {
        "sample": ["--out", str(stranger.parent / "out.png")],
        "resume": ["--budget", "256img"],
        "score": ["--against", "digits", "-n", "64", "--metrics", "fid"],
    }
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    said = refused(capsys, verb, str(stranger), *more[verb])
    assert "which its weights cannot hold" in said or "a network that cannot be made" in said
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


@pytest.mark.usefixtures("_little_memory")
@pytest.mark.parametrize("shape", [[1, 10**6, 10**6], [10**12], [1, 2**40, 8], [0], [], [-1, 8, 8]])
def test_data_that_a_folder_makes_up_are_refused(
    shape: list[int], stranger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(stranger / "recipe.json", lambda data: data["data"].update(shape=shape))
    said = refused(capsys, "sample", str(stranger), "--out", str(stranger.parent / "out.png"))
    assert any(why in said for why in ("a network that cannot be made", "Dense: units", "does not fit the recipe"))


# Downloads, and what is installed.


def constants(path: Path) -> list[str]:
    """The texts in a module that are no docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in said]
    return [node.value for node in nodes if isinstance(node.value, str)]


def test_every_address_is_safe_and_has_hashes_beside_it() -> None:
    found = 0
    for path in PACKAGE.rglob("*.py"):
        texts = constants(path)
        # Other modules only ask whether an address is a safe one.
        addresses = [text for text in texts if "://" in text and text != "https://"]
        found += len(addresses)
        assert all(text.startswith("https://") for text in addresses), path
        assert not addresses or any(re.fullmatch(r"[0-9a-f]{64}", text) for text in texts), path
    assert found >= 6
    sets = [remote for known in (named.MNIST, named.FASHION_MNIST) for pair in known.files.values() for remote in pair]
    for remote in [*sets, named.CIFAR10]:
        assert len(bytes.fromhex(remote.sha256)) == 32
        assert 1000 < remote.size < 2**30


def test_only_two_places_download() -> None:
    asks = [
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if re.search(
            r"pooch\.retrieve|import requests|urllib\.request|http\.client|urlopen|huggingface_hub", path.read_text()
        )
    ]
    assert sorted(asks) == [str(Path("core", "download.py")), str(Path("data", "hub.py"))]


@pytest.fixture(scope="module")
def audit() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent.parent / "bench")
        yield importlib.import_module("audit")


def test_nothing_that_is_installed_or_allowed_has_a_known_hole(audit: ModuleType) -> None:
    assert audit.affected(audit.installed()) == []
    assert audit.affected(audit.constrained((audit.ROOT / "constraints.txt").read_text())) == []
    assert audit.affected(audit.least((audit.ROOT / "pyproject.toml").read_text())) == []


def test_the_audit_finds_what_is_wrong(audit: ModuleType) -> None:
    old = {"pillow": "12.1.0", "torch": "2.9.1+cpu", "numpy": "2.4.6"}
    said = audit.affected(old)
    assert [text.split(":")[0] for text in said].count("pillow 12.1.0") == 9
    assert sum("CVE-2026-24747" in text for text in said) == 1
    assert not any(text.startswith("numpy") for text in said)
    assert not any("CVE-2026-25990" in text for text in audit.affected({"pillow": "10.2.0"}))  # older than the fault
    wanted = audit.constrained("# why\nPillow==13.0.0\ntorch==2.9.1\n")
    assert audit.differences(old, wanted) == [
        "pillow 12.1.0: constraints.txt has 13.0.0",
        "numpy 2.4.6: not in constraints.txt",
    ]
    bounds = audit.least(
        '[project]\ndependencies=["Pillow>=12.1.1","b"]\n[project.optional-dependencies]\nx=["onnx>=1"]'
    )
    assert bounds == {"pillow": "12.1.1", "onnx": "1"}
    with pytest.raises(ValueError, match="expected NAME==VERSION"):
        audit.constrained("torch>=2")
