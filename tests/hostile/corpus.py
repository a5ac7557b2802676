"""Bad inputs, each written by a function into an empty folder, and what must come of each.

A case is read, with a count, with what was converted, and with each bad file named beside a phrase of the reason; or
it is refused in one line that names the source and contains a phrase. Later kinds of data join with a tuple of their
own in `CASES`. `worker.py` runs them, `test_corpus.py` compares.
"""

from __future__ import annotations

import gzip
import io
import lzma
import os
import socket
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

GOOD = 24
"""Good files beside a bad one: one of 25 is within the share of bad files that is let pass."""


class Case(NamedTuple):
    """`write` fills the folder and returns the source, relative to it. A case with `refused` ends with exit code 2."""

    name: str
    write: Callable[[Path], str]
    refused: str = ""
    count: int = 0
    converted: Mapping[str, int] = {}
    bad: Mapping[str, str] = {}
    options: tuple[str, ...] = ()
    nobody: bool = False
    """Whether to run as nobody where we are root, whom no permission stops."""
    mebibytes: int = 64
    """The most memory that it may take, beyond what the command has loaded."""


Files = Mapping[str, bytes]


def put(folder: Path, files: Files) -> str:
    for name, data in files.items():
        (folder / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "set" / name).write_bytes(data)
    return "set"


def saved(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def pixels(seed: int, height: int = 6, width: int = 5) -> Image.Image:
    return Image.fromarray(np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8))


@cache
def good(count: int = GOOD) -> dict[str, bytes]:
    return {f"{i:03}.png": saved(pixels(i)) for i in range(count)}


def cut(data: bytes, percent: int) -> bytes:
    return data[: len(data) * percent // 100]


def amid(case: str, name: str, data: bytes, reason: str) -> Case:
    """One bad file among good ones: it alone is left out."""
    return Case(case, lambda folder: put(folder, good() | {name: data}), count=GOOD, bad={name: reason})


def turned(case: str, name: str, data: bytes, *words: str, also: Mapping[str, int] | None = None) -> Case:
    """One odd file among good ones: it is read, and what was changed is counted."""
    converted = dict.fromkeys(words, 1) | dict(also or {})
    return Case(case, lambda folder: put(folder, good() | {name: data}), count=GOOD + 1, converted=converted)


def source(case: str, files: Files, **outcome: Any) -> Case:
    return Case(case, lambda folder: put(folder, files), **outcome)


def file(case: str, name: str, data: bytes | Callable[[], bytes], **outcome: Any) -> Case:
    """The source is one file."""

    def write(folder: Path) -> str:
        (folder / name).write_bytes(data if isinstance(data, bytes) else data())
        return name

    return Case(case, write, **outcome)


# One file of a folder of images


def png(width: int, height: int, depth: int = 8, colour: int = 2, rows: bytes = b"", extra: bytes = b"") -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + body + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def tiff(width: int, height: int) -> bytes:
    tags = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 200), (277, 1), (278, height), (279, 9)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(400)


def endless_scans() -> bytes:
    whole = saved(Image.new("L", (5, 6), 90), "JPEG", progressive=True)
    return whole[:-2] + whole[whole.rfind(b"\xff\xda") : -2] * 100 + whole[-2:]


def odd(mode: str, form: str, **options: Any) -> bytes:
    return saved(Image.new(mode, (5, 6)), form, **options)


def palette(**options: Any) -> bytes:
    image = Image.new("P", (5, 6))
    image.putpalette([10, 20, 30, 200, 100, 0])
    return saved(image, **options)


def oriented(value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return saved(pixels(900, *((5, 6) if value in (5, 6, 7, 8) else (6, 5))), exif=exif)


def frames(form: str, **options: Any) -> bytes:
    return saved(pixels(900), form, save_all=True, append_images=[pixels(901), pixels(902)], **options)


JPEG, PNG = saved(pixels(900, 60, 50), "JPEG"), saved(pixels(900, 60, 50))
NO_IMAGE, CUT, CUT_HEAD = "not an image of a known format", "truncated", "runcated"
LIMIT = "more than the limit of 67108864 pixels"
RGBA = {"RGB to RGBA, as others need it": GOOD}
AS_RGB = {"grey to RGB, as others need it": 1}
FIRST, UPRIGHT = "first frame of several", "EXIF orientation applied"

PICTURES = (
    amid("JPEG cut at 0 %", "x.jpg", cut(JPEG, 0), "empty file"),
    *(amid(f"JPEG cut at {p} %", "x.jpg", cut(JPEG, p), CUT_HEAD) for p in range(10, 100, 10)),
    *(amid(f"PNG cut at {p} %", "x.png", cut(PNG, p), CUT) for p in range(10, 100, 10)),
    amid("PNG of its first 20 bytes", "x.png", PNG[:20], CUT_HEAD),
    amid("GIF cut", "x.gif", cut(saved(pixels(1, 60, 50), "GIF"), 50), "cannot be"),
    amid("WebP cut", "x.webp", cut(saved(pixels(1, 60, 50), "WEBP"), 50), "cannot be"),
    amid("TIFF cut", "x.tif", cut(saved(pixels(1, 60, 50), "TIFF"), 50), "cannot be"),
    amid("BMP cut", "x.bmp", cut(saved(pixels(1, 60, 50), "BMP"), 50), CUT),
    amid("PPM cut", "x.ppm", cut(saved(pixels(1, 60, 50), "PPM"), 50), "cannot be"),
    amid("PNG with a wrong checksum", "x.png", PNG[:60] + b"~" + PNG[61:], "cannot be"),
    amid("text called PNG", "x.png", b"I am text\n", NO_IMAGE),
    amid("text in UTF-16 called JPEG", "x.jpg", "Ich bin Text".encode("utf-16"), NO_IMAGE),
    amid("HTML called JPEG", "x.jpg", b"<!DOCTYPE html><title>404</title>", NO_IMAGE),
    amid("SVG called PNG", "x.png", b'<svg xmlns="http://www.w3.org/2000/svg"/>', NO_IMAGE),
    amid("PostScript called PNG", "x.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", NO_IMAGE),
    amid("PDF called PNG", "x.png", b"%PDF-1.7\n1 0 obj\n", NO_IMAGE),
    amid("PSD called PNG", "x.png", b"8BPS\0\1" + bytes(600), NO_IMAGE),
    amid("program called PNG", "x.png", b"\x7fELF\2\1\1" + bytes(600), NO_IMAGE),
    amid("zip called PNG", "x.png", b"PK\3\4" + bytes(600), NO_IMAGE),
    amid("zeros called PNG", "x.png", bytes(4096), NO_IMAGE),
    amid("PNG that claims 10^5 x 10^5", "x.png", png(10**5, 10**5), LIMIT),
    amid("PNG that claims all that it can", "x.png", png(2**31 - 1, 2**31 - 1), LIMIT),
    amid("PNG just beyond the limit", "x.png", png(8192, 8193), LIMIT),
    amid("PNG without pixels", "x.png", png(0, 0), NO_IMAGE),
    amid("TIFF that claims 10^5 x 10^5", "x.tif", tiff(10**5, 10**5), LIMIT),
    amid("TIFF that claims 2^32 rows", "x.tif", tiff(2**32 - 1, 2**32 - 1), LIMIT),
    amid(
        "GIF that claims 65535 x 65535",
        "x.gif",
        b"GIF89a" + b"\xff" * 4 + bytes(3) + b"," + bytes(4) + b"\xff" * 4 + bytes(40),
        LIMIT,
    ),
    amid(
        "BMP that claims 10^5 x 10^5",
        "x.bmp",
        b"BM" + struct.pack("<IIIIiiHHIIIIII", 99, 0, 54, 40, 10**5, 10**5, 1, 24, 0, 0, 0, 0, 0, 0),
        LIMIT,
    ),
    amid("PPM that claims 10^5 x 10^5", "x.ppm", b"P6 100000 100000 255\n" + bytes(40), LIMIT),
    amid("JPEG that claims 65535 x 65535", "x.jpg", JPEG.replace(struct.pack(">HH", 60, 50), b"\xff" * 4, 1), LIMIT),
    amid(
        "PNG with a text that unpacks to 64 MiB",
        "x.png",
        png(5, 6, rows=bytes(96), extra=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**26)))),
        "cannot be",
    ),
    amid("JPEG of endless scans", "x.jpg", endless_scans(), "more than the limit of 100 scans"),
    amid(
        "EXIF that ends early", "x.png", saved(pixels(900), exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01"), "cannot be"
    ),
    amid("TIFF of floats", "x.tif", odd("F", "TIFF"), "pixels of kind F"),
    amid("TIFF of 32-bit integers", "x.tif", odd("I", "TIFF"), "pixels of kind I"),
    turned("palette", "x.png", palette(), "palette to RGB"),
    turned(
        "palette with a transparent colour",
        "x.png",
        palette(transparency=1),
        "palette with transparency to RGBA",
        also=RGBA,
    ),
    turned(
        "palette with transparency",
        "x.png",
        palette(transparency=b"\7\xff"),
        "palette with transparency to RGBA",
        also=RGBA,
    ),
    turned("grey with alpha", "x.png", odd("LA", "PNG"), "grey with alpha to RGBA", also=RGBA),
    turned(
        "grey with a transparent level",
        "x.png",
        odd("L", "PNG", transparency=9),
        "grey with transparency to RGBA",
        also=RGBA,
    ),
    turned(
        "colour with a transparent one",
        "x.png",
        odd("RGB", "PNG", transparency=(1, 2, 3)),
        "RGB with transparency to RGBA",
        also=RGBA,
    ),
    turned("RGBA among RGB", "x.png", odd("RGBA", "PNG"), also=RGBA),
    turned("grey among RGB", "x.png", odd("L", "PNG"), also=AS_RGB),
    turned("CMYK in JPEG", "x.jpg", odd("CMYK", "JPEG"), "CMYK to RGB"),
    turned("CMYK in TIFF", "x.tif", odd("CMYK", "TIFF"), "CMYK to RGB"),
    turned("LAB in TIFF", "x.tif", odd("LAB", "TIFF"), "LAB to RGB"),
    turned("1-bit PNG", "x.png", odd("1", "PNG"), "1-bit to grey", also=AS_RGB),
    turned("1-bit TIFF", "x.tif", odd("1", "TIFF"), "1-bit to grey", also=AS_RGB),
    turned("1-bit PBM", "x.pbm", odd("1", "PPM"), "1-bit to grey", also=AS_RGB),
    turned("16-bit RGB PNG", "x.png", png(5, 6, depth=16, rows=bytes(6 * 31)), "16-bit colour to 8-bit"),
    turned("animated GIF", "x.gif", frames("GIF"), FIRST, "palette to RGB"),
    turned("animated WebP", "x.webp", frames("WEBP", lossless=True), FIRST),
    turned("animated PNG", "x.png", frames("PNG"), FIRST),
    turned("TIFF of pages", "x.tif", frames("TIFF"), FIRST),
    *(turned(f"EXIF orientation {v}", "x.png", oriented(v), *([UPRIGHT] if v > 1 else [])) for v in range(1, 9)),
    turned("EXIF orientation that is none", "x.png", oriented(77)),
    turned("PNG called JPEG", "x.jpg", saved(pixels(900))),
    turned("JPEG called PNG", "x.png", saved(pixels(900), "JPEG")),
    turned("bytes after the end", "x.png", saved(pixels(900)) + bytes(5000)),
    turned("suffix in capitals", "X.PNG", saved(pixels(900))),
)


# Whole folders


def sixteen(count: int) -> dict[str, bytes]:
    return {f"d{i}.png": saved(Image.fromarray(np.full((6, 5), 999 * i, np.uint16))) for i in range(count)}


def linked(name: str, target: str) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        put(folder, good())
        (folder / "elsewhere").mkdir()
        (folder / "elsewhere" / "y.png").write_bytes(saved(pixels(900)))
        (folder / "set" / name).symlink_to(target)
        return "set"

    return write


def with_pipe(folder: Path) -> str:
    put(folder, good())
    os.mkfifo(folder / "set" / "x.png")
    return "set"


def with_socket(folder: Path) -> str:
    put(folder, good())
    here = Path.cwd()
    os.chdir(folder / "set")  # the name of a socket may have 108 bytes
    try:
        with socket.socket(socket.AF_UNIX) as each:
            each.bind("x.png")
    finally:
        os.chdir(here)
    return "set"


def closed(*names: str) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        put(folder, good() | {"inner/x.png": saved(pixels(900))} if "inner" in names else good())
        for name in names:
            (folder / "set" / name).chmod(0)
        return "set"

    return write


def undecodable(folder: Path) -> str:
    put(folder, good())
    Path(os.fsdecode(os.fsencode(folder) + b"/set/caf\xe9.png")).touch()
    return "set"


def deep(folder: Path) -> str:
    """A picture that lies deeper than a path can say."""
    put(folder, good())
    here = os.open(folder / "set", os.O_RDONLY)
    for _ in range(20):
        os.mkdir("n" * 250, dir_fd=here)
        inner = os.open("n" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(os.open("x.png", os.O_WRONLY | os.O_CREAT, dir_fd=here))
    os.close(here)
    return "set"


def pipe(name: str) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        os.mkfifo(folder / name)
        return name

    return write


def link(name: str, target: str) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        (folder / name).symlink_to(target)
        return name

    return write


def folder_called(name: str) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        (folder / put(folder, good())).rename(folder / name)
        return name

    return write


LONG = "l" * 251 + ".png"
LARGE = {"a.png": png(8192, 8192, depth=1, colour=0, rows=bytes(8192 * 1025)), "b.png": saved(pixels(1))}

FOLDERS = (
    source("nothing but text", {"a.txt": b"x", "b.csv": b"x"}, refused="a folder with b.csv; expected many series"),
    Case("an empty folder", lambda folder: (folder / "set").mkdir() or "set", refused="no images, found nothing"),
    source("hidden images only", {".a/x.png": PNG, "__MACOSX/y.png": PNG}, refused="no images"),
    source("one image", good(1), refused="one image only"),
    source("one good image of two", good(1) | {"x.png": b""}, refused="1 of 2 image files are bad"),
    source("all bad", dict.fromkeys(good(), b"text"), refused="24 of 24 image files are bad, more than 5%"),
    source(
        "6 % bad", good(47) | dict.fromkeys(("x.png", "y.png", "z.png"), b""), refused="3 of 50 image files are bad"
    ),
    source("mixed sizes", good() | {"x.png": PNG}, refused="mixed sizes: 6x5 (24), 60x50 (1)"),
    source("mixed sizes, one asked for", good() | {"x.png": PNG}, count=GOOD + 1, options=("--size", "6x5")),
    source("one-pixel images", {f"{i}.png": saved(pixels(i, 1, 1)) for i in range(5)}, count=5),
    source("a one-pixel image among others", good() | {"x.png": png(1, 1, rows=bytes(4))}, refused="1x1 (1)"),
    source(
        "the largest picture that is let pass",
        LARGE,
        count=2,
        mebibytes=384,
        options=("--size", "8x8"),
        converted={"1-bit to grey": 1} | AS_RGB,
    ),
    source("16-bit grey", sixteen(3), count=3),
    source("16-bit grey among 8-bit", good() | sixteen(2), refused="2 images of 16 bits among 24 of 8 bits"),
    source(
        "images beside class folders",
        {f"a/{k}": v for k, v in good().items()} | {"x.png": PNG},
        refused="labels missing for 1",
    ),
    source(
        "a class of nothing but bad images",
        {f"a/{k}": v for k, v in good().items()} | {"b/x.png": b""},
        count=GOOD,
        bad={"b/x.png": "empty file"},
    ),
    source("classes of one printed name", {"a\n/1.png": PNG, "a\\n/2.png": PNG}, refused="same name"),
    source(
        "control characters in a class",
        {f"a\x1b[2J/{k}": v for k, v in good().items()} | {"b/1.png": saved(pixels(77))},
        count=25,
    ),
    source("other files beside", good() | {"Thumbs.db": b"x", ".DS_Store": b"x", "x": PNG, "x.txt": PNG}, count=GOOD),
    source("no split", good(), refused="no split 'test'", options=("--split", "test")),
    source("a line end in a name", good() | {"new\nline.png": b""}, count=GOOD, bad={"new\\nline.png": "empty file"}),
    source(
        "a terminal code in a name", good() | {"\x1b[31m.png": b""}, count=GOOD, bad={"\\x1b[31m.png": "empty file"}
    ),
    source(
        "a name written from right to left",
        good() | {"a\u202egnp.png": b""},
        count=GOOD,
        bad={"a\\u202egnp.png": "empty"},
    ),
    source("a name in another script", good() | {"猫 grün.png": b""}, count=GOOD, bad={"猫 grün.png": "empty file"}),
    source("a name of 255 letters", good() | {LONG: b""}, count=GOOD, bad={LONG: "empty file"}),
    source(
        "names of shells",
        good() | {"-rf.png": b"", "$(reboot).png": PNG[:70]} | {f"g{k}": v for k, v in good().items()},
        count=2 * GOOD,
        bad={"-rf.png": "empty file", "$(reboot).png": CUT},
    ),
    Case("a name of no encoding", undecodable, count=GOOD, bad={"caf\\udce9.png": "empty file"}),
    Case("a path too long to be said", deep, count=GOOD, bad={"/".join(["n" * 250] * 17): "File name too long"}),
    source("a folder called PNG", good() | {"x.png/y.txt": b""}, count=GOOD),
    Case("a folder called zip", folder_called("a.zip"), count=GOOD),
    Case("a link to itself", linked("x.png", "x.png"), count=GOOD, bad={"x.png": "cannot be read"}),
    Case("a link to its own folder", linked("x", "."), count=GOOD),
    Case("a link to the folder above", linked("x", ".."), refused="labels missing"),
    Case("a link to nowhere", linked("x.png", "nowhere.png"), count=GOOD, bad={"x.png": "No such file"}),
    Case("a link to a picture elsewhere", linked("x.png", "../elsewhere/y.png"), count=GOOD + 1),
    Case("a link to a file of the system", linked("x.png", "/etc/passwd"), count=GOOD, bad={"x.png": NO_IMAGE}),
    Case("a link to an endless device", linked("x.png", "/dev/zero"), count=GOOD, bad={"x.png": "not a regular file"}),
    Case("a link to an empty device", linked("x.png", "/dev/null"), count=GOOD, bad={"x.png": "not a regular file"}),
    Case("a pipe", with_pipe, count=GOOD, bad={"x.png": "not a regular file"}),
    Case("a socket", with_socket, count=GOOD, bad={"x.png": "not a regular file"}),
    Case(
        "a file that is closed to us",
        closed("003.png"),
        count=GOOD - 1,
        bad={"003.png": "Permission denied"},
        nobody=True,
    ),
    Case("a folder that is closed to us", closed("inner"), count=GOOD, bad={"inner": "Permission denied"}, nobody=True),
    Case("the whole folder is closed to us", closed("."), refused="cannot be read (Permission denied)", nobody=True),
    Case("a pipe called zip", pipe("a.zip"), refused="not a regular file"),
    Case("a pipe called tar", pipe("a.tar"), refused="not a regular file"),
    Case("a pipe called npy", pipe("a.npy"), refused="not a regular file"),
    Case("a pipe called IDX", pipe("train-images-idx3-ubyte"), refused="not a regular file"),
    Case("an endless device called tar", link("a.tar", "/dev/zero"), refused="not a regular file"),
    Case("a source that links to itself", link("a", "a"), refused="no such file or folder"),
    Case("a source that is not there", lambda _: "gone", refused="no such file or folder"),
    Case("a source with a name too long", lambda _: "a" * 5000, refused="File name too long"),
    Case("a source with a null in its name", lambda _: "a\0b", refused="no such file or folder"),
    Case("a source with a line end in its name", lambda _: "a\nb", refused="no such file or folder"),
)


# Archives


def zipped(files: Files, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files.items():
            member = zipfile.ZipInfo(name)
            member.filename, member.compress_type = name, method
            archive.writestr(member, data)
    return out.getvalue()


def tarred(files: Files, kind: str = "", extra: Mapping[str, bytes] | None = None) -> bytes:
    """`extra` are members without content, by name, of the type given."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{kind}") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for name, type_ in (extra or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = type_, "000.png"
            archive.addfile(member)
    return out.getvalue()


def header(name: str, type_: bytes, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size = type_, size
    return member.tobuf(tarfile.GNU_FORMAT)


def zip_with(change: Callable[[zipfile.ZipInfo], None], data: bytes = b"x") -> bytes:
    """Good images and one more member, `x.png`, that something is wrong with."""
    out = io.BytesIO(zipped(good()))
    with zipfile.ZipFile(out, "a") as archive:
        member = zipfile.ZipInfo("x.png")
        change(member)
        archive.writestr(member, data)
    return out.getvalue()


def as_link(member: zipfile.ZipInfo) -> None:
    member.external_attr = (stat.S_IFLNK | 0o777) << 16


def patched(last: int, at: int, value: bytes) -> bytes:
    """A zip of good images with bytes of a record of its directory changed; `last` counts records from the end."""
    data = bytearray(zipped(good()))
    found = len(data)
    for _ in range(last):
        found = data.rfind(b"PK\1\2", 0, found)
    data[found + at : found + at + len(value)] = value
    return bytes(data)


def encrypted() -> bytes:
    data = bytearray(zipped(good()))
    at = -1
    while (at := data.find(b"PK\1\2", at + 1)) >= 0:
        data[at + 8] |= 1
    at = -1
    while (at := data.find(b"PK\3\4", at + 1)) >= 0:
        data[at + 6] |= 1
    return bytes(data)


def duplicated() -> bytes:
    return zipped(good()).replace(b"023.png", b"000.png")


def overlapping() -> bytes:
    """A zip of 300 members of 1 MiB that are all the same one: 330 MB out of 20 KB."""
    whole = zipped({"x.png": bytes(1 << 20)})
    at, end = whole.index(b"PK\1\2"), whole.index(b"PK\5\6")
    directory = whole[at:end] * 300
    return whole[:at] + directory + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 300, 300, len(directory), at, 0)


def claims(data: bytes, size: int) -> bytes:
    """A zip whose last member claims to unpack to `size` bytes."""
    at = data.rfind(b"PK\1\2")
    return data[: at + 24] + struct.pack("<I", size) + data[at + 28 :]


def sparse() -> bytes:
    data = bytearray(header("x.png", tarfile.GNUTYPE_SPARSE, 0))
    data[483:495] = b"77777777777\0"  # the real size, 8 GiB, in octal
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data)
    return bytes(data) + TAR


def bad_crc() -> bytes:
    data = bytearray(gzip.compress(TAR))
    data[-8] ^= 255
    return bytes(data)


TAR, ZIP = tarred(good()), zipped(good())
GZ_ZEROS, XZ_ZEROS = gzip.compress(bytes(1 << 20)), lzma.compress(bytes(1 << 20), preset=0)  # parts may be joined
PLAIN = "expected plain files with relative paths"
ABSOLUTE, ABOVE, NOT_PLAIN = "has an absolute path", "has '..' in its path", "is a link or device"
BOMB = "claim to unpack to more than"
READ = "cannot be read"

ARCHIVES = (
    *(
        file(f"{form} with the member {name!r}", f"a{form}", pack(good() | {name: PNG}), refused=why)
        for form, pack in ((".zip", zipped), (".tar", tarred))
        for name, why in (
            ("../evil.png", ABOVE),
            ("a/../../evil.png", ABOVE),
            ("..\\evil.png", ABOVE),
            ("/etc/evil.png", ABSOLUTE),
            ("C:\\evil.png", ABSOLUTE),
            ("C:evil.png", ABSOLUTE),
            ("\\\\host\\share\\evil.png", ABSOLUTE),
        )
    ),
    file("zip with a symbolic link", "a.zip", zip_with(as_link), refused=NOT_PLAIN),
    *(
        file(f"tar with a {what}", "a.tar", tarred(good(), extra={"x.png": type_}), refused=NOT_PLAIN)
        for what, type_ in (
            ("symbolic link", tarfile.SYMTYPE),
            ("hard link", tarfile.LNKTYPE),
            ("character device", tarfile.CHRTYPE),
            ("block device", tarfile.BLKTYPE),
            ("pipe", tarfile.FIFOTYPE),
        )
    ),
    file("zip, whole", "a.zip", ZIP, count=GOOD),
    file("zip of no bytes", "a.zip", b"", refused=READ),
    file("zip of nothing", "a.zip", zipped({}), refused="no images"),
    file("text called zip", "a.zip", b"I am text", refused=READ),
    file("zip cut in half", "a.zip", cut(ZIP, 50), refused=READ),
    file("zip without its last byte", "a.zip", ZIP[:-1], refused=READ),
    file("zip without its beginning", "a.zip", ZIP[100:], count=GOOD - 1, bad={"000.png": "cannot be"}),
    file("zip after a program", "a.zip", b"#!/bin/sh\n" * 50 + ZIP, count=GOOD),
    file("zip in a zip", "a.zip", zipped({"inner.zip": ZIP}), refused="no images, found 1 other files"),
    file("zip bomb of members that overlap", "a.zip", overlapping(), refused=BOMB),
    file("zip that claims a member of 4 GiB", "a.zip", claims(ZIP, 2**32 - 2), refused=BOMB),
    file("zip that claims a member of one byte", "a.zip", claims(ZIP, 1), count=GOOD - 1, bad={"023.png": "cannot be"}),
    file(
        "zip of 3,000 empty members",
        "a.zip",
        lambda: zipped({f"{i}.txt": b"" for i in range(3000)}),
        refused="found 3000 other files",
    ),
    file("zip with an encrypted member", "a.zip", encrypted(), refused="24 of 24 image files are bad"),
    file(
        "zip with a member packed in an unknown way",
        "a.zip",
        patched(1, 10, b"\x63\0"),
        count=GOOD - 1,
        bad={"023.png": "compress"},
    ),
    file("zip with a wrong checksum", "a.zip", patched(1, 16, b"????"), count=GOOD - 1, bad={"023.png": "CRC-32"}),
    file(
        "zip with a member that begins elsewhere",
        "a.zip",
        patched(1, 42, b"\7\0\0\0"),
        count=GOOD - 1,
        bad={"023.png": "cannot be"},
    ),
    file(
        "zip with a directory before its beginning", "a.zip", ZIP[:-10] + b"\xff\xff\xff\x7f" + ZIP[-6:], refused=READ
    ),
    file("zip with a nameless member", "a.zip", patched(1, 28, struct.pack("<HHH", 0, 0, 7)), count=GOOD - 1),
    file("zip with two members of one name", "a.zip", duplicated(), count=GOOD),
    file("zip with a bad member", "a.zip", zipped(good() | {"x.png": b"text"}), count=GOOD, bad={"x.png": NO_IMAGE}),
    file(
        "zip with a line end in a name",
        "a.zip",
        zipped(good() | {"a\nb.png": b""}),
        count=GOOD,
        bad={"a\\nb.png": "empty file"},
    ),
    file("tar, whole", "a.tar", TAR, count=GOOD),
    file("tar of no bytes", "a.tar", b"", refused=READ),
    file("tar of nothing", "a.tar", tarred({}), refused="no images"),
    file("text called tar", "a.tar", b"I am text", refused=READ),
    file("zip called tar", "a.tar", ZIP, refused=READ),
    file("tar called zip", "a.zip", TAR, refused=READ),
    file("tar cut in half", "a.tar", TAR[: 12 * 1024 + 100], refused=READ),
    file("tar cut between members", "a.tar", TAR[: 12 * 1024], refused="damaged or cut short"),
    file("tar cut within a member", "a.tar", TAR[: 12 * 1024 + 600], refused=READ),
    file("tar with a damaged header", "a.tar", TAR[:5120] + b"?" + TAR[5121:], refused="damaged or cut short"),
    file("tar with two members of one name", "a.tar", TAR[:1024] + TAR, count=GOOD + 1),
    file("tar with a bad member", "a.tar", tarred(good() | {"x.png": PNG[:99]}), count=GOOD, bad={"x.png": CUT}),
    file(
        "tar with a member before its beginning",
        "a.tar",
        header("x.png", tarfile.REGTYPE, -1024) + TAR,
        refused="-1024 bytes",
    ),
    file("tar that claims a member of 8 GiB", "a.tar", header("x.png", tarfile.REGTYPE, 2**33 - 1) + TAR, refused=BOMB),
    file("tar with a sparse member of 8 GiB", "a.tar", sparse(), refused=BOMB),
    file(
        "tar with an extended header of digits",
        "a.tar",
        header("pax", tarfile.XHDTYPE, 2**20) + b"1" * 2**20 + TAR,
        refused="an extended header of 1048576 bytes",
    ),
    file(
        "tar with headers of headers",
        "a.tar",
        (header("n", tarfile.GNUTYPE_LONGNAME, 4) + b"name" + bytes(508)) * 2000 + TAR,
        refused="damaged headers",
    ),
    file(
        "tar with an extended name that leaves",
        "a.tar",
        header("pax", tarfile.XHDTYPE, 22) + b"22 path=../../evil.png"[:21] + b"\n" + bytes(490) + TAR,
        refused=ABOVE,
    ),
    file("tar.gz, whole", "a.tar.gz", gzip.compress(TAR), count=GOOD),
    file("tar.gz cut", "a.tar.gz", cut(gzip.compress(TAR), 60), refused=READ),
    file("tar.gz with a wrong checksum", "a.tar.gz", bad_crc(), refused=READ),
    file(
        "tar.gz bomb",
        "a.tar.gz",
        gzip.compress(header("x.png", tarfile.REGTYPE, 300 << 20)) + GZ_ZEROS * 300,
        refused=BOMB,
    ),
    file("tar.gz of endless zeros", "a.tar.gz", GZ_ZEROS * 300, refused="no images"),
    file("tar.xz, whole", "a.tar.xz", lzma.compress(TAR, preset=0), count=GOOD),
    file("tar.xz cut", "a.tar.xz", cut(lzma.compress(TAR, preset=0), 60), refused=READ),
    file(
        "tar.xz bomb",
        "a.tar.xz",
        lzma.compress(header("x.png", tarfile.REGTYPE, 300 << 20), preset=0) + XZ_ZEROS * 300,
        refused=BOMB,
    ),
    file(
        "tar.xz bomb in an extended header",
        "a.tar.xz",
        lzma.compress(header("n", tarfile.XHDTYPE, 300 << 20), preset=0) + XZ_ZEROS * 300,
        refused="an extended header of",
    ),
    file("tar.bz2", "a.tar.bz2", tarred(good(), "bz2"), refused="not read"),
)


# IDX


def idx(shape: tuple[int, ...], data: bytes | None = None, kind: int = 8) -> bytes:
    body = np.random.RandomState(0).bytes(int(np.prod(shape))) if data is None else data
    return bytes([0, 0, kind, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + body


def beside(labels: bytes) -> Callable[[Path], str]:
    return lambda folder: put(folder, {IMAGES: idx((5, 6, 5)), "train-labels-idx1-ubyte": labels})


IMAGES = "train-images-idx3-ubyte"
MORE = "more than the file can hold"

IDX = (
    file("IDX of no bytes", IMAGES, b"", refused="not an IDX file"),
    file("text called IDX", IMAGES, b"I am text", refused="not an IDX file"),
    file("IDX that ends in its header", IMAGES, idx((5, 6, 5))[:9], refused="header ends early"),
    file("IDX of floats", IMAGES, idx((5, 6, 5), bytes(600), kind=13), refused="type 0x0d"),
    file("IDX of no dimension", IMAGES, b"\0\0\x08\0" + bytes(99), refused="0 dimensions"),
    file("IDX of 200 dimensions", IMAGES, b"\0\0\x08\xc8" + bytes(999), refused="200 dimensions"),
    file("IDX of shape zero", IMAGES, idx((5, 0, 5), b""), refused="holds nothing"),
    file("IDX with a byte too few", IMAGES, idx((5, 6, 5))[:-1], refused="needs 150 bytes, found only 149"),
    file("IDX with a byte too many", IMAGES, idx((5, 6, 5)) + b"x", refused="needs 150 bytes, found more"),
    file("IDX that claims 2^32 images", IMAGES, idx((2**32 - 1, 28, 28), b"x" * 99), refused=MORE),
    file("IDX that claims 2^96 bytes", IMAGES, idx((2**32 - 1,) * 3, b"x" * 99), refused=MORE),
    file("IDX of labels only", "train-labels-idx1-ubyte", idx((5,)), refused="expected images [N,H,W]"),
    file("IDX of one image", IMAGES, idx((1, 6, 5)), refused="one sample only"),
    file("IDX without labels", IMAGES, idx((5, 6, 5)), count=5),
    file("IDX gzipped", IMAGES + ".gz", gzip.compress(idx((5, 6, 5))), count=5),
    file("IDX gzipped and cut", IMAGES + ".gz", cut(gzip.compress(idx((5, 6, 5))), 60), refused=READ),
    file(
        "IDX gzipped with a wrong checksum", IMAGES + ".gz", gzip.compress(idx((5, 6, 5)))[:-8] + bytes(8), refused=READ
    ),
    file("IDX that is not gzipped", IMAGES + ".gz", idx((5, 6, 5)), refused=READ),
    file("IDX bomb", IMAGES + ".gz", gzip.compress(idx((5, 6, 5))) + GZ_ZEROS * 300, refused="found more"),
    file(
        "IDX gzipped that claims 2^40 bytes", IMAGES + ".gz", gzip.compress(idx((2**20, 1024, 1024), b"")), refused=MORE
    ),
    Case("IDX with labels for four of five", beside(idx((4,))), refused="labels of shape [4] for 5 images"),
    Case("IDX with labels in two dimensions", beside(idx((5, 1))), refused="labels of shape [5, 1]"),
    Case(
        "IDX with a label beyond all classes", beside(idx((5,), b"\0\1\2\3\xff")), refused="label 255 means 256 classes"
    ),
    Case("IDX with labels cut", beside(idx((5,))[:-1]), refused="found only 4"),
    Case("IDX folder without the split", beside(idx((5,), bytes(5))), refused="found 0", options=("--split", "test")),
    Case(
        "IDX twice for one split",
        lambda folder: put(folder, {IMAGES: b"", "train2-images-idx3-ubyte": b""}),
        refused="found 2",
    ),
)


# Arrays


def npy(array: object, **options: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, np.asarray(array), **options)
    return out.getvalue()


def raw_npy(text: str, data: bytes = b"", version: bytes = b"\1\0") -> bytes:
    head = text.encode() + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H" if version == b"\1\0" else "<I", len(head)) + head + data


def npz(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


class _Payload:
    """What an unpickler would run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch executed",)


X = np.random.RandomState(0).randint(0, 256, (9, 6, 5, 3)).astype(np.uint8)
F = (X / 127.5 - 1).astype(np.float32)
CLAIM = "the header promises"

ARRAYS = (
    file("npy, whole", "a.npy", npy(X), count=9),
    file("npy of no bytes", "a.npy", b"", refused="not an array saved by numpy"),
    file("text called npy", "a.npy", b"I am text", refused="not an array saved by numpy"),
    file("npy cut", "a.npy", npy(X)[:-1], refused=CLAIM),
    file("npy cut in its header", "a.npy", npy(X)[:40], refused="its header is not one that numpy writes"),
    file("npy of its first ten bytes", "a.npy", npy(X)[:10], refused="ends within its header"),
    file("npy with a byte too many", "a.npy", npy(X) + b"x", refused=CLAIM),
    file(
        "npy of objects",
        "a.npy",
        lambda: npy(np.array([_Payload(), 1], object), allow_pickle=True),
        refused="type object is not read",
    ),
    file(
        "npy that claims 10^18 bytes",
        "a.npy",
        raw_npy("{'descr': '|u1', 'fortran_order': False, 'shape': (10**9,)}".replace("10**9", "10" * 9)),
        refused=CLAIM,
    ),
    file(
        "npy of a negative shape",
        "a.npy",
        raw_npy("{'descr': '|u1', 'fortran_order': False, 'shape': (-2, -3)}", b"abcdef"),
        refused="can only specify one unknown dimension",
    ),
    file(
        "npy with code in its header",
        "a.npy",
        raw_npy("__import__('os').system('touch executed')"),
        refused="its header is not",
    ),
    file(
        "npy with a header of 50,000 bytes",
        "a.npy",
        raw_npy("{" + " " * 50_000 + "}"),
        refused="a header of 50003 bytes",
    ),
    file(
        "npy with a header of 4 GiB",
        "a.npy",
        b"\x93NUMPY\2\0" + b"\xff" * 4 + bytes(99),
        refused="a header of 4294967295 bytes",
    ),
    file("npy with a header of parentheses", "a.npy", raw_npy("(" * 9000), refused="its header is not"),
    file(
        "npy of a later format",
        "a.npy",
        raw_npy("{'descr': '|u1', 'fortran_order': False, 'shape': (6,)}", bytes(6), b"\3\0"),
        refused="format 1.0 or 2.0",
    ),
    file("npy of records", "a.npy", npy(np.zeros(9, [("x", "f4"), ("y", "f4")])), refused="is not read"),
    file("npy of text", "a.npy", npy(np.array(["a", "b"])), refused="is not read"),
    file("npy of dates", "a.npy", npy(np.array(["2020-01-01"], "M8[D]")), refused="is not read"),
    file("npy of complex numbers", "a.npy", npy(F[..., 0].astype(complex)), refused="is not read"),
    file("npy of 64-bit integers", "a.npy", npy(X.astype(np.int64)), refused="samples of type int64"),
    file("npy of booleans", "a.npy", npy(X > 9), refused="samples of type bool"),
    file("npy in the order of Fortran", "a.npy", npy(np.asfortranarray(X)), count=9),
    file("npy of big-endian floats", "a.npy", npy(F.astype(">f4")), count=9),
    file("npy of big-endian 16-bit pixels", "a.npy", npy(X.astype(">u2")), count=9),
    file("npy of halves", "a.npy", npy(F.astype(np.float16)), count=9),
    file("npy of reversed strides", "a.npy", npy(X[::-1, ::-1]), count=9),
    file("npy with NaN", "a.npy", npy(np.where(F > 0.9, np.nan, F)), refused="are NaN or infinite"),
    file("npy with infinity", "a.npy", npy(np.where(F > 0.9, -np.inf, F)), refused="are NaN or infinite"),
    file("npy of floats from 0 to 255", "a.npy", npy(X.astype(np.float32)), refused="expected [-1, 1]"),
    file("npy of channels first", "a.npy", npy(X.transpose(0, 3, 1, 2)), refused="have 5 channels"),
    file("npy of one dimension", "a.npy", npy(X.ravel()), refused="samples of shape [810]"),
    file("npy of five dimensions", "a.npy", npy(X[None]), refused="samples of shape [1, 9, 6, 5, 3]"),
    file("npy of a number", "a.npy", npy(np.float32(1)), refused="samples of shape [1]"),
    file("npy of nothing", "a.npy", npy(X[:0]), refused="holds nothing"),
    file("npy of one sample", "a.npy", npy(X[:1]), refused="one sample only"),
    file("npz, whole", "a.npz", npz(images=X, labels=np.arange(9)), count=9),
    file("npz of no bytes", "a.npz", b"", refused="not a readable .npz file"),
    file("text called npz", "a.npz", b"I am text", refused="not a readable .npz file"),
    file("npz cut", "a.npz", cut(npz(images=X), 50), refused="not a readable .npz file"),
    file("npz of nothing", "a.npz", npz(), refused="holds no samples"),
    file("npz of labels only", "a.npz", npz(labels=np.arange(9)), refused="holds no samples"),
    file("npz of objects", "a.npz", npz(images=np.array([_Payload(), 1], object)), refused="type object is not read"),
    file("npz bomb", "a.npz", claims(npz(images=X), 300 << 20), refused="claims to unpack to"),
    file(
        "npz with a member that is no array",
        "a.npz",
        zipped({"images.npy": b"I am text"}),
        refused="not an array saved by numpy",
    ),
    file("npz with labels of floats", "a.npz", npz(images=X, labels=np.arange(9.0)), refused="labels of type float64"),
    file("npz with negative labels", "a.npz", npz(images=X, labels=np.arange(9) - 1), refused="label -1 is negative"),
    file(
        "npz with a label of 10^12",
        "a.npz",
        npz(images=X, labels=np.arange(9) * 10**12),
        refused="means 8000000000001 classes",
    ),
    file("npz with too few labels", "a.npz", npz(images=X, labels=np.arange(8)), refused="8 labels for 9 samples"),
    file(
        "npz with labels in rows",
        "a.npz",
        npz(images=X, labels=np.eye(9, dtype=int)),
        refused="turns one-hot rows into labels",
    ),
    file(
        "npz with conditions of NaN",
        "a.npz",
        npz(images=X, labels=np.full((9, 2), np.nan)),
        refused="values of the conditions are NaN",
    ),
    file("npz without the split", "a.npz", npz(images=X), refused="no array 'x_test'", options=("--split", "test")),
)


# Tables, series and texts


def series(text: str) -> bytes:
    """Rows that follow each other in time, of which `text` is the third."""
    return f"time,v\n0,1\n1,2\n{text}\n3,5\n4,4\n".encode()


def holed(path: Path, head: bytes, size: int) -> str:
    """A file that takes no room on the disk beyond its head."""
    with path.open("wb") as out:
        out.write(head)
        out.truncate(size)
    return path.name


ROWS = "".join(f"{i % 7},{i % 3}\n" for i in range(40)).encode()
LINE = "expected a text file with line ends"

TABLES = (
    file("a CSV with ragged rows", "a.csv", b"a,b\n1,2\n3\n4,5,6\n", refused="line 3 has 1 cells, expected 2"),
    file("a CSV in UTF-16", "a.csv", "a,b\n1,2\n".encode("utf-16"), refused="text in UTF-16; expected UTF-8"),
    file("a CSV of no bytes", "a.csv", b"", refused="no rows"),
    file("a CSV of line ends", "a.csv", b"\r\n" * 999, refused="no rows"),
    file("a CSV of a header", "a.csv", b"a,b\n", refused="a header and no rows"),
    file("a CSV of one row", "a.csv", b"a,b\n1,2\n", refused="1 rows"),
    Case(
        "a CSV that is one line of a gigabyte",
        lambda folder: holed(folder / "a.csv", b"1" * (2 << 20), 1 << 30),
        refused=LINE,
    ),
    Case("a CSV of NUL bytes", lambda folder: holed(folder / "a.csv", b"a,b\n1,2\n", 1 << 30), refused="a NUL byte"),
    file("a CSV that unpacks to one line", "a.csv.gz", lambda: gzip.compress(b"1" * (64 << 20), 1), refused=LINE),
    file("a packed CSV cut", "a.csv.gz", cut(gzip.compress(b"a,b\n" + ROWS), 60), refused="cannot be read"),
    file("a packed CSV that is none", "a.csv.gz", b"a,b\n" + ROWS, refused="cannot be read"),
    file(
        "a CSV of 100,000 columns",
        "a.csv",
        b",".join(b"c%d" % i for i in range(100_000)) + b"\n" + b",".join([b"1"] * 100_000) + b"\n",
        refused="100,000 columns; expected at most 4,096",
    ),
    file("a CSV of quotes never closed", "a.csv", b'a,b\n1,"' + ROWS, refused="is no line of CSV"),
    file("a CSV of one endless cell", "a.csv", b'a,b\n1,"' + b"x\n" * 99_999 + b'"\n', refused="is no line of CSV"),
    file("a CSV of quotes alone", "a.csv", b'"' * 99_999, refused="is no line of CSV"),
    file("a CSV in two encodings", "a.csv", "ä,b\n".encode() + ROWS + "ä,2\n".encode("latin-1"), refused="not UTF-8"),
    file("a CSV with a name that is there twice", "a.csv", b"a,a\n" + ROWS, refused="two columns are called 'a'"),
    file("a CSV with a name of a mile", "a.csv", b"x" * 9999 + b",b\n" + ROWS, refused="a column's name has 9,999"),
    file(
        "a CSV with codes of the terminal",
        "a.csv",
        b"\x1b[2J,\x1b[2J\n" + ROWS,
        refused="two columns are called '\\\\x1b[2J'",
    ),
    file("series with infinity", "a.csv", series("2,inf"), refused="column 'v' holds inf in row 3"),
    file("series with 1e999", "a.csv", series("2,1e999"), refused="column 'v' holds 1e999 in row 3"),
    file("series with a number of 5,000 digits", "a.csv", series("2," + "9" * 5000), refused="column 'v' holds 9999"),
    file("series without a value", "a.csv", b"time,v,w\n0,1,\n1,2,NaN\n2,3,null\n", refused="column 'w' has no value"),
    file("series of two rows", "a.csv", b"time,v\n0,1\n1,2\n", refused="less than 2 windows"),
    file("series with NaN", "a.csv", series("2,nan"), count=4),
    file("a table with formulas", "a.csv", b"a,b\n" + ROWS + b"\"=cmd()|' /C calc'!A0\",3\n" * 9, count=49),
    file("a table with mixed types", "a.csv", b"a,b\n" + ROWS + b"[],{}\n1e5,0x10\n" * 9, count=58),
    source("a folder of one CSV", {"b.csv": b"a,b\n" + ROWS}, refused="a folder with b.csv; expected many series"),
    source(
        "a folder of series with other columns",
        {"a.csv": b"a,b\n" + ROWS, "b.csv": b"a,c\n" + ROWS},
        refused="b.csv has the columns a, c, expected those of a.csv, a, b",
    ),
    source(
        "a folder of series of which one is cut",
        {"a.csv": b"a,b\n" + ROWS, "b.csv": b"a,b\n" + ROWS[:-2]},
        count=2,
    ),
    file("a text in Latin-1", "a.txt", "Käse".encode("latin-1"), refused="byte 1 is not UTF-8"),
    file("a text of no bytes", "a.txt", b"", refused="0 lines with a text"),
    file("a text of blanks", "a.txt", b" \n\t\n" * 99, refused="0 lines with a text"),
    file("a text of NUL bytes", "a.txt", bytes(99), refused="a NUL byte"),
    file("a text of one endless line", "a.txt", b"x" * (3 << 20), refused=LINE),
    file("a text that unpacks to one line", "a.txt.gz", lambda: gzip.compress(b"x" * (64 << 20), 1), refused=LINE),
    file("a text with codes of the terminal", "a.txt", b"\x1b[2J\nab\n\x07\n", count=3),
    file("a text of surrogates", "a.txt", b"a\n\xed\xa0\x80\n", refused="byte 2 is not UTF-8"),
)

# Kinds that are read elsewhere or not at all

PARQUET = b"PAR1" + bytes(200) + struct.pack("<I", 99) + b"PAR1"

OTHERS = (
    file("a Parquet file of zeros", "a.parquet", PARQUET, refused="a.parquet"),
    file("a Parquet file cut", "a.parquet", PARQUET[:-5], refused="a.parquet"),
    file("a pickle", "a.pkl", b"cos\nsystem\n(S'touch executed'\ntR.", refused="a.pkl"),
    file(
        "a pickle called npy", "a.npy", b"cos\nsystem\n(S'touch executed'\ntR.", refused="not an array saved by numpy"
    ),
    file("a checkpoint of torch", "a.pt", ZIP, refused="a.pt"),
    file("a film", "a.mp4", b"\0\0\0\x18ftypmp42" + bytes(99), refused="a.mp4"),
    file("a source of one image", "a.png", PNG, refused="one image only"),
    file("a file without a suffix", "a", b"x", refused="a kind of file that is not read"),
    file("JSON", "a.json", b"[" * 5000, refused="a.json"),
)

CASES = (*PICTURES, *FOLDERS, *ARCHIVES, *IDX, *ARRAYS, *TABLES, *OTHERS)
