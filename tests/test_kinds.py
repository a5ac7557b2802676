"""Series, texts and tables from the command line: a file in, a file of the same form out, and exactly resumed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from sparring.cli import main
from sparring.data.open import Data
from sparring.recipes.automatic import choose
from sparring.testing.play import check_recipe
from sparring.train.schedule import Budget


def table(path: Path) -> Path:
    random = np.random.default_rng(0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["height", "count", "when", "kind"])
        for i in range(120):
            kind = ["a", "b", "c"][i % 3]
            height = f"{random.normal(i % 3, 0.3):.2f}" if i % 10 else ""
            day = f"2024-0{1 + i % 9}-1{i % 7}"
            writer.writerow([height, int(random.integers(0, 500)), day, kind])
    return path


def series(path: Path) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["date", "warmth", "load"])
        for i in range(60):
            writer.writerow([f"2024-01-{1 + i // 24:02d} {i % 24:02d}:00", f"{np.sin(i / 4):.2f}", 50 + i % 24])
    return path


def words(path: Path) -> Path:
    path.write_text("\n".join(f"{a}{b}{c}" for a in "btk" for b in "aeiou" for c in ("", "n", "st")) + "\n")
    return path


KINDS = {"table": (table, "rows.csv"), "series": (series, "hours.csv"), "text": (words, "words.txt")}
BUDGET = ["--budget", "1280img", "--set", "train.batch=64", "--set", "scoring.times=1", "--set", "scoring.samples=128"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of each kind, of 20 steps."""
    place = tmp_path_factory.mktemp("kinds")
    for kind, (make, name) in KINDS.items():
        make(place / name)
        assert main(["train", str(place / name), "--out", str(place / kind), *BUDGET]) == 0
    return place


@pytest.mark.parametrize("kind", KINDS)
def test_the_recipe_follows_from_the_file_and_all_that_belongs_to_a_run_is_there(runs: Path, kind: str) -> None:
    recipe = json.loads((runs / kind / "recipe.json").read_text())
    assert recipe["recipe"]["name"] == kind
    for name in ("data.json", "report.html", "progress.gif", "curves.png", "nearest.png", "verdict.json"):
        assert (runs / kind / name).stat().st_size > 100
    verdict = json.loads((runs / kind / "verdict.json").read_text())
    assert not any("left out" in note for note in verdict["notes"]), "no metric is asked that does not fit the kind"


@pytest.mark.parametrize("kind", KINDS)
def test_samples_come_out_as_the_data_came_in(runs: Path, kind: str, tmp_path: Path) -> None:
    name = KINDS[kind][1]
    out = tmp_path / name
    assert main(["sample", str(runs / kind), "-n", "9", "--out", str(out)]) == 0
    if kind == "text":
        lines = out.read_text().splitlines()
        assert len(lines) == 9
        assert set("".join(lines)) <= set("btkaeioun" + "st")
        return
    with (runs / name).open() as given, out.open() as made:
        theirs, ours = list(csv.reader(given)), list(csv.reader(made))
    if kind == "table":
        assert ours[0] == theirs[0]
        assert len(ours) == 10
        assert {row[3] for row in ours[1:]} <= {"a", "b", "c"}
        assert all(row[2].startswith("2024-0") and row[1].isdigit() for row in ours[1:])
        assert all(row[0] == "" or len(row[0].partition(".")[2]) == 2 for row in ours[1:])
    else:
        assert ours[0] == ["series", "step", "warmth", "load"]
        length = json.loads((runs / kind / "recipe.json").read_text())["data"]["shape"][0]
        assert length > 8
        assert len(ours) == 1 + 9 * length
        assert all(len(row[2].partition(".")[2]) == 2 and row[3].isdigit() for row in ours[1:])


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_of_samples_and_a_wrong_suffix(
    runs: Path, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sample", str(runs / kind), "-n", "9", "--out", str(tmp_path / "a.png")]) == 0
    assert (tmp_path / "a.png").stat().st_size > 500
    assert main(["sample", str(runs / kind), "-n", "9", "--out", str(tmp_path / "a.wav")]) == 2
    said = capsys.readouterr().err
    assert "expected a name that ends in" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_goes_on_exactly_and_does_not_depend_on_threads(runs: Path, kind: str) -> None:
    data = Data(source=str(runs / KINDS[kind][1]))
    source = data.load()
    recipe = choose(data, source.spec, recipe=None, budget=Budget(amount=1), seed=3).recipe
    check_recipe(recipe, source)


@pytest.mark.parametrize("kind", KINDS)
def test_data_tell_what_was_found(runs: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", str(runs / KINDS[kind][1])]) == 0
    said = capsys.readouterr().out
    expected = {"table": "kind", "series": "warmth", "text": "characters"}
    assert expected[kind] in said
    assert max(map(len, said.splitlines())) <= 82
    assert main(["score", str(runs / kind), "--against", str(runs / KINDS[kind][1]), "-n", "128", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert {"table": "columns", "series": "spectrum", "text": "ngrams"}[kind] in values
