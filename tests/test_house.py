"""The order of the house: who may import whom, and what is not loaded before it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "sparring"
MAY_SEE = {
    "core": set[str](),
    "layers": {"core"},
    "networks": {"core", "layers"},
    "games": {"core", "layers"},
    "data": {"core", "layers"},
    "metrics": {"core", "layers"},
    "train": {"core", "layers"},
    "pictures": {"core"},
    "report": {"core", "metrics", "pictures"},
    "recipes": {"core", "layers", "networks", "games", "data", "metrics", "train"},
    "testing": {"core", "layers", "networks", "games", "data", "train"},
}


CHECKED_BY_HASH = PACKAGE / "metrics" / "features" / "published.py"
"""Reads what others publish, once its hash fits; what happens when it does not is in that file's test."""
NAMED_BY_THE_USER = PACKAGE / "core" / "execute.py"


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "sparring":
                names = [f"sparring.{alias.name}" for alias in node.names if not alias.name.startswith("_")]
        rooms |= {name.split(".")[1] for name in names if name.startswith("sparring.")}
    return rooms


@pytest.mark.parametrize("room", MAY_SEE)
def test_imports_run_one_way(room: str) -> None:
    files = list((PACKAGE / room).rglob("*.py"))
    assert files
    wrong = {str(f.relative_to(PACKAGE)): imported_rooms(f) - MAY_SEE[room] - {room} for f in files}
    assert {name: rooms for name, rooms in wrong.items() if rooms} == {}


def test_every_room_has_its_rule() -> None:
    assert {p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__"} == set(MAY_SEE)


@pytest.mark.parametrize("code", ["import sparring", "from sparring import cli; cli.parser().format_help()"])
def test_torch_is_not_loaded_before_it_is_used(code: str) -> None:
    checked = f"import sys; {code}; assert 'torch' not in sys.modules; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", checked], check=True)


def test_only_one_place_makes_gradients() -> None:
    makers = [
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if ".backward(" in path.read_text(encoding="utf-8")
    ]
    assert makers == ["train/phase.py"]


def risks(path: Path) -> Iterator[str]:
    """Whatever in a file could run what it reads."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [a.name for a in node.names] + [getattr(node, "module", None) or ""]
            yield from (
                name for name in names if name.split(".")[0] in ("pickle", "marshal", "shelve", "dill", "joblib")
            )
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            said = {keyword.arg: getattr(keyword.value, "value", None) for keyword in node.keywords}
            if called in ("eval", "exec", "torch.jit.load") or "torch.hub" in called:
                yield called
            if called == "torch.load" and not (path == CHECKED_BY_HASH and said.get("weights_only") is True):
                yield f"{called} of anything but bytes of a known hash, or not restricted to tensors"
            if called.endswith("exec_module") and path != NAMED_BY_THE_USER:
                yield f"{called} of a file that the user did not name"
            if (called in ("np.load", "numpy.load") or "allow_pickle" in said) and said.get(
                "allow_pickle"
            ) is not False:
                yield f"{called} without allow_pickle=False"


def test_nothing_is_unpickled_or_executed() -> None:
    found = {str(path.relative_to(PACKAGE)): list(risks(path)) for path in PACKAGE.rglob("*.py")}
    assert {name: what for name, what in found.items() if what} == {}


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "eval(text)",
        "torch.load(file)",
        "torch.load(file, weights_only=True)",
        "torch.jit.load(file)",
        "torch.hub.load_state_dict_from_url(url)",
        "spec.loader.exec_module(module)",
        "np.load(file)",
    ],
)
def test_each_risk_is_seen(code: str, tmp_path: Path) -> None:
    (tmp_path / "published.py").write_text(code)
    assert len(list(risks(tmp_path / "published.py"))) == 1


@pytest.mark.parametrize("code", ["torch.load(file, weights_only=False)", "torch.load(file)", "import pickle"])
def test_where_tensors_may_be_read_all_else_is_a_risk(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "CHECKED_BY_HASH", tmp_path / "published.py")
    (tmp_path / "published.py").write_text(code)
    assert len(list(risks(tmp_path / "published.py"))) == 1
