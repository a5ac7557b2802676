"""What holds for any input of each reader, held against a second opinion: numpy's reader, the json module, paths as the
system resolves them, or the object that was written."""

from __future__ import annotations

import io
import json
import math
import ntpath
import posixpath
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from corpus import good, tarred, zipped
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from sparring.core.errors import RequestError
from sparring.core.spec import from_json, to_json
from sparring.data.arrays import load_array
from sparring.data.images import load_images
from sparring.data.limits import printable
from sparring.data.listing import IMAGE_SUFFIXES, choose
from sparring.data.open import parse_size
from sparring.games import ADA, R1, R2, Adversarial, Balanced, Hinge, NonSaturating, Replay, SoftmaxGAN
from sparring.report.lenient import read_log
from sparring.train.checkpoint import load_checkpoint, save_checkpoint
from sparring.train.schedule import Budget, parse_budget

settings.register_profile(
    "hostile", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
PROFILE = settings.get_profile("hostile")
SLOW = settings(PROFILE, max_examples=25)
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
hostile_names = st.lists(st.sampled_from(["..", ".", "", "a", "C:", "b.png", "~"]), min_size=1, max_size=5).flatmap(
    lambda parts: st.sampled_from(["/", "\\"]).map(lambda slash: slash.join(parts))
)
edits = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=3)


def edited(data: bytes, changes: list[tuple[int, int]], cut: int) -> bytes:
    out = bytearray(data)
    for at, value in changes:
        out[at % len(out)] = value
    return bytes(out[: len(out) - cut])


def is_a_line(error: RequestError, names: str = "") -> None:
    assert names in str(error)
    assert "\n" not in str(error)


# Arrays

samples = st.sampled_from(["|u1", "<u2", ">u2", "<f4", ">f4", "<f8", "<f2"]).flatmap(
    lambda kind: arrays(
        np.dtype(kind),
        array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=4),
        elements=st.floats(-1, 1, width=16) if "f" in kind else st.integers(0, 255),
    )
)


@PROFILE
@given(x=samples, fortran=st.booleans())
def test_arrays_come_back_as_they_were_saved(tmp_path: Path, x: np.ndarray, fortran: bool) -> None:
    np.save(tmp_path / "a.npy", np.asfortranarray(x) if fortran else x)
    assert np.array_equal(load_array(tmp_path / "a.npy").numpy(), x.astype(np.float32) if x.dtype.kind == "f" else x)


@PROFILE
@given(changes=edits, cut=st.integers(0, 3), packed=st.booleans())
def test_a_damaged_array_is_refused_or_what_numpy_reads(
    tmp_path: Path, changes: list[tuple[int, int]], cut: int, packed: bool
) -> None:
    x = np.arange(12, dtype=np.uint8).reshape(3, 4)
    out, path = io.BytesIO(), tmp_path / ("a.npz" if packed else "a.npy")
    np.savez(out, images=x, labels=np.arange(3)) if packed else np.save(out, x)
    path.write_bytes(edited(out.getvalue(), changes, cut))
    try:
        found = load_array(path)
    except RequestError as error:
        is_a_line(error, names=str(path))
        return
    theirs = np.load(path, allow_pickle=False)
    if packed:
        with theirs:
            key = "images" if "images" in theirs else next(k for k in theirs if k not in ("labels", "y"))
            theirs = theirs[key]
    assert np.array_equal(found.numpy().ravel(), theirs.ravel())


# Archives and names


def leaves(name: str) -> bool:
    """Whether a path would lie outside of the folder that it is unpacked to, on any system."""
    inside = posixpath.normpath(posixpath.join("/somewhere/here", name.replace("\\", "/")))
    there = ntpath.normpath(ntpath.join("X:\\somewhere\\here", name))
    return not (inside + "/").startswith("/somewhere/here/") or not (there + "\\").startswith("X:\\somewhere\\here\\")


@SLOW
@given(name=st.one_of(hostile_names, names))
@example(name="a/../b.png")
@example(name="C:b.png")
def test_no_member_that_would_leave_its_folder_is_let_pass(tmp_path: Path, name: str) -> None:
    assume(not name.endswith("/"))
    for end, pack in ((".zip", zipped), (".tar", tarred)):
        path = tmp_path / f"a{end}"
        path.write_bytes(pack(good(2) | {name: b""}))
        try:
            source = load_images(path, labels="ignore")
        except RequestError as error:
            is_a_line(error, names=str(path))
        else:
            assert not leaves(name)
            assert len(source) == 2


@SLOW
@given(
    st.dictionaries(
        st.from_regex(r"[a-c]/[a-zäß猫]{1,4}\.(png|PNG|txt)", fullmatch=True), st.integers(0, 9), min_size=2
    )
)
def test_a_folder_and_its_archives_hold_the_same(
    tmp_path_factory: pytest.TempPathFactory, named: dict[str, int]
) -> None:
    tmp_path = tmp_path_factory.mktemp("same")
    pictures = list(good(10).values())
    files = {name: pictures[i] for name, i in named.items()}
    for name, data in files.items():
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(data)
    (tmp_path / "set.zip").write_bytes(zipped(files))
    (tmp_path / "set.tar").write_bytes(tarred(files))
    found = []
    for name in ("set", "set.zip", "set.tar"):
        try:
            source = load_images(tmp_path / name)
        except RequestError as error:
            found.append(str(error).split(": ", 1)[1])
        else:
            found.append(f"{source.spec.sha256} {source.report['classes']} {source.report['ignored']}")
    assert found[0] == found[1] == found[2]


@PROFILE
@given(st.lists(st.lists(st.sampled_from(["a", "b", ".c", "x.png", "train", "test", "y.txt", "z.JPG", "ü"]), min_size=1,
                         max_size=4).map("/".join), max_size=8, unique=True))  # fmt: skip
def test_every_name_is_chosen_ignored_or_left_to_another_split(listed: list[str]) -> None:
    pictures = [
        name
        for name in listed
        if not any(part.startswith(".") for part in name.split("/"))
        and posixpath.splitext(name)[1].lower() in IMAGE_SUFFIXES
    ]
    chosen = choose(listed, "train", "ignore", "x")
    assert chosen.ignored.total() == len(listed) - len(pictures)
    taken = [listed[at] for at, _ in chosen.files]
    assert taken == sorted(set(taken), key=lambda name: name.split("/"))
    assert set(taken) <= set(pictures)
    if len(taken) < len(pictures):
        assert any(f"took {len(taken)} images of" in note for note in chosen.notes)


@PROFILE
@given(st.text(st.characters(), max_size=20))
def test_whatever_is_shown_is_one_line_that_can_be_printed(name: str) -> None:
    shown = printable(name)
    assert shown.isprintable()
    assert shown.encode().decode() == shown
    assert shown == name or not name.isprintable()


# Texts of options


@PROFILE
@given(st.integers(-5, 99_999), st.integers(-5, 99_999), st.sampled_from(["x", "×", "X", "*", " x "]))
@example(height=8192, width=8193, sign="x")
@example(height=8192, width=8192, sign="x")
@example(height=0, width=1, sign="x")
def test_a_size_is_read_exactly_when_it_is_one(height: int, width: int, sign: str) -> None:
    is_one = 1 <= height <= 8192 and 1 <= width <= 8192 and sign in "x×X"
    try:
        assert parse_size(f"{height}{sign}{width}") == (height, width)
    except RequestError:
        assert not is_one
    else:
        assert is_one


@PROFILE
@given(st.text(max_size=8))
def test_any_text_is_a_size_within_bounds_or_refused(text: str) -> None:
    try:
        assert all(1 <= side <= 8192 for side in parse_size(text))
    except RequestError as error:
        is_a_line(error)


SECONDS = {"s": 1, "sec": 1, "MIN": 60, "h": 3600}


@PROFILE
@given(st.decimals(0, 10**9, places=3), st.sampled_from(list(SECONDS)), st.integers(2, 10**6))
def test_a_budget_is_its_number_times_its_unit(amount: Any, unit: str, num_samples: int) -> None:
    text = f"{amount:f} {unit}"
    if amount == 0:
        with pytest.raises(RequestError, match="more than 0"):
            parse_budget(text)
        return
    assert parse_budget(text).amount == pytest.approx(float(amount) * SECONDS[unit], rel=1e-12)
    assert parse_budget(text).images(num_samples) is None
    epochs = parse_budget(f"{amount:f}epochs").images(num_samples)
    assert epochs == max(1, round(float(amount) * num_samples))


@PROFILE
@given(st.one_of(st.text(max_size=12), st.from_regex(r"\d{1,400}(\.\d+)?[a-z]{1,5}", fullmatch=True)))
def test_any_text_is_a_budget_above_nothing_or_refused(text: str) -> None:
    try:
        budget = parse_budget(text)
    except RequestError:
        return
    assert 0 < budget.amount < math.inf
    assert (budget.images(100) or 1) >= 1


# Specs

numbers = st.floats(0, 1e6).filter(lambda x: x > 1e-6 or x == 0)
penalties = st.one_of(
    st.builds(R1, weight=numbers, every=st.integers(1, 99)), st.builds(R2, weight=numbers, every=st.integers(1, 99))
)
games = st.builds(
    Adversarial,
    objective=st.sampled_from([Hinge(), NonSaturating(), SoftmaxGAN()]),
    penalties=st.lists(penalties, max_size=3).map(tuple),
    show=st.sampled_from([(), (ADA(),)]),
    history=st.sampled_from([None, Replay(size=10)]),
    moves=st.sampled_from([Balanced(low=0.6), Adversarial().moves]),
    d_steps=st.integers(1, 9),
    g_weight=st.floats(0.1, 10),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)


@PROFILE
@given(games)
def test_a_spec_comes_back_from_json_and_from_how_it_is_written(game: Adversarial) -> None:
    assert from_json(json.loads(json.dumps(to_json(game)))) == game
    for field in ("objective", "penalties", "show", "history", "moves", "d_steps", "g_weight"):
        value = getattr(game, field)
        text = ", ".join(map(repr, value)) or "[]" if isinstance(value, tuple) else repr(value)
        assert getattr(Adversarial().with_path(field, text), field) == value


@PROFILE
@given(game=games, key=st.sampled_from(["spec", "objective", "penalties", "d_steps", "history", "new"]), value=values)
def test_a_changed_spec_is_refused_or_a_spec_that_comes_back(game: Adversarial, key: str, value: object) -> None:
    try:
        found = from_json(to_json(game) | {key: value})
    except RequestError as error:
        is_a_line(error)
        return
    again = from_json(json.loads(json.dumps(to_json(found))))
    assert repr(again) == repr(found)  # NaN is not itself


@PROFILE
@given(st.one_of(values, st.sampled_from(["seconds", "images", "epochs"])))
def test_a_field_of_few_words_takes_no_other(unit: object) -> None:
    is_one = unit in ("seconds", "images", "epochs")
    try:
        assert from_json(to_json(Budget(amount=2.0)) | {"unit": unit}) == Budget(amount=2.0, unit=unit)  # type: ignore[arg-type]
    except RequestError:
        assert not is_one
    else:
        assert is_one


paths = ["penalties", "objective", "d_steps", "penalties.0", "penalties.0.weight", "penalties.²", "x"]
SIGNS = "R12(weight=.,)[]{}'\"-*:\\ "


@PROFILE
@given(path=st.sampled_from(paths), text=st.one_of(st.text(max_size=20), st.text(SIGNS, max_size=20)))
def test_any_text_for_a_field_fits_it_or_is_refused(path: str, text: str) -> None:
    try:
        game = Adversarial(penalties=(R1(),)).with_path(path, text)
    except RequestError:
        return
    assert repr(from_json(json.loads(json.dumps(to_json(game))))) == repr(game)


# Logs and checkpoints


def sound(line: bytes) -> float | None:
    """When the row of a line was written, where it is sound."""
    try:
        images = json.loads(line)["images"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    is_number = isinstance(images, int | float) and not isinstance(images, bool)
    return float(images) if is_number and 0 <= images < 1e300 else None


lines = st.one_of(
    st.builds(
        lambda images, rest: json.dumps({"images": images} | rest).encode(), values, st.dictionaries(names, values)
    ),
    st.builds(lambda images: json.dumps({"images": images}).encode(), st.integers(0, 99)),
    st.binary(max_size=20).map(lambda data: data.replace(b"\n", b"")),
)


@PROFILE
@given(st.lists(lines, max_size=6), st.binary(max_size=9))
def test_of_a_log_all_that_is_sound_is_kept_and_the_rest_is_counted(
    tmp_path: Path, rows: list[bytes], end: bytes
) -> None:
    (tmp_path / "log.jsonl").write_bytes(b"".join(row + b"\n" for row in rows) + end.replace(b"\n", b""))
    problems: list[str] = []
    found = [row.images for row in read_log(tmp_path / "log.jsonl", problems)]
    expected = [sound(row) for row in rows]
    kept = sorted(images if images >= 1e-300 else 0.0 for images in expected if images is not None)
    assert found == kept
    bad = len(rows) - len(kept)
    assert problems == ([f"log.jsonl: {bad} of {len(rows)} lines cannot be read and are left out."] if bad else [])


@SLOW
@given(
    meta=st.dictionaries(
        names.map("my {}".format), st.one_of(st.integers(), st.text(max_size=9), st.none()), max_size=3
    )
)
def test_a_checkpoint_comes_back(tmp_path: Path, meta: dict[str, Any]) -> None:
    path = save_checkpoint(tmp_path, 7, {"a": torch.arange(3.0)}, meta)
    tensors, found = load_checkpoint(path)
    assert torch.equal(tensors["a"], torch.arange(3.0))
    assert {key: found[key] for key in meta} == meta


@SLOW
@given(at=st.integers(0, 10**6), flip=st.integers(1, 255), which=st.sampled_from([".json", ".safetensors"]))
def test_no_changed_byte_of_a_checkpoint_goes_unseen(
    tmp_path_factory: pytest.TempPathFactory, at: int, flip: int, which: str
) -> None:
    path = save_checkpoint(tmp_path_factory.mktemp("kept"), 7, {"a": torch.arange(3.0)}, {"step": 1})
    file = path.with_suffix(which)
    data = bytearray(file.read_bytes())
    data[at % len(data)] ^= flip
    file.write_bytes(data)
    with pytest.raises(RequestError, match=path.stem):
        load_checkpoint(path)
