import io
import json
import lzma
import os
import stat
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sparring.core.errors import RequestError
from sparring.data import images as module
from sparring.data import listing
from sparring.data.images import load_images
from sparring.data.listing import choose
from sparring.data.pixels import Refused, decode, fit, open_image, upright_size
from sparring.data.tensors import Resident

Png = Callable[..., bytes]
GRID = np.arange(24 * 40 * 3, dtype=np.uint32).reshape(24, 40, 3).astype(np.uint8)


def saved(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def read(data: bytes) -> module.Picture:
    with open_image(data) as image:
        return decode(image)


def put(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def many(png: Png, count: int = 40, **options: Any) -> dict[str, bytes]:
    return {f"{i:03}.png": png(i, **options) for i in range(count)}


# What one file gives


@pytest.mark.parametrize(
    ("form", "shape"),
    [(form, shape) for form in ("PNG", "BMP", "TIFF", "PPM") for shape in ((24, 40), (24, 40, 3))]
    + [("PNG", (24, 40, 4)), ("TIFF", (24, 40, 4))],
)
def test_lossless_files_give_their_pixels(form: str, shape: tuple[int, ...]) -> None:
    pixels = np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8)
    picture = read(saved(Image.fromarray(pixels), form))
    assert np.array_equal(picture.pixels, pixels.reshape(24, 40, -1))
    assert picture.converted == ()


def test_lossy_files_come_near() -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, 40)[None, :, None], (24, 40, 3)).astype(np.uint8)
    for form in ("JPEG", "WEBP"):
        assert np.abs(read(saved(Image.fromarray(ramp), form)).pixels.astype(int) - ramp).mean() < 4


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_stays_16_bit(form: str) -> None:
    pixels = np.random.RandomState(0).randint(0, 65536, (5, 7)).astype(np.uint16)
    pixels[0, :2] = 0, 65535
    found = read(saved(Image.fromarray(pixels), form)).pixels
    assert found.dtype == np.uint16
    assert np.array_equal(found[..., 0], pixels)


def test_palette() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 0])
    image.putpixel((1, 0), 1)
    picture = read(saved(image))
    assert picture.pixels.tolist() == [[[10, 20, 30], [200, 100, 0]]]
    assert picture.converted == ("palette to RGB",)
    picture = read(saved(image, transparency=1))
    assert picture.pixels[..., 3].tolist() == [[255, 0]]
    assert picture.converted == ("palette with transparency to RGBA",)
    picture = read(saved(image, transparency=bytes([7, 255])))
    assert picture.pixels.tolist() == [[[10, 20, 30, 7], [200, 100, 0, 255]]]


def test_cmyk_one_bit_and_transparent_kinds() -> None:
    cmyk = read(saved(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "TIFF"))
    assert cmyk.pixels[8, 8].tolist() == [0, 255, 255]
    assert cmyk.converted == ("CMYK to RGB",)
    jpeg = read(saved(Image.new("CMYK", (16, 16), (0, 255, 0, 0)), "JPEG"))
    assert np.abs(jpeg.pixels[8, 8].astype(int) - [255, 0, 255]).max() <= 3
    bits = np.array([[True, False], [False, True]])
    one = read(saved(Image.fromarray(bits)))
    assert one.pixels[..., 0].tolist() == [[255, 0], [0, 255]]
    assert one.converted == ("1-bit to grey",)
    la = read(saved(Image.new("LA", (2, 2), (80, 7))))
    assert la.pixels[0, 0].tolist() == [80, 80, 80, 7]
    assert la.converted == ("grey with alpha to RGBA",)
    keyed = read(saved(Image.new("L", (2, 2), 9), transparency=9))
    assert keyed.pixels[0, 0, 3] == 0
    assert keyed.converted == ("grey with transparency to RGBA",)
    keyed = read(saved(Image.new("RGB", (2, 2), (1, 2, 3)), transparency=(1, 2, 3)))
    assert keyed.pixels[0, 0].tolist() == [1, 2, 3, 0]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_sides_are_known_before_decoding(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.new("RGB", (7, 4)).save(file, kind, exif=exif)
    image = open_image(file.getvalue())
    assert upright_size(image) == decode(image).pixels.shape[:2] == ((7, 4) if orientation > 4 else (4, 7))


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation: int, deep: bool) -> None:
    # What each value means, by the EXIF standard: which side of the scene the first row and first column are.
    meant = {
        1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1), 6: lambda a: a.swapaxes(0, 1)[:, ::-1],
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1), 8: lambda a: a.swapaxes(0, 1)[::-1],
    }  # fmt: skip
    pixels = np.arange(6, dtype=np.uint16 if deep else np.uint8).reshape(2, 3) * 9
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(Image.fromarray(pixels), exif=exif)
    picture = read(data)
    assert np.array_equal(picture.pixels[..., 0], meant[orientation](pixels))
    assert picture.converted == (() if orientation == 1 else ("EXIF orientation applied",))
    with open_image(data) as image:
        assert upright_size(image) == picture.pixels.shape[:2]


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animations_give_their_first_frame(form: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if form == "WEBP" else {}
    picture = read(saved(frames[0], form, save_all=True, append_images=frames[1:], **options))
    assert picture.pixels[0, 0, :3].tolist() == [255, 0, 0]
    assert "first frame of several" in picture.converted


def png_bytes(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_16_bit_colour_is_counted_as_reduced() -> None:
    picture = read(png_bytes(2, 1, 16, 2, b"\0" + bytes([200, 1, 100, 2, 50, 3]) * 2))
    assert picture.pixels.tolist() == [[[200, 100, 50]] * 2]
    assert picture.converted == ("16-bit colour to 8-bit",)
    ppm = read(b"P6 1 1 65535 " + bytes([200, 200, 100, 100, 50, 50]))
    assert ppm.pixels.tolist() == [[[200, 100, 50]]]
    assert ppm.converted == ("16-bit colour to 8-bit",)


def test_16_bit_colour_is_counted_in_a_folder(tmp_path: Path) -> None:
    deep = png_bytes(2, 1, 16, 2, b"\0" + bytes([200, 1, 100, 2, 50, 3]) * 2)
    put(tmp_path, {"0.png": deep, "1.png": deep, "2.png": saved(Image.new("RGB", (2, 1), (200, 100, 50)))})
    source = load_images(tmp_path)
    assert source.report["converted"] == {"16-bit colour to 8-bit": 2}
    assert source.report["duplicates"] == 2


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"just some text", "not an image of a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image of a known format"),
        (png_bytes(50_000, 50_000, 8, 0, b""), "more than the limit of 67108864 pixels"),
        (png_bytes(10_000, 10_000, 8, 0, b""), "more than the limit of 67108864 pixels"),
        (png_bytes(9_000, 8_000, 8, 0, b""), "8000x9000 is more than the limit of 67108864 pixels"),
        (saved(Image.new("F", (4, 4)), "TIFF"), "pixels of kind F"),
        (saved(Image.new("I", (4, 4)), "TIFF"), "pixels of kind I"),
    ],
)
def test_what_is_refused(data: bytes, reason: str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
        with pytest.raises(Refused, match=reason):
            read(data)


# Fitting to a size


def test_fit_crops_the_centre_and_keeps_the_shape_of_things() -> None:
    pixels = np.zeros((4, 10, 1), np.uint8)
    pixels[:, 3:7] = 200
    out, resized, cropped = fit(pixels, (4, 4))
    assert (resized, cropped) == (False, True)
    assert (out == 200).all()
    out, resized, cropped = fit(pixels, (2, 2))
    assert (resized, cropped) == (True, True)
    assert (out == 200).all()
    assert fit(pixels, (2, 5))[1:] == (True, False)
    same, resized, cropped = fit(pixels, (4, 10))
    assert (resized, cropped) == (False, False)
    assert np.array_equal(same, pixels)
    assert fit(np.zeros((1, 50, 3), np.uint8), (8, 8))[0].shape == (8, 8, 3)


def test_fit_averages_when_it_shrinks() -> None:
    checks = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)[..., None]
    assert np.abs(fit(checks, (8, 8))[0].astype(int)[1:-1, 1:-1] - 127.5).max() <= 3


def test_fit_agrees_across_types() -> None:
    pixels = np.random.RandomState(0).randint(0, 256, (20, 30, 1)).astype(np.uint8)
    low = fit(pixels, (10, 15))[0].astype(float)
    deep = fit(pixels.astype(np.uint16) * 257, (10, 15))[0]
    assert deep.dtype == np.uint16
    assert np.abs(deep / 257 - low).max() <= 1
    floats = fit((pixels / 127.5 - 1).astype(np.float32), (10, 15))[0]
    assert floats.dtype == np.float32
    assert np.abs((floats + 1) * 127.5 - low).max() <= 1
    extreme = np.where(np.arange(30)[None, :, None] < 15, 0, 65535).astype(np.uint16).repeat(20, 0)
    out = fit(extreme, (40, 60))[0]
    assert out[:, :29].max() < 8000  # the filter's overshoot ends at the range, it doesn't wrap around
    assert out[:, 31:].min() > 57_000


def test_fit_takes_no_colour_from_transparent_pixels() -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:, :3] = 255, 0, 0, 0  # transparent red
    pixels[:, 3:] = 0, 0, 255, 255  # opaque blue
    out = fit(pixels, (2, 2))[0]
    assert out[..., 3].max() > 0
    assert (out[..., 0][out[..., 3] > 20] < 10).all()


# What names say


def test_choose_reads_the_structure() -> None:
    flat = choose(
        ["b.png", "a.PNG", ".DS_Store", "notes.txt", ".x/c.png", "__MACOSX/a.png", "README"], "train", "use", "x"
    )
    assert flat.files == [(1, ""), (0, "")]
    assert dict(flat.ignored) == {"hidden": 3, ".txt": 1, "no suffix": 1}
    assert choose(["set/a.png", "set/b.png"], "train", "use", "x").files == [(0, ""), (1, "")]
    nested = choose(["set/dog/b.png", "set/cat/a.png", "set/cat/deep/c.png"], "train", "use", "x")
    assert nested.files == [(1, "cat"), (2, "cat"), (0, "dog")]
    empty_beside = choose(["cat/a.png", "cat/b.png", "notes/readme.txt"], "train", "use", "x")
    assert [label for _, label in empty_beside.files] == ["", ""]


def test_choose_takes_a_split() -> None:
    names = ["Train/cat/a.png", "Train/dog/b.png", "test/cat/c.png", "val/cat/d.png"]
    chosen = choose(names, "train", "use", "x")
    assert chosen.files == [(0, "cat"), (1, "dog")]
    assert chosen.notes == ["split train: took 2 images of Train/, left 2 of test/, val/"]
    assert choose(names, "test", "use", "x").files == [(2, "")]
    for missing in (["a.png", "b.png"], ["train/a.png", "val/b.png"], ["cat/a.png", "dog/b.png"]):
        with pytest.raises(RequestError, match="no split 'test'"):
            choose(missing, "test", "use", "x")


def test_labels_missing_for_some() -> None:
    names = ["cat/a.png", "dog/b.png", "c.png"]
    with pytest.raises(RequestError, match=r"labels missing for 1 of 3 images.*\(cat, dog\).*--labels ignore"):
        choose(names, "train", "use", "x")
    ignored = choose(names, "train", "ignore", "x")
    assert ignored.files == [(2, ""), (0, ""), (1, "")]
    assert "labels ignored" in ignored.notes[0]


# Folders and archives


def pack_zip(files: dict[str, bytes], path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def pack_tar(files: dict[str, bytes], path: Path) -> Path:
    with tarfile.open(path, "w:" + {".gz": "gz", ".xz": "xz"}.get(path.suffix, "")) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def test_folder_zip_and_tars_give_the_same_source(tmp_path: Path, png: Png) -> None:
    files = {f"set/{label}/{i}.png": png(i, (24, 40, 3)) for i, label in enumerate(["dog", "cat", "猫", "dog"])}
    files |= {"set/readme.txt": b"hello"}
    sources = [load_images(put(tmp_path / "a", files))]
    sources.append(load_images(pack_zip(files, tmp_path / "a.zip")))
    sources += [load_images(pack_tar(files, tmp_path / f"a{end}")) for end in (".tar", ".tar.gz", ".tgz", ".tar.xz")]
    assert {len(s) for s in sources} == {4}
    assert {s.spec.sha256 for s in sources} == {sources[0].spec.sha256}
    source = sources[0]
    assert source.spec.shape == (3, 24, 40)
    assert source.spec.class_names == ("cat", "dog", "猫")
    assert source.report["classes"] == {"cat": 1, "dog": 2, "猫": 1}
    assert source.report["sizes"] == {"24x40": 4}
    assert source.report["ignored"] == 1
    assert [s.report["kind"] for s in sources] == ["folder of images", "zip of images"] + ["tar of images"] * 4
    assert np.array_equal(source.numpy()[0], read(files["set/cat/1.png"]).pixels)
    assert json.loads(json.dumps(source.report)) == source.report


def test_order_is_by_path_however_many_threads(tmp_path: Path, png: Png, monkeypatch: pytest.MonkeyPatch) -> None:
    root = put(tmp_path / "a", many(png, 150))
    plain = load_images(root)
    monkeypatch.setattr(module, "TINY_SECONDS", 0.0)
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    threaded = load_images(root)
    assert threaded.spec.sha256 == plain.spec.sha256
    expected = np.stack([read(png(i)).pixels for i in range(150)])
    assert np.array_equal(threaded.numpy(), expected)


def test_16_bit_grey_and_rgba_folders(tmp_path: Path, png: Png) -> None:
    deep = np.random.RandomState(0).randint(0, 65536, (3, 5, 7)).astype(np.uint16)
    source = load_images(put(tmp_path / "deep", {f"{i}.png": saved(Image.fromarray(x)) for i, x in enumerate(deep)}))
    assert (source.spec.levels, source.spec.shape) == (65536, (1, 5, 7))
    assert np.array_equal(source.numpy()[..., 0], deep)
    source = load_images(put(tmp_path / "rgba", many(png, 3, shape=(5, 7, 4))))
    assert (source.spec.levels, source.spec.shape, source.report["channels"]) == (256, (4, 5, 7), 4)


def test_mixed_channels_take_the_widest_that_loses_nothing(tmp_path: Path, png: Png) -> None:
    files = {"0.png": png(0, (6, 5)), "1.png": png(1, (6, 5, 3)), "2.png": png(2, (6, 5))}
    source = load_images(put(tmp_path / "a", files))
    assert source.spec.shape == (3, 6, 5)
    assert source.report["converted"] == {"grey to RGB, as others need it": 2}
    assert all(np.array_equal(source.numpy()[0][..., c], read(files["0.png"]).pixels[..., 0]) for c in range(3))
    source = load_images(put(tmp_path / "a", {"3.png": png(3, (6, 5, 4))}))
    assert source.spec.shape == (4, 6, 5)
    assert source.report["converted"] == {"RGB to RGBA, as others need it": 1, "grey to RGBA, as others need it": 2}
    assert (source.numpy()[:3, ..., 3] == 255).all()


def test_16_bit_among_8_bit_is_refused(tmp_path: Path, png: Png) -> None:
    files = {"0.png": png(0, (6, 5)), "1.png": saved(Image.fromarray(np.zeros((6, 5), np.uint16)))}
    with pytest.raises(RequestError, match="1 images of 16 bits among 1 of 8 bits; save them all"):
        load_images(put(tmp_path, files))


def test_mixed_sizes_need_a_size(tmp_path: Path, png: Png) -> None:
    files = many(png, 4, shape=(6, 8, 3)) | {"x.png": png(9, (12, 16, 3)), "y.png": png(10, (20, 8, 3))}
    put(tmp_path, files)
    with pytest.raises(RequestError, match=r"mixed sizes: 6x8 \(4\), .*--size HxW") as caught:
        load_images(tmp_path)
    assert "12x16 (1)" in str(caught.value)
    assert "20x8 (1)" in str(caught.value)
    source = load_images(tmp_path, size=(6, 8))
    assert source.spec.shape == (3, 6, 8)
    assert source.report["sizes"] == {"6x8": 4, "12x16": 1, "20x8": 1}
    assert (source.report["resized"], source.report["cropped"]) == (1, 1)


def test_many_sizes_are_listed_shortly(tmp_path: Path, png: Png) -> None:
    put(tmp_path, {f"{i:02}.png": png(i, (4, 4 + i, 3)) for i in range(9)})
    with pytest.raises(RequestError, match="and 4 more sizes"):
        load_images(tmp_path)


def test_bad_files_among_good_ones_are_counted_and_named(tmp_path: Path, png: Png) -> None:
    put(tmp_path, many(png, 78))
    put(
        tmp_path,
        {"a.png": png(0)[:60], "b.png": b"", "c.png": b"I am text", "bomb.png": png_bytes(50_000, 50_000, 8, 0, b"")},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the verdict must not hang on the caller's own filters
        source = load_images(tmp_path)
    assert len(source) == 78
    refused = {bad["file"]: bad["reason"] for bad in source.report["refused"]}
    assert list(refused) == ["a.png", "b.png", "bomb.png", "c.png"]
    assert "truncated" in refused["a.png"]
    assert refused["b.png"] == "empty file"
    assert "limit" in refused["bomb.png"]
    assert "not an image" in refused["c.png"]
    assert any(note.startswith("4 of 82 image files are bad (4.9 %) and left out") for note in source.report["notes"])


def test_too_many_bad_files_are_an_error_that_names_the_first(tmp_path: Path, png: Png) -> None:
    put(tmp_path, many(png, 19) | {"bad\n1.png": b""})
    assert len(load_images(tmp_path)) == 19  # exactly 5 %
    put(tmp_path, {"bad2.png": b"text"})
    with pytest.raises(RequestError, match=r"2 of 21 image files are bad, more than 5%; the first is") as caught:
        load_images(tmp_path)
    assert r"bad\n1.png" in str(caught.value).replace("\\\\", "\\")
    assert "\n" not in str(caught.value)


def test_pillow_warnings_refuse_whatever_the_filters(tmp_path: Path, png: Png) -> None:
    cut_short = b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01"  # five entries are announced
    put(tmp_path, many(png, 30) | {"x.png": saved(Image.new("RGB", (5, 6)), exif=cut_short)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = list(warnings.filters)
        source = load_images(tmp_path)
        assert list(warnings.filters) == before
    [bad] = source.report["refused"]
    assert bad["file"] == "x.png"
    assert "UserWarning" in bad["reason"]


def test_nothing_to_learn_from(tmp_path: Path, png: Png) -> None:
    with pytest.raises(RequestError, match="no images, found nothing"):
        load_images(tmp_path)
    put(tmp_path, {"a.txt": b"x", ".DS_Store": b"x"})
    with pytest.raises(RequestError, match=r"no images, found 2 other files; expected files like .*\.png"):
        load_images(tmp_path)
    put(tmp_path, {"a.png": png(0)})
    with pytest.raises(RequestError, match="one image only"):
        load_images(tmp_path)
    pack_zip({}, tmp_path / "empty.zip")
    with pytest.raises(RequestError, match="no images"):
        load_images(tmp_path / "empty.zip")


def test_duplicates_are_counted_by_pixels(tmp_path: Path, png: Png) -> None:
    files = many(png, 3) | {"same.png": png(1), "same.bmp": saved(Image.open(io.BytesIO(png(1))), "BMP")}
    assert load_images(put(tmp_path, files)).report["duplicates"] == 2


def test_odd_names_links_and_pipes(tmp_path: Path, png: Png) -> None:
    root = tmp_path / "set"
    put(root, many(png, 58) | {"new\nline.png": png(90), "grün 猫.png": png(91)})
    (root / "loop").symlink_to(root)
    (root / "self.png").symlink_to(root / "self.png")
    (root / "gone.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(root / "pipe.png")
    source = load_images(root)
    assert len(source) == 60
    refused = {bad["file"]: bad["reason"] for bad in source.report["refused"]}
    assert refused["pipe.png"] == "not a regular file"
    assert refused.keys() == {"pipe.png", "self.png", "gone.png"}


def test_a_linked_folder_is_followed(tmp_path: Path, png: Png) -> None:
    put(tmp_path / "elsewhere", many(png, 3))
    put(tmp_path / "set" / "dog", many(png, 2))
    (tmp_path / "set" / "cat").symlink_to(tmp_path / "elsewhere")
    assert load_images(tmp_path / "set").report["classes"] == {"cat": 3, "dog": 2}


def test_unreadable_files_and_folders_are_refused(tmp_path: Path, png: Png, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, many(png, 50) | {"locked.png": png(99), "closed/x.png": png(98)})
    scandir, read_bytes = os.scandir, Path.read_bytes

    def scan(path: Path) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    def read_one(path: Path) -> bytes:
        if path.name == "locked.png":
            raise PermissionError(13, "Permission denied")
        return read_bytes(path)

    monkeypatch.setattr(os, "scandir", scan)
    monkeypatch.setattr(Path, "read_bytes", read_one)
    assert [(bad["file"], bad["reason"]) for bad in load_images(tmp_path).report["refused"]] == [
        ("closed", "folder cannot be read (Permission denied)"),
        ("locked.png", "cannot be read (Permission denied)"),
    ]


def test_an_undecodable_name_stays_json(tmp_path: Path, png: Png) -> None:
    put(tmp_path, many(png, 40))
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")).touch()
    report = load_images(tmp_path).report
    assert report["refused"] == [{"file": "caf\\udce9.png", "reason": "empty file"}]
    json.dumps(report, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../evil.png", "has '..' in its path"),
        ("a/../../evil.png", "has '..' in its path"),
        ("..\\evil.png", "has '..' in its path"),
        ("/etc/evil.png", "has an absolute path"),
        ("C:\\evil.png", "has an absolute path"),
        ("\\\\host\\share\\evil.png", "has an absolute path"),
    ],
)
@pytest.mark.parametrize("end", [".zip", ".tar", ".tar.gz", ".tar.xz"])
def test_archives_that_reach_outside_are_refused(tmp_path: Path, png: Png, name: str, why: str, end: str) -> None:
    pack = pack_zip if end == ".zip" else pack_tar
    path = pack(many(png, 3) | {name: png(9)}, tmp_path / f"a{end}")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RequestError, match="expected plain files with relative paths") as caught:
        load_images(path)
    assert why in str(caught.value)
    assert "evil.png" in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, png: Png, kind: bytes) -> None:
    path = pack_tar(many(png, 3), tmp_path / "a.tar")
    with tarfile.open(path, "a") as archive:
        member = tarfile.TarInfo("link.png")
        member.type, member.linkname = kind, "000.png"
        archive.addfile(member)
    with pytest.raises(RequestError, match=r"'link\.png' is a link or device"):
        load_images(path)


def test_links_in_a_zip_are_refused(tmp_path: Path, png: Png) -> None:
    path = pack_zip(many(png, 3), tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a") as archive:
        member = zipfile.ZipInfo("link.png")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, "000.png")
    with pytest.raises(RequestError, match=r"'link\.png' is a link or device"):
        load_images(path)


@pytest.mark.parametrize("end", [".zip", ".tar.gz", ".tar.xz"])
def test_bombs_are_refused_before_they_go_off(
    tmp_path: Path, png: Png, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparring.data.limits.FREE_BYTES", 2**20)
    pack = pack_zip if end == ".zip" else pack_tar
    path = pack(many(png, 3) | {"zeros.png": bytes(2**23)}, tmp_path / f"a{end}")
    with pytest.raises(RequestError, match="claim to unpack to more than"):
        load_images(path)


def test_a_tar_bomb_in_an_extended_header_is_refused(tmp_path: Path) -> None:
    member = tarfile.TarInfo("pax")
    member.type, member.size = tarfile.XHDTYPE, 2**26
    (tmp_path / "a.tar.xz").write_bytes(lzma.compress(member.tobuf() + bytes(2**26), preset=0))
    with pytest.raises(RequestError, match="an extended header of 67108864 bytes"):
        load_images(tmp_path / "a.tar.xz")


def test_a_tar_is_never_taken_for_a_shorter_one(tmp_path: Path, png: Png) -> None:
    files = {f"{i}.png": png(i, shape=(2, 2)) for i in range(3)}  # a header and one block of data each
    whole = pack_tar(files, tmp_path / "whole.tar").read_bytes()
    assert len(load_images(tmp_path / "whole.tar")) == 3
    path = tmp_path / "a.tar"
    for damaged in (
        whole[: 2 * 1024],
        whole[:1024] + b"?" + whole[1025:],
        whole[:2100],
        whole[:2048] + whole[512:1024],
    ):
        path.write_bytes(damaged)
        with pytest.raises(RequestError, match="damaged or cut short"):
            load_images(path)
    path.write_bytes(whole[: 3 * 1024 + 512])  # half an end mark will do
    assert len(load_images(path)) == 3


def test_headers_that_stall_a_tar_reader_are_refused(tmp_path: Path, png: Png) -> None:
    rest = pack_tar(many(png, 3), tmp_path / "a.tar").read_bytes()
    digits = tarfile.TarInfo("pax")
    digits.type, digits.size = tarfile.XHDTYPE, 2**20  # patterns of a pax reader take time quadratic in these
    chained = tarfile.TarInfo("name")
    chained.type, chained.size = tarfile.GNUTYPE_LONGNAME, 4
    backwards = tarfile.TarInfo("back.png")
    backwards.size = -1024
    bad = {
        "an extended header of 1048576 bytes": digits.tobuf() + b"1" * 2**20,
        "damaged headers: maximum recursion depth": (chained.tobuf() + b"name" + bytes(508)) * 2000,
        "a member of -1024 bytes": backwards.tobuf(tarfile.GNU_FORMAT),
    }
    for reason, head in bad.items():
        (tmp_path / "b.tar").write_bytes(head + rest)
        with pytest.raises(RequestError, match=reason):
            load_images(tmp_path / "b.tar")


def test_a_zip_with_a_nameless_member_is_read(tmp_path: Path, png: Png) -> None:
    path = pack_zip(many(png, 4), tmp_path / "a.zip")
    data = bytearray(path.read_bytes())
    at = data.rfind(b"PK\1\2")
    data[at + 28 : at + 34] = struct.pack("<HHH", 0, 0, 7)  # the seven bytes of its name are a comment
    path.write_bytes(data)
    assert (len(load_images(path)), load_images(path).report["ignored"]) == (3, 1)


def test_a_jpeg_of_endless_scans_is_refused(tmp_path: Path) -> None:
    whole = saved(Image.new("L", (16, 16), 90), "JPEG", progressive=True)
    last = whole[whole.rfind(b"\xff\xda") : -2]
    scans = whole.count(b"\xff\xda")
    longest = whole[:-2] + last * (100 - scans) + whole[-2:]
    assert read(longest).pixels.shape == (16, 16, 1)
    with pytest.raises(Refused, match="more than the limit of 100 scans"):
        read(longest[:-2] + last + whole[-2:])


def test_a_member_too_large_is_refused_alone(tmp_path: Path, png: Png, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MAX_FILE_BYTES", 10_000)
    files = many(png, 30) | {"x.png": png(0) + bytes(20_000)}
    for path in (put(tmp_path / "a", files), pack_zip(files, tmp_path / "a.zip"), pack_tar(files, tmp_path / "a.tar")):
        refused = load_images(path).report["refused"]
        assert [bad["file"] for bad in refused] == ["x.png"]
        assert "more than the limit of 10000" in refused[0]["reason"]


def test_more_than_the_memory_holds_is_refused(tmp_path: Path, png: Png, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, many(png, 10, shape=(100, 100, 3)))
    monkeypatch.setattr(module, "max_bytes", lambda: 200_000)
    with pytest.raises(RequestError, match=r"more than half of this machine's memory .* --size HxW"):
        load_images(tmp_path)
    assert len(load_images(tmp_path, size=(10, 10))) == 10


@pytest.mark.parametrize("end", [".zip", ".tar", ".tar.gz", ".tar.xz"])
def test_damaged_archives_never_end_in_anything_but_a_refusal(tmp_path: Path, png: Png, end: str) -> None:
    pack = pack_zip if end == ".zip" else pack_tar
    whole = pack(many(png, 4, shape=(3, 3)), tmp_path / f"a{end}").read_bytes()
    rng = np.random.RandomState(0)
    path = tmp_path / f"b{end}"
    for trial in range(120):
        data = bytearray(whole)
        if trial % 3 == 0:
            data = data[: rng.randint(len(data))]
        for _ in range(rng.randint(1, 6)):
            if data:
                data[rng.randint(len(data))] = rng.randint(256)
        path.write_bytes(data)
        with suppress(RequestError):
            assert isinstance(load_images(path), Resident)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
def test_damaged_images_are_refused_or_read(tmp_path: Path, png: Png, form: str) -> None:
    whole = saved(Image.fromarray(GRID), form)
    rng = np.random.RandomState(1)
    files = {}
    for trial in range(60):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            data[rng.randint(min(len(data), 400))] = rng.randint(256)
        files[f"{trial:02}.png"] = bytes(data)
    work = module._Decoder((8, 8), "x")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module=r"PIL\.")
        outcomes = work([(i, lambda data=data: data) for i, data in enumerate(files.values())])
    assert len(outcomes) == 60
    assert all((o.picture is None) == bool(o.refused) for o in outcomes)
    assert all(o.picture.pixels.shape[:2] == (8, 8) for o in outcomes if o.picture)
