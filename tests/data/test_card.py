from __future__ import annotations

from typing import Any

import pytest

from sparring.core.errors import RequestError
from sparring.data.card import Chosen, choose, fits, head, splits

MNIST = """---
license: mit
configs:
- config_name: mnist
  data_files:
  - split: train
    path: mnist/train-*
  - split: test
    path: mnist/test-*
dataset_info:
  config_name: mnist
  features:
  - name: image
    dtype: image
  - name: label
    dtype:
      class_label:
        names:
          '0': zero
          '1': one
          '10': ten
          '2': two
          '3': '3'
          '4': '4'
          '5': '5'
          '6': '6'
          '7': '7'
          '8': '8'
          '9': '9'
---
# MNIST
---
"""


def files(paths: str, card: str = "", part: str = "", split: str = "train") -> str:
    return " ".join(choose(paths.split(), head(card), part, split, "hf:a/b").files)


def card(text: str) -> str:
    return f"---\n{text}\n---\n"


def test_the_card_says_which_files_make_a_split_and_what_the_classes_are_called() -> None:
    paths = ["README.md", "mnist/test-00000-of-00001.parquet", "mnist/train-00000-of-00001.parquet", "other.parquet"]
    chosen = choose(paths, head(MNIST), "", "train", "hf:a/b")
    names = ("zero", "one", "two", "3", "4", "5", "6", "7", "8", "9", "ten")
    assert chosen == Chosen(["mnist/train-00000-of-00001.parquet"], False, names, "")
    assert choose(paths, head(MNIST), "mnist", "test", "hf:a/b").files == ["mnist/test-00000-of-00001.parquet"]
    assert splits(paths, head(MNIST), "", "hf:a/b") == {"train", "test"}


@pytest.mark.parametrize(
    ("said", "train"),
    [
        ("configs:\n- config_name: default\n  data_files: b.csv", "b.csv"),
        ("configs:\n- config_name: default\n  data_files: [b.csv, c/*.csv]", "b.csv c/d.csv"),
        ("configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: [b.csv]", "b.csv"),
        ("configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: c/", "c/d.csv c/e/f.csv"),
        ("configs:\n- config_name: x\n  data_dir: c\n- config_name: y\n  default: true\n  data_files: b.csv", "b.csv"),
        ("configs:\n- config_name: x\n  data_dir: c", "c/d.csv c/e/f.csv"),
        ("configs:\n- config_name: x\n  data_dir: c\n  data_files: '*.csv'", "c/d.csv"),
        ("configs: 7", "b.csv c/d.csv c/e/f.csv"),
        ("configs: [7, {config_name: [x]}]", "b.csv c/d.csv c/e/f.csv"),
        ("configs:\n- config_name: x\n  data_files: {7: 8}", "b.csv c/d.csv c/e/f.csv"),
        ("configs: !!python/object/apply:builtins.chr [65]", "b.csv c/d.csv c/e/f.csv"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nconfigs: [*b, *b]", "b.csv c/d.csv c/e/f.csv"),
        ("configs: 2026-99-99", "b.csv c/d.csv c/e/f.csv"),
        ("[" * 5000, "b.csv c/d.csv c/e/f.csv"),
    ],
)
def test_each_way_to_write_it_and_what_is_none(said: str, train: str) -> None:
    assert files("b.csv c/d.csv c/e/f.csv README.md", card(said)) == train


@pytest.mark.parametrize(
    ("paths", "train", "test"),
    [
        ("data/train-00000-of-00002.parquet data/test-00000-of-00002.parquet", "data/train-00000-of-00002.parquet", 1),
        ("train.csv test.csv LICENSE.txt", "train.csv", 1),
        ("my_train_file.csv my-validation.csv", "my_train_file.csv", 1),
        ("training/a.csv evaluation/a.csv", "training/a.csv", 1),
        ("strain.csv attest.csv", "attest.csv strain.csv", 0),
        ("train/cat/1.png train/dog/1.png test/cat/1.png", "train/cat/1.png train/dog/1.png", 1),
        ("vehicles/train_1.png vehicles/car_1.png", "vehicles/car_1.png vehicles/train_1.png", 0),
        ("cat/1.png dog/1.png metadata.csv", "cat/1.png dog/1.png", 0),
        ("things-00000-of-00001.parquet", "things-00000-of-00001.parquet", 0),
        ("a.parquet b.csv c/1.png", "a.parquet", 0),
        (".hidden/a.parquet b.csv __MACOSX/c.parquet", "b.csv", 0),
        ("x/partial-train/0000.parquet x/test/0000.parquet", "x/partial-train/0000.parquet", 1),
        ("a.TAR.GZ", "a.TAR.GZ", 0),
    ],
)
def test_names_say_it_where_no_card_does(paths: str, train: str, test: int) -> None:
    assert files(paths) == train
    assert splits(paths.split(), {}, "", "hf:a/b") == ({"train", "test"} if test else {"train"})


def test_a_subset_a_folder_and_a_pattern_can_be_named() -> None:
    two = card("configs:\n- config_name: x\n  data_files: x.csv\n- config_name: y\n  data_files: y.csv")
    assert files("x.csv y.csv", two, "y") == "y.csv"
    assert files("x.csv y.csv z-1.csv z-2.csv", two, "z-*.csv") == "z-1.csv z-2.csv"
    assert files("en/train/0.parquet en/test/0.parquet de/train/0.parquet", "", "en", "test") == "en/test/0.parquet"
    assert files("en/extra/0.parquet en/test/0.parquet", "", "en/extra/*") == "en/extra/0.parquet"


def test_a_split_of_another_name_serves_and_is_said() -> None:
    chosen = choose(["full-00000-of-00001.parquet"], {}, "", "train", "hf:a/b")
    assert chosen.note == "no split 'train': took the split 'full'"
    chosen = choose(["train.csv", "dev.csv"], {}, "", "test", "hf:a/b")
    assert (chosen.files, "'validation' serves" in chosen.note) == (["dev.csv"], True)


@pytest.mark.parametrize(
    ("paths", "said", "part", "split", "expected"),
    [
        ("train.csv", "", "", "test", "has no split 'test', only train; other files"),
        ("test.csv", "", "", "train", "has no split 'train', only test"),
        ("a-00000-of-00001.csv b-00000-of-00001.csv", "", "", "train", "only a, b"),
        ("x/train/0.csv y/train/0.csv", "", "", "train", "several subsets, x, y; name one, as in hf:OWNER/NAME:x"),
        ("a.csv", "configs: [{config_name: x}, {config_name: y}]", "", "train", "several subsets, x, y"),
        ("x/0.csv", "configs: [{config_name: mnist}]", "mnits", "train", "called 'mnits'; did you mean 'mnist'?"),
        ("a.csv", "", "x", "train", "neither a subset nor files called 'x'; it has one only"),
        ("a.csv", "", "train.csv\x1b[0m", "train", r"'train.csv\\x1b"),
        ("set.py README.md", "", "", "train", "made by a Python script, which is not run; .*@refs/convert/parquet"),
        ("a.pkl b.bin", "", "", "train", r"holds nothing that is read, only \.bin, \.pkl; expected \.parquet"),
        ("README.md", "", "", "train", "only no files"),
        ("a.csv", "configs: [{config_name: x, data_files: b.csv}]", "", "train", r"nothing that is read, only \.csv"),
    ],
)
def test_what_cannot_be_meant_is_refused(paths: str, said: str, part: str, split: str, expected: str) -> None:
    with pytest.raises(RequestError, match=expected) as error:
        choose(paths.split(), head(card(said)), part, split, "hf:a/b")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("path", "pattern", "expected"),
    [
        ("a/b/c.png", "**/c.png", True),
        ("c.png", "**/c.png", True),
        ("a/b/c.png", "**", True),
        ("a/b/c.png", "a/**/c.png", True),
        ("a/c.png", "a/**/c.png", True),
        ("a/b/c.png", "*/c.png", False),
        ("a/b/c.png", "./a/b/[a-c].png", True),
        ("a/b/c.png", "a/b", False),
        ("a/b/c.png", "A/b/c.png", False),
    ],
)
def test_patterns(path: str, pattern: str, expected: bool) -> None:
    assert fits(path, pattern) is expected


def test_a_hostile_pattern_takes_no_time() -> None:
    assert not fits("a" * 200 + "/" + "a" * 200, "*a" * 100 + "b/**" + "/**" * 500)


RUNS = "---\na: !!python/object/apply:builtins.chr [65]\n---\n"


@pytest.mark.parametrize("text", ["", "# a title", "---\nno end", "----\na: 1\n---\n", "---\ntext\n---\n", RUNS])
def test_no_head(text: str) -> None:
    assert head(text) == {}


@pytest.mark.parametrize(
    "info",
    [
        {"features": [{"name": "label", "dtype": {"class_label": {"names": {"0": "a", "2": "b"}}}}]},
        {"features": [{"name": "label", "dtype": {"class_label": {"names": [[1], "b"]}}}]},
        {"features": [{"name": "label", "dtype": {"class_label": None}}, 7]},
        {"features": [{"name": "answer", "dtype": {"class_label": {"names": ["a", "b"]}}}]},
        [{"config_name": "x"}, {"config_name": "y"}],
        None,
    ],
)
def test_class_names_that_are_none(info: Any) -> None:
    assert choose(["a.csv"], {"dataset_info": info}, "", "train", "hf:a/b").class_names == ()
