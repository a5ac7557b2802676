import io
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from sparring.core.errors import RequestError
from sparring.data.arrays import load_array
from sparring.data.tensors import from_arrays

IMAGES = np.random.RandomState(0).randint(0, 256, (5, 4, 6, 3)).astype(np.uint8)
LABELS = np.array([0, 1, 0, 1, 1])


def test_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", IMAGES)
    source = load_array(tmp_path / "a.npy")
    assert np.array_equal(source.numpy(), IMAGES)
    assert source.spec.name == "a.npy"
    assert source.report["kind"] == "npy"


@pytest.mark.parametrize("array", [np.asfortranarray(IMAGES), IMAGES.astype(">u2"), IMAGES[::2, ::-1]])
def test_any_layout_that_numpy_saves(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    assert np.array_equal(load_array(tmp_path / "a.npy").numpy(), array)


def test_format_2_headers_are_read(tmp_path: Path) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array(file, IMAGES, version=(2, 0))
    assert np.array_equal(load_array(tmp_path / "a.npy").numpy(), IMAGES)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(("x", "y"), [("images", "labels"), ("x", "y"), ("images", "y")])
def test_npz(tmp_path: Path, save: object, x: str, y: str) -> None:
    save(tmp_path / "a.npz", other=np.zeros(3), **{y: LABELS, x: IMAGES})  # type: ignore[operator]
    source = load_array(tmp_path / "a.npz")
    assert np.array_equal(source.numpy(), IMAGES)
    assert source.spec.sha256 == from_arrays(IMAGES, LABELS).spec.sha256
    assert "arrays not used: other" in source.report["notes"]


def test_npz_takes_the_first_array_and_says_so(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", y=LABELS, faces=IMAGES)
    source = load_array(tmp_path / "a.npz")
    assert source.spec.num_classes == 2
    assert "the first one, 'faces'" in source.report["notes"][0]


def test_npz_with_splits(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_test=IMAGES[:2], y_test=LABELS[:2], x_train=IMAGES, y_train=LABELS)
    assert len(load_array(tmp_path / "a.npz")) == 5
    assert len(load_array(tmp_path / "a.npz", "test")) == 2
    np.savez(tmp_path / "b.npz", images=IMAGES)
    with pytest.raises(RequestError, match="no array 'x_test' for split 'test', only images"):
        load_array(tmp_path / "b.npz", "test")
    np.save(tmp_path / "c.npy", IMAGES)
    with pytest.raises(RequestError, match="no split 'test'"):
        load_array(tmp_path / "c.npy", "test")


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('a pickle was executed')",)


def header(text: str) -> bytes:
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text.encode()


def claim(shape: str, dtype: str = "|u1") -> bytes:
    return header("{'descr': '%s', 'fortran_order': False, 'shape': %s}" % (dtype, shape))  # noqa: UP031


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an array saved by numpy"),
        (b"hello, this is text", "not an array saved by numpy"),
        (pickle.dumps(Trap()), "not an array saved by numpy"),
        (claim("(2, 2)", "|O") + pickle.dumps(Trap()), "an array of type object is not read"),
        (claim("(10**6, 1000)"), "header is not one"),
        (claim("(1000000000000, 3)"), "promises 3000000000000 bytes"),
        (claim("(2, 2)") + b"abc", "promises 4 bytes .* found 3"),
        (claim("(2, 2)") + b"abcde", "promises 4 bytes .* found 5"),
        (claim("(0, 4)"), "holds nothing"),
        (claim("(-1, -4)") + b"abcd", "not a readable"),
        (claim("(2, 2)", "|S1") + b"abcd", "type .S1 is not read"),
        (header("__import__('os').abort()"), "header is not one"),
        (header("(       "), "header is not one"),
        (header("(" * 5000), "header is not one"),
        (b"\x93NUMPY\2\0" + struct.pack("<I", 2**31), "header of 2147483648 bytes"),
        (b"\x93NUMPY\1\0", "ends within its header"),
    ],
)
def test_hostile_npy(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(RequestError, match=message) as caught:
        load_array(tmp_path / "a.npy")
    assert "a.npy" in str(caught.value)
    assert "\n" not in str(caught.value)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", data)
    with pytest.raises(RequestError, match=message.replace(".npy", ".npz")):
        load_array(tmp_path / "a.npz")


def test_object_arrays_of_numpys_own_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([Trap(), Trap()], object), allow_pickle=True)
    with pytest.raises(RequestError, match="type object"):
        load_array(tmp_path / "a.npy")


def test_not_a_zip_and_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"text")
    with pytest.raises(RequestError, match=r"not a readable \.npz"):
        load_array(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", labels=LABELS)
    with pytest.raises(RequestError, match="holds no samples"):
        load_array(tmp_path / "b.npz")


def test_a_flipped_bit_in_npz_is_found(tmp_path: Path) -> None:
    out = io.BytesIO()
    np.savez(out, images=IMAGES)
    data = bytearray(out.getvalue())
    at = data.find(IMAGES.tobytes()[:16]) + 50
    data[at] ^= 1
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(RequestError, match="CRC"):
        load_array(tmp_path / "a.npz")


def test_a_wrong_checksum_in_npz_is_found(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", images=IMAGES)
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[data.find(b"PK\1\2") + 16] ^= 1  # the CRC in the central directory
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(RequestError, match="CRC"):
        load_array(tmp_path / "a.npz")


def test_a_zip_bomb_is_refused_unread(tmp_path: Path) -> None:
    archive = zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED)
    with archive, archive.open("images.npy", "w") as file:
        file.write(claim(f"({300 * 2**20},)"))
        for _ in range(300):
            file.write(bytes(2**20))
    with pytest.raises(RequestError, match="too many for its size"):
        load_array(tmp_path / "a.npz")


def test_what_from_arrays_refuses_names_the_file(tmp_path: Path) -> None:
    x = np.zeros((3, 4), np.float32)
    x[1, 2] = np.nan
    np.save(tmp_path / "a.npy", x)
    with pytest.raises(RequestError, match=r"a.npy: 1 of 12 values are NaN or infinite, the first at \[1, 2\]"):
        load_array(tmp_path / "a.npy")


def test_conditions_of_an_npz(tmp_path: Path) -> None:
    y = np.linspace(-2, 2, 3 * len(LABELS), dtype=np.float32).reshape(-1, 3)
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=y)
    source = load_array(tmp_path / "a.npz")
    assert source.spec.y_shape == (3,)
    assert torch.equal(source.take(torch.tensor([1, 0])).y, torch.from_numpy(y[[1, 0]]))  # type: ignore[arg-type]
