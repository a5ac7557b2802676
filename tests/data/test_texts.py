import gzip
import json
from pathlib import Path

import pytest
import torch

from sparring.core.errors import RequestError
from sparring.core.spec import from_json, to_json
from sparring.data import texts
from sparring.data.open import Data, describe
from sparring.data.texts import Texts, load_texts


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def lines_of(source: Texts) -> list[str]:
    return source.spec.form.decode(source.take(torch.arange(len(source))).x)


def test_characters(tmp_path: Path) -> None:
    source = load_texts(write(tmp_path / "a.txt", "﻿abba\r\n\n  \nb c\rä字\n"))
    assert lines_of(source) == ["abba", "b c", "ä字"]
    assert source.spec.form.tokens == ("", "b", "a", " ", "c", "ä", "字")  # the most frequent first, then in order
    assert source.spec.shape == (4, 7)
    assert source.images.dtype == torch.uint8
    x = source.take(torch.tensor([1])).x
    assert x.dtype == torch.float32
    assert x[0].argmax(1).tolist() == [1, 3, 4, 0]
    assert torch.equal(x.sum(2), torch.ones(1, 4))
    assert source.report["ignored"] == 2
    packed = load_texts(write(tmp_path / "a.txt.gz", gzip.compress((tmp_path / "a.txt").read_bytes())))
    assert packed.spec.sha256 == source.spec.sha256


def test_words(tmp_path: Path) -> None:
    source = load_texts(write(tmp_path / "a.txt", "the cat  sat\nthe\tdog\n"), level="words")
    assert lines_of(source) == ["the cat sat", "the dog"]
    assert source.spec.form.between == " "
    assert source.spec.shape == (3, 5)
    many = "\n".join(f"w{i} w{i}" for i in range(400))
    source = load_texts(write(tmp_path / "b.txt", many), level="words")
    assert source.images.dtype == torch.int32
    assert lines_of(source) == many.split("\n")


def test_long_texts_are_cut_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "abcdef\nab\nabcd\n")
    source = load_texts(path, length=4)
    assert lines_of(source) == ["abcd", "ab", "abcd"]
    assert any("1 texts were cut to 4 characters" in note for note in source.report["notes"])
    assert source.report["duplicates"] == 1
    assert load_texts(path).spec.shape[0] == 6
    write(path, "x" * 500 + "\nab\n")
    assert load_texts(path).spec.shape[0] == texts.LONGEST["characters"]


def test_what_is_too_long_for_a_word_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", f"a {'x' * 100}\nb {'y' * 101}\na b\n")
    source = load_texts(path, level="words")
    assert lines_of(source) == [f"a {'x' * 100}", "a b"]
    assert source.report["refused"] == [{"file": "a.txt, line 2", "reason": f"'{'y' * 40}' has 101 characters"}]


def test_texts_with_rare_tokens_are_refused_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "aab\nba\n\nabz\nab\n\x07a\n")
    source = load_texts(path, vocabulary=3)
    assert lines_of(source) == ["aab", "ba", "ab"]
    assert source.report["num_refused"] == 2
    assert source.report["refused"] == [
        {"file": "a.txt, line 4", "reason": "'z' is rare"},
        {"file": "a.txt, line 6", "reason": "'\\\\x07' is rare"},
    ]
    assert "2 texts" in describe(source)
    with pytest.raises(
        RequestError, match=r"0 of 5 texts are made of the 1 most frequent .* larger source\.vocabulary"
    ):
        load_texts(write(path, "ab\nab\nab\nab\nab\n"), vocabulary=2)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"", {}, "0 lines with a text"),
        (b"one\n\n", {}, "1 lines with a text"),
        ("Käse\nBrot\n".encode("latin-1"), {}, r"byte 1 is not UTF-8; expected text in UTF-8: iconv"),
        ("a\nb\n".encode("utf-16"), {}, "text in UTF-16"),
        (b"a\nb\0\n", {}, "line 2 has a NUL byte"),
        (b"a\nb\n", {"length": -1}, r"source\.length=-1"),
        (b"a\nb\n", {"vocabulary": 1}, r"source\.vocabulary=1"),
        (b"a\nb\n", {"length": 0}, r"source\.length=0"),
        (b"a\n" + b"b" * 2**20, {}, "line 2 has more than"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(
    tmp_path: Path, content: bytes, options: dict[str, int], message: str
) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        load_texts(write(tmp_path / "a.txt", content), **options)
    assert "\n" not in str(caught.value)


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.txt", "x" * 128 + "\n" + "y\n" * 100)
    monkeypatch.setattr(texts, "max_bytes", lambda: 16 * 200)
    with pytest.raises(RequestError, match=r"more tokens than fit .* smaller source\.length"):
        load_texts(path)
    monkeypatch.setattr(texts, "max_bytes", lambda: 16 * 228)
    with pytest.raises(RequestError, match=r"its texts would take 51\.7 kB"):
        load_texts(path)
    assert load_texts(path, length=4).spec.shape == (4, 3)


def test_it_is_a_source_like_others(tmp_path: Path) -> None:
    content = "".join(f"name {chr(97 + i % 26)}{chr(97 + i // 26)}\n" for i in range(60))
    data = Data(source=str(write(tmp_path / "names.txt", content)), hold_out=20, labels="ignore", length=9)
    assert from_json(json.loads(json.dumps(to_json(data)))) == data
    kept, held = data.load(), data.load_held_out()
    assert isinstance(kept, Texts)
    assert isinstance(held, Texts)
    assert sorted(lines_of(kept) + lines_of(held)) == sorted(content.split("\n")[:-1])
    assert kept.spec.form == held.spec.form
    assert kept.report["sha256"] == kept.spec.sha256 != held.spec.sha256
    assert (kept.report["count"], held.report["split"]) == (40, "held out")
    moved = kept.to(torch.device("cpu"))
    assert isinstance(moved, Texts)
    assert torch.equal(moved.take(torch.tensor([3])).x, kept.take(torch.tensor([3])).x)
    assert from_json(json.loads(json.dumps(to_json(kept.spec)))) == kept.spec
    json.dumps(kept.report)
    text = describe(kept)
    assert max(map(len, text.splitlines())) <= 80
    assert "40 texts of 7 to 7 characters" in text
    assert "alphabet" in text
    for change, message in (
        ({"size": (8, 8)}, "--size is for images"),
        ({"split": "test"}, "no split 'test'"),
        ({"stream": True}, r"source\.stream"),
    ):
        with pytest.raises(RequestError, match=message):
            data.replace(**change).load()
    other = write(tmp_path / "names.list", content)
    assert Data(source=str(other), kind="text", level="words").load().spec.shape[0] == 2
    with pytest.raises(RequestError, match="a folder; expected a file that holds a text"):
        Data(source=str(tmp_path), kind="text").load()
