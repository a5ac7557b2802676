import hashlib
import json
from typing import Any

import numpy as np
import pytest
import torch

from sparring.core.errors import RequestError
from sparring.core.protocols import Source
from sparring.data.tensors import Resident, from_arrays

KEYS = [
    *("source", "split", "kind", "count", "shape", "levels", "classes", "sizes", "channels", "converted", "resized"),
    *("cropped", "duplicates", "ignored", "refused", "notes", "sha256", "seconds"),
]


def slow_take(array: np.ndarray, index: list[int]) -> list[Any]:
    """The reference: one value at a time in Python floats, [B, C, H, W] as nested lists."""
    scale = {"uint8": 127.5, "uint16": 32767.5}.get(array.dtype.name)

    def value(v: Any) -> float:
        return float(v) if scale is None else float(v) / scale - 1.0

    if array.ndim == 2:
        return [[value(v) for v in array[i]] for i in index]
    _, h, w, c = array.shape
    return [[[[value(array[i, y, x, k]) for x in range(w)] for y in range(h)] for k in range(c)] for i in index]


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.RandomState(0)
    deep = rng.randint(0, 65536, (5, 3, 4, 1)).astype(np.uint16)
    deep[0, 0, :2, 0] = 0, 65535
    return {
        "8-bit RGB": rng.randint(0, 256, (5, 3, 4, 3)).astype(np.uint8),
        "8-bit RGBA": rng.randint(0, 256, (5, 2, 2, 4)).astype(np.uint8),
        "8-bit grey": np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1),
        "16-bit grey": deep,
        "float images": rng.uniform(-1, 1, (5, 3, 4, 1)).astype(np.float32),
        "vectors": rng.uniform(-1, 1, (6, 7)).astype(np.float32),
        "8-bit vectors": rng.randint(0, 256, (6, 7)).astype(np.uint8),
    }


@pytest.mark.parametrize("kind", arrays())
def test_take_agrees_with_the_slow_reference(kind: str) -> None:
    array = arrays()[kind]
    index = [3, 0, 3, 1]
    batch = from_arrays(array).take(torch.tensor(index))
    assert batch.x.dtype == torch.float32
    assert batch.y is None
    # Two float32 roundings, of the quotient (below 2) and of the difference.
    np.testing.assert_allclose(batch.x.numpy(), np.array(slow_take(array, index)), rtol=0, atol=2.0**-22)


def test_ends_of_the_range_are_exact() -> None:
    for dtype, top in ((np.uint8, 255), (np.uint16, 65535)):
        x = from_arrays(np.array([[0, top], [top, 0]], dtype)).take(torch.tensor([0])).x
        assert x.tolist() == [[-1.0, 1.0]]


def test_a_batch_is_channels_last_and_in_the_networks_shape() -> None:
    source = from_arrays(np.zeros((3, 24, 40, 3), np.uint8))
    x = source.take(torch.tensor([0, 1])).x
    assert x.shape == (2, 3, 24, 40)
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert isinstance(source, Source)
    assert len(source) == 3


def test_take_neither_changes_what_is_held_nor_hands_it_out() -> None:
    array = np.random.RandomState(0).uniform(-1, 1, (3, 4)).astype(np.float32)
    source = from_arrays(array.copy())
    source.take(torch.tensor([0, 1, 2])).x.zero_()
    assert np.array_equal(source.numpy(), array)


def test_position_beyond_the_end_is_an_error() -> None:
    with pytest.raises(IndexError):
        from_arrays(np.zeros((3, 4), np.uint8)).take(torch.tensor([3]))


def test_arrays_in_the_stored_form_are_held_not_copied() -> None:
    for array in (np.zeros((2, 4, 4, 3), np.uint8), np.zeros((2, 4), np.float32)):
        assert from_arrays(array).images.data_ptr() == array.ctypes.data
    nchw = torch.zeros(2, 3, 4, 4, dtype=torch.uint8).to(memory_format=torch.channels_last)
    assert from_arrays(nchw).images.data_ptr() == nchw.data_ptr()


def test_read_only_big_endian_and_reversed_arrays_are_taken() -> None:
    values = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    locked = values.copy()
    locked.flags.writeable = False
    hashes = {from_arrays(a).spec.sha256 for a in (values, locked, values.astype(">u2"), values[::-1].copy()[::-1])}
    assert len(hashes) == 1


def test_numpy_is_channels_last_and_torch_channels_first() -> None:
    nhwc = np.random.RandomState(0).randint(0, 256, (3, 5, 7, 3)).astype(np.uint8)
    nchw = torch.from_numpy(nhwc).permute(0, 3, 1, 2).contiguous()
    a, b = from_arrays(nhwc), from_arrays(nchw)
    assert a.spec.shape == b.spec.shape == (3, 5, 7)
    assert torch.equal(a.images, b.images)
    assert a.spec.sha256 == b.spec.sha256
    assert np.array_equal(b.numpy(), nhwc)


@pytest.mark.parametrize(
    ("dtype", "levels"),
    [(torch.uint8, 256), (torch.uint16, 65536), (torch.float16, 0), (torch.bfloat16, 0), (torch.float64, 0)],
)
def test_types(dtype: torch.dtype, levels: int) -> None:
    x = torch.tensor([[[0.0, 1.0, 0.5]], [[-1.0, 0.25, 0.0]]])
    x = x.to(dtype) if dtype.is_floating_point else (x.abs() * 200).to(torch.int32).to(dtype)
    source = from_arrays(x)
    assert source.spec.levels == levels
    assert source.spec.shape == (1, 1, 3)


def test_labels_and_classes() -> None:
    x = np.zeros((4, 2), np.uint8)
    source = from_arrays(x, np.array([2, 0, 2, 0]))
    assert source.spec.num_classes == 3
    assert source.report["classes"] == {"0": 2, "1": 0, "2": 2}
    assert "1 of 3 classes have no sample, the first is '1'" in source.report["notes"]
    y = source.take(torch.tensor([2, 1])).y
    assert y is not None
    assert y.dtype == torch.int64
    assert y.tolist() == [2, 0]
    named = from_arrays(x, torch.tensor([0, 1, 0, 1], dtype=torch.uint8), class_names=("cat", "dog"))
    assert named.report["classes"] == {"cat": 2, "dog": 2}


CONDITIONS = {
    "attributes": np.array([[True, False], [True, True], [False, False]]),
    "vectors": np.array([[0.5, -300.0], [1e-3, 7.0], [0.0, 2.0]]),
    "8-bit images": np.random.RandomState(1).randint(0, 256, (3, 2, 5, 4)).astype(np.uint8),
    "16-bit images": np.random.RandomState(1).randint(0, 65536, (3, 2, 5, 1)).astype(np.uint16),
    "float images": np.random.RandomState(1).uniform(-1, 1, (3, 2, 5, 7)),
}


@pytest.mark.parametrize("kind", CONDITIONS)
def test_conditions_agree_with_the_slow_reference(kind: str) -> None:
    given = CONDITIONS[kind]
    source = from_arrays(np.zeros((3, 6), np.float32), given)
    batch = source.take(torch.tensor([2, 0]))
    assert batch.y is not None
    assert batch.y.dtype == torch.float32
    assert source.spec.num_classes == 0
    assert source.spec.y_shape == tuple(batch.y.shape[1:]) == ((2,) if given.ndim == 2 else (given.shape[3], 2, 5))
    assert source.spec.is_conditional
    assert source.report["notes"][-1] == f"every sample has a condition of shape {list(source.spec.y_shape)}"
    assert list(source.report) == KEYS
    np.testing.assert_allclose(batch.y.numpy(), np.array(slow_take(given, [2, 0])), rtol=1e-7, atol=2.0**-22)


def test_conditions_from_torch_are_channels_first_and_grey_ones_need_no_channel() -> None:
    images = CONDITIONS["8-bit images"]
    x = np.zeros((3, 6), np.float32)
    turned = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    one, other = from_arrays(x, images), from_arrays(x, turned)
    assert one.spec == other.spec
    index = torch.arange(3)
    assert torch.equal(one.take(index).y, other.take(index).y)  # type: ignore[arg-type]
    assert from_arrays(x, images[..., 0]).spec.y_shape == (1, 2, 5)


def test_conditions_move_with_their_samples() -> None:
    x, y = np.arange(12, dtype=np.uint8).reshape(6, 2), np.arange(18, dtype=np.float32).reshape(6, 3)
    source = from_arrays(x, y)
    part = source.subset(torch.tensor([4, 1]), "two")
    assert torch.equal(part.take(torch.tensor([0])).y, source.take(torch.tensor([4])).y)  # type: ignore[arg-type]
    assert part.report["classes"] == {}
    assert part.spec == from_arrays(x[[4, 1]], y[[4, 1]]).spec
    moved = source.to(torch.device("meta"))
    assert moved.labels is not None
    assert moved.labels.device.type == "meta"
    plain = source.without_labels()
    assert plain.take(torch.tensor([0])).y is None
    assert plain.spec == from_arrays(x).spec
    assert plain.report["notes"][-1] == "labels ignored as asked: conditions set aside, training is unconditional"


def test_the_hash_sees_conditions() -> None:
    x, y = np.arange(8, dtype=np.uint8).reshape(4, 2), np.arange(16, dtype=np.float32).reshape(4, 4) / 16
    other = y.copy()
    other[3, 3] += 1e-6
    hashes = {from_arrays(x, c).spec.sha256 for c in (y, other, y.reshape(4, 2, 2), y.reshape(4, 1, 4), y > 0.5, None)}
    assert len(hashes) == 6


def test_labels_set_aside_are_said() -> None:
    labelled = from_arrays(np.zeros((4, 2), np.uint8), np.array([0, 1, 0, 1]))
    plain = labelled.without_labels()
    assert plain.take(torch.tensor([0])).y is None
    assert (plain.spec.num_classes, plain.spec.class_names, plain.report["classes"]) == (0, (), {})
    assert "labels ignored" in plain.report["notes"][-1]
    assert plain.spec.sha256 == plain.report["sha256"] == from_arrays(np.zeros((4, 2), np.uint8)).spec.sha256
    assert plain.spec.sha256 != labelled.spec.sha256
    assert plain.without_labels() is plain


def test_report_is_json_with_the_documented_keys() -> None:
    report = from_arrays(np.zeros((3, 2, 4, 3), np.uint8), np.array([0, 0, 1])).report
    assert list(report) == KEYS
    assert json.loads(json.dumps(report)) == report
    assert report["sizes"] == {"2x4": 3}
    assert report["shape"] == [3, 2, 4]
    assert report["duplicates"] == 2


def test_the_hash_is_as_documented_and_sees_every_part() -> None:
    x, y = np.arange(8, dtype=np.uint8).reshape(4, 2), np.array([0, 1, 1, 0])
    digests = b"".join(hashlib.sha256(bytes(row)).digest() for row in x)
    expected = hashlib.sha256(b"256 [4, 2]" + digests + y.astype("<i8").tobytes()).hexdigest()
    assert from_arrays(x, y).spec.sha256 == expected
    other = x.copy()
    other[3, 1] ^= 1
    changed = (
        from_arrays(other, y), from_arrays(x, 1 - y), from_arrays(x), from_arrays(x[::-1].copy(), y),
        from_arrays(x.astype(np.uint16), y), from_arrays(x.reshape(4, 1, 2), y),
    )  # fmt: skip
    assert len({expected, *(s.spec.sha256 for s in changed)}) == 7


def test_to_a_device_keeps_everything() -> None:
    source = from_arrays(np.zeros((4, 2), np.uint8), np.array([0, 1, 0, 1]))
    moved = source.to(torch.device("meta"))
    assert isinstance(moved, Resident)
    assert moved.images.device.type == "meta"
    assert moved.labels is not None
    assert moved.labels.device.type == "meta"
    assert moved.spec == source.spec


def test_zero_to_one_is_taken_and_noted() -> None:
    x = np.linspace(0, 1, 8, dtype=np.float32).reshape(2, 4)
    source = from_arrays(x)
    assert np.array_equal(source.numpy(), x)
    assert "look like [0, 1]" in source.report["notes"][0]
    assert from_arrays(x * 2 - 1).report["notes"] == []


def test_rounding_beyond_one_is_clamped() -> None:
    x = np.array([[1.0000002, 0], [0, -1]], np.float32)
    assert from_arrays(x).numpy().max() == 1.0


ZEROS = np.zeros((4, 6), np.float32)


def spoiled(*values: float) -> np.ndarray:
    x = ZEROS.copy()
    x[2, 1 : 1 + len(values)] = values
    return x


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (spoiled(np.nan, np.inf, -np.inf), r"3 of 24 values are NaN or infinite, the first at \[2, 1\]"),
        (spoiled(np.inf), r"1 of 24 values are NaN or infinite"),
        (spoiled(200.0), r"floats from 0 to 200; expected \[-1, 1\]; x.astype\('uint8'\)"),
        (spoiled(-3.0), r"floats from -3 to 0; expected \[-1, 1\]; 2 \* \(x - x.min\(\)\)"),
        (np.array([[1, "a"], [2, "b"]], object), "samples of type object"),
        (np.array([["a", "b"], ["c", "d"]]), "samples of type <U1"),
        (np.zeros((2, 2), np.complex64), "samples of type complex64"),
        (np.zeros((2, 2), "M8[s]"), "samples of type datetime64"),
        (np.zeros(4, [("a", "u1")]), "samples of type"),
        (np.zeros((2, 2), np.int64), "samples of type int64"),
        (np.zeros((2, 2), bool), "samples of type bool"),
        (torch.zeros(2, 2, dtype=torch.complex64), "samples of type complex64"),
        ([[0.0], [1.0]], "found list"),
        (np.zeros(4, np.uint8), r"shape \[4\]; expected images"),
        (np.zeros((2, 2, 2, 3, 1), np.uint8), "expected images"),
        (np.zeros((2, 0, 3), np.uint8), "hold nothing"),
        (np.zeros((0, 4, 4), np.uint8), "hold nothing"),
        (np.zeros((2, 3, 8, 8), np.uint8), r"8 channels.*x.transpose\(0, 2, 3, 1\)"),
        (np.zeros((2, 8, 8, 2), np.uint8), "2 channels"),
        (torch.zeros(2, 8, 8, 3), r"8 channels.*x.permute\(0, 3, 1, 2\)"),
        (np.zeros((32, 32, 3), np.uint8), r"look like one image"),
        (np.zeros((1, 8, 8), np.uint8), "one sample only"),
    ],
)
def test_bad_samples_are_refused_in_one_line_that_opens_with_the_name(x: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        from_arrays(x, name="mine")
    assert str(caught.value).startswith("mine: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros(3, np.int64), "3 labels for 4 samples"),
        (np.array([0, -1, 0, 0]), "label -1 is negative"),
        (np.array([0.0, 1, 0, 1]), "labels of type float64; expected integers"),
        (np.array([True, False, True, True]), "labels of type bool"),
        (np.array(["a", "b", "a", "b"]), "labels of type <U1"),
        (np.eye(4, dtype=np.int64), r"argmax.*y.astype\(bool\) makes attributes"),
        (np.zeros(4), r"y\[:, None\] makes conditions of one number each"),
        (np.zeros((3, 2)), "3 conditions for 4 samples"),
        (np.zeros((4, 0)), "hold nothing"),
        (np.array([[0.0], [np.nan], [np.inf], [1]]), r"2 of 4 values of the conditions are NaN.*first at \[1, 0\]"),
        (np.full((4, 1), 1e300), "4 of 4 values of the conditions are NaN, infinite or too large"),
        (np.full((4, 2, 2), 7.0), r"mine, conditions: floats from 7 to 7; expected \[-1, 1\]"),
        (np.full((4, 2, 2), np.nan), "mine, conditions: 16 of 16 values are NaN"),
        (np.zeros((4, 2, 2), np.int64), "mine, conditions: .* of type int64"),
        (np.zeros((4, 2, 2, 2, 2)), "labels of type float64; expected integers"),
        (np.array([0, 1, 2, 10**9]), "1000000001 classes for 4 samples"),
        ([0, 1, 0, 1], "found list"),
    ],
)
def test_bad_labels_are_refused(y: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        from_arrays(ZEROS, y, name="mine")


def test_class_names_must_fit() -> None:
    y = np.array([0, 1, 0, 1])
    with pytest.raises(RequestError, match="label 1 has no name"):
        from_arrays(ZEROS, y, class_names=("cat",))
    with pytest.raises(RequestError, match="same name"):
        from_arrays(ZEROS, y, class_names=("cat", "cat"))
    with pytest.raises(RequestError, match=r"class_names name classes, and y \[4, 2\] holds conditions"):
        from_arrays(ZEROS, np.zeros((4, 2)), class_names=("cat", "dog"))
    with pytest.raises(RequestError, match="without labels"):
        from_arrays(ZEROS, class_names=("cat",))
