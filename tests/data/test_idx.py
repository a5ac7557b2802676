import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparring.core.errors import RequestError
from sparring.data.idx import labels_beside, load_idx, read_idx
from sparring.data.tensors import from_arrays


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def put(folder: Path, prefix: str, n: int, seed: int = 0, zipped: bool = False, labelled: bool = True) -> np.ndarray:
    rng = np.random.RandomState(seed)
    images, labels = rng.randint(0, 256, (n, 4, 3)).astype(np.uint8), (np.arange(n) % 3).astype(np.uint8)
    pack, end = (gzip.compress, ".gz") if zipped else (bytes, "")
    (folder / f"{prefix}images-idx3-ubyte{end}").write_bytes(pack(idx(images)))
    if labelled:
        (folder / f"{prefix}labels-idx1-ubyte{end}").write_bytes(pack(idx(labels)))
    return images


@pytest.mark.parametrize("zipped", [False, True])
def test_a_folder_gives_the_split_with_its_labels(tmp_path: Path, zipped: bool) -> None:
    train, test = put(tmp_path, "train-", 6, 0, zipped), put(tmp_path, "t10k-", 4, 1, zipped)
    for split, images in (("train", train), ("test", test)):
        source = load_idx(tmp_path, split)
        assert np.array_equal(source.numpy()[..., 0], images)
        assert source.labels is not None
        assert source.labels.tolist() == [i % 3 for i in range(len(images))]
        assert source.spec.num_classes == 3
        assert source.spec.shape == (1, 4, 3)


def test_a_file_finds_the_labels_beside_it(tmp_path: Path) -> None:
    put(tmp_path, "emnist-letters-", 6)
    assert load_idx(tmp_path / "emnist-letters-images-idx3-ubyte").spec.num_classes == 3
    (tmp_path / "my-images.idx3-ubyte").write_bytes(idx(np.zeros((2, 4, 3), np.uint8)))
    (tmp_path / "my-labels.idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.array([0, 1], np.uint8))))
    assert labels_beside(tmp_path / "my-images.idx3-ubyte") == tmp_path / "my-labels.idx1-ubyte.gz"
    assert load_idx(tmp_path / "my-images.idx3-ubyte").spec.num_classes == 2


def test_no_labels_file_is_said(tmp_path: Path) -> None:
    put(tmp_path, "", 6, labelled=False)
    source = load_idx(tmp_path)
    assert source.labels is None
    assert "unconditional" in source.report["notes"][-1]


def test_labels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "train-", 6)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(5, np.uint8)))
    with pytest.raises(RequestError, match=r"labels of shape \[5\] for 6 images"):
        load_idx(tmp_path)


def test_missing_and_ambiguous_splits_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "train-", 6)
    with pytest.raises(RequestError, match="split 'test', found 0 among train-images-idx3-ubyte"):
        load_idx(tmp_path, "test")
    put(tmp_path, "more-train-", 6)
    with pytest.raises(RequestError, match="split 'train', found 2"):
        load_idx(tmp_path)


def test_a_labels_file_in_place_of_images_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "", 6)
    with pytest.raises(RequestError, match="expected images"):
        load_idx(tmp_path / "labels-idx1-ubyte")


GOOD = idx(np.arange(24, dtype=np.uint8).reshape(2, 4, 3))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an IDX file"),
        (b"\0\0\x08", "not an IDX file"),
        (b"\x89PNG\r\n\x1a\n", "not an IDX file"),
        (GOOD[:2] + b"\x0d" + GOOD[3:], "type 0x0d"),
        (b"\0\0\x08\0" + GOOD[4:], "0 dimensions"),
        (b"\0\0\x08\xff" + b"\0\0\0\1" * 255, "255 dimensions"),
        (GOOD[:10], "ends early"),
        (GOOD[:-1], "needs 24 bytes"),
        (GOOD + b"x", "found more"),
        (b"\0\0\x08\3" + b"\xff" * 12, "promises 79228162458924105385300197375 bytes"),
        (b"\0\0\x08\1" + struct.pack(">I", 2**31), "promises 2147483648 bytes"),
        (b"\0\0\x08\2" + struct.pack(">II", 0, 2**31), "holds nothing"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_lying_headers_are_refused(tmp_path: Path, data: bytes, message: str, zipped: bool) -> None:
    path = tmp_path / ("images-idx3-ubyte.gz" if zipped else "images-idx3-ubyte")
    path.write_bytes(gzip.compress(data) if zipped else data)
    if message in ("needs 24 bytes", "promises") and not zipped:
        message = "promises|needs"
    with pytest.raises(RequestError, match=message) as caught:
        read_idx(path)
    assert "images-idx3-ubyte" in str(caught.value)


def test_a_damaged_gzip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "images-idx3-ubyte.gz"
    for data in (gzip.compress(GOOD)[:-9], b"junk", b"", gzip.compress(GOOD)[:-8] + b"\0" * 8):
        path.write_bytes(data)
        with pytest.raises(RequestError, match=r"fetch the file again|not an IDX file"):
            read_idx(path)


def test_the_content_hash_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(GOOD))
    right = hashlib.sha256(GOOD).hexdigest()
    assert read_idx(path, sha256=right).shape == (2, 4, 3)
    with pytest.raises(RequestError, match=f"SHA-256 {right}, expected 0000"):
        read_idx(path, sha256="0" * 64)


def reference(data: bytes) -> np.ndarray | None:
    """The right answer, byte by byte, or None where the format is broken."""
    if len(data) < 4 or data[0] or data[1] or data[2] != 8 or not 1 <= data[3] <= 4 or len(data) < 4 + 4 * data[3]:
        return None
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(data[3])]
    body, count = data[4 + 4 * data[3] :], 1
    for side in shape:
        count *= side
    return None if count != len(body) or count == 0 else np.array(list(body), np.uint8).reshape(shape)


side = st.sampled_from([0, 1, 2, 3, 255, 65536, 2**31, 2**32 - 1])
headers = st.builds(
    lambda magic, rank, sides, body: magic + bytes([rank]) + struct.pack(f">{len(sides)}I", *sides) + body,
    st.sampled_from([b"\0\0\x08", b"\0\0\x08", b"\0\0\x09", b"\0\1\x08"]),
    st.integers(0, 5),
    st.lists(side, max_size=5),
    st.binary(max_size=40),
)
honest = st.lists(st.integers(1, 4), min_size=1, max_size=4).flatmap(
    lambda s: st.binary(min_size=int(np.prod(s)), max_size=int(np.prod(s))).map(
        lambda body: b"\0\0\x08" + bytes([len(s)]) + struct.pack(f">{len(s)}I", *s) + body
    )
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.one_of(headers, honest, st.binary(max_size=64)), zipped=st.booleans(), cut=st.integers(0, 3))
def test_any_bytes_give_the_right_array_or_a_refusal(tmp_path: Path, data: bytes, zipped: bool, cut: int) -> None:
    packed = gzip.compress(data, 1) if zipped else data
    if cut == 1:
        packed = packed[: len(packed) // 2]
    path = tmp_path / ("x.gz" if zipped else "x")
    path.write_bytes(packed)
    right = reference(data if zipped or cut != 1 else packed)
    try:
        found = read_idx(path)
    except RequestError:
        assert right is None or cut == 1
    else:
        assert right is not None
        assert np.array_equal(found, right)


@pytest.mark.mnist
def test_real_mnist(real_mnist_root: Path) -> None:
    train, test = (load_idx(real_mnist_root / "mnist", split) for split in ("train", "test"))
    assert (len(train), len(test)) == (60_000, 10_000)
    # The label counts that the set's documentation and many papers give.
    assert list(train.report["classes"].values()) == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert list(test.report["classes"].values()) == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    x = train.take(torch.arange(60_000)).x
    assert x.shape == (60_000, 1, 28, 28)
    assert abs((float(x.mean()) + 1) / 2 - 0.1307) < 1e-4  # the usual normalisation constant


def test_same_data_has_the_same_hash_as_an_array(tmp_path: Path) -> None:
    images = put(tmp_path, "", 6)
    assert load_idx(tmp_path).spec.sha256 == from_arrays(images, np.arange(6) % 3).spec.sha256
