"""What a run notes of its machine and code, and what is said when that has changed."""

from pathlib import Path

import torch

from sparring.environment import code_hash, differences, environment

CPU = torch.device("cpu")


def test_nothing_differs_from_itself(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("x = 1")
    here = environment(CPU, file)
    assert here.keys() == environment(CPU, None).keys() | {"recipe_file"}
    assert differences(here, environment(CPU, file)) == []
    assert here["threads"] == torch.get_num_threads()


def test_each_change_is_said_with_what_it_means(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("x = 1")
    before = environment(CPU, file)
    file.write_text("x = 2")
    (said,) = differences(before, environment(CPU, file))
    assert said.startswith(f"recipe file was {before['recipe_file']} and is ")
    assert said.endswith(": nothing can be promised of what follows")
    (said,) = differences(before, environment(CPU, None))
    assert "and is not given" in said
    for name in before.keys() - {"recipe_file"}:
        (said,) = differences(before | {name: "else"}, before)
        assert said.startswith(f"{name} was else and is {before[name]}: ")


def test_what_a_file_from_elsewhere_says_stays_in_one_line() -> None:
    (said,) = differences({"torch": "1\n\x1b[2J" + "9" * 1000}, {"torch": "2"})
    assert said == f"torch was 1??[2J{'9' * 54} and is 2: the last bits of what follows may differ"


def test_the_code_is_all_python_files_by_name_and_content(tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "a.py").write_text("1")
    (tmp_path / "b.py").write_text("2")
    (tmp_path / "notes.txt").write_text("not code")
    first = code_hash(tmp_path)
    (tmp_path / "notes.txt").write_text("still not code")
    assert code_hash(tmp_path) == first
    (tmp_path / "b.py").rename(tmp_path / "c.py")
    renamed = code_hash(tmp_path)
    (tmp_path / "c.py").write_text("3")
    assert len({first, renamed, code_hash(tmp_path)}) == 3
