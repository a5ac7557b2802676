"""From what the user names to a source: a known set, a folder, an archive or a file, and the text that describes it.

The report of a source, the content of `data.json`, has these keys: source, split, kind, count, shape, levels,
classes {name: count}, sizes {"HxW": count} as found, channels, converted {what: count}, resized, cropped, duplicates,
ignored, refused [{"file", "reason"}], notes, sha256, seconds. Tables and series have columns [{"name", "type", "what",
"missing"}], too; series lengths {"series", "least", "median", "most"} and overlap, how many neighbours share rows with
a window; texts lengths, tokens {"level", "count", "shown"} and num_refused.
"""

from __future__ import annotations

import re
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from sparring.core.errors import RequestError, nearest
from sparring.core.files import user_path
from sparring.core.protocols import Source, SourceSpec
from sparring.data import named
from sparring.data.arrays import load_array
from sparring.data.idx import images_in, load_idx
from sparring.data.limits import printable
from sparring.data.streamed import Streamed
from sparring.data.tensors import Resident

if TYPE_CHECKING:
    from sparring.data.tables import Rows

MAX_SIDE = 8192
_MOST_COLUMNS = 40
_GLUE = "\u00a0"  # keeps a name and its count on one line


class Data(SourceSpec):
    """Data by name or path.

    `source` is one of `sparring.data.named.NAMES`, or a path: a folder of images or IDX files, an archive of images,
    an IDX file, `.npy` or `.npz`, a table or series as `.csv`, `.tsv` or `.parquet`, a folder of series, texts as
    `.txt`. `size` (H, W) brings all images to one size. `hold_out` samples, drawn evenly from all, are set aside: they
    are not trained on, and judge whether the discriminator learns its samples by heart. Of windows that overlap they
    are the last, without those that overlap with them.
    Shards (`.tar` in the layout of WebDataset) and `.parquet` files, by a file, a folder or a pattern, are read while
    they are used, and so are folders of images that would take more than 40 % of the free memory, or any folder of
    images with `stream` True; with False all is held in memory.

    `kind` says what a file is where that is not as it looks: a CSV or Parquet file whose first column tells the time
    is series, others are tables. Of series, `series` is the column that tells them apart, `window` the rows of a
    sample and `stride` how far apart windows begin; of texts, `level` is what they are made of, `length` the most
    tokens, and `vocabulary` how many different ones.
    """

    source: str
    split: Literal["train", "test"] = "train"
    size: tuple[int, int] | None = None
    labels: Literal["use", "ignore"] = "use"
    hold_out: int = 0
    stream: bool | None = None
    kind: Literal["auto", "table", "series", "text"] = "auto"
    series: str = ""
    window: int | None = None
    stride: int | None = None
    level: Literal["characters", "words"] = "characters"
    length: int | None = None
    vocabulary: int | None = None

    def __post_init__(self) -> None:
        if self.hold_out < 0:
            raise RequestError(f"--hold-out {self.hold_out}: expected a number of samples, at least 0")
        if self.size is not None and not all(1 <= side <= MAX_SIDE for side in self.size):
            raise RequestError(f"--size {self.size[0]}x{self.size[1]}: expected sides from 1 to {MAX_SIDE}")
        if self.stride is not None and self.stride < 1:
            raise RequestError(f"source.stride={self.stride}: expected a number of rows, at least 1")

    def load(self) -> Resident | Streamed | Rows:
        """Reads the source, without what is held out. Raises `RequestError` when it is not there or cannot be used."""
        source = self._load()
        if not self.hold_out:
            return source
        _, kept = self._parts(source)
        return source.subset(kept, f"{self.hold_out} samples are held out and not trained on")

    def load_held_out(self) -> Resident | Streamed | Rows | None:
        """What is held out; without `hold_out` the test split where there is one, else None."""
        if self.hold_out:
            source = self._load()
            held, _ = self._parts(source)
            held_out = source.subset(held, f"held out of {len(source)} samples")
            held_out.report["split"] = "held out"
            return held_out
        if self.split != "train" or not self._has_test_split():
            return None
        return self.replace(split="test").load()

    def _has_test_split(self) -> bool:
        if self.source.startswith("hf:"):
            from sparring.data import hub

            return hub.has_split(self.source, "test")
        if self.source in named.NAMES:
            return True
        try:
            names = [entry.name.lower() for entry in user_path(self.source).iterdir()]
        except OSError:
            return False
        shards = {name.partition("-")[0] for name in names if name.endswith((".tar", ".parquet"))}
        return {"train", "test"} <= {*names, *shards} or any(name.startswith("t10k-images") for name in names)

    def _parts(self, source: Source) -> tuple[Tensor, Tensor]:
        """Positions held out and positions kept, each in the source's order."""
        if len(source) - self.hold_out < 2 or self.hold_out == 1:
            raise RequestError(
                f"--hold-out {self.hold_out}: {source.spec.name} holds {len(source)} samples, of which at least 2 must "
                f"be held out and 2 stay"
            )
        overlap = source.report.get("overlap", 0)
        if overlap:  # windows share rows with their neighbours: the last are set aside, and what overlaps with them
            first = len(source) - self.hold_out
            if first - overlap < 2:
                raise RequestError(
                    f"--hold-out {self.hold_out}: {overlap} windows before those overlap with them, and of "
                    f"{len(source)} at least 2 must stay"
                )
            return torch.arange(first, len(source)), torch.arange(first - overlap)
        order = torch.randperm(len(source), generator=torch.Generator().manual_seed(0))
        return order[: self.hold_out].sort().values, order[self.hold_out :].sort().values

    def _load(self) -> Resident | Streamed | Rows:
        started = time.perf_counter()
        if self.source.startswith("hf:"):
            return self._load_of_hub()
        if self.source in named.NAMES:
            source: Resident | Streamed | Rows = named.load_named(self.source, self.split)
        else:
            source = self._load_path(user_path(self.source))
        if self.size is not None and not isinstance(source, Streamed):
            if not isinstance(source, Resident) or source.spec.form is not None:
                raise RequestError(f"--size is for images; {printable(self.source)} holds {source.report['kind']}")
            from sparring.data.images import resize_source

            source = resize_source(source, self.size)
        if self.stream and not isinstance(source, Streamed):
            raise RequestError(
                f"source.stream: {printable(self.source)} is read as a whole; expected a folder of images, .tar shards "
                "or .parquet files"
            )
        if self.labels == "ignore" and not isinstance(source, Streamed):
            source = source.without_labels()
        seconds = round(time.perf_counter() - started, 3)
        source.report |= {"source": printable(self.source), "split": self.split, "seconds": seconds}
        return source

    def _load_of_hub(self) -> Resident | Streamed | Rows:
        from sparring.data import hub

        found = hub.fetch(self.source, self.split)
        source = hub.named(self.replace(source=str(found.path), split="train")._load(), found)
        source.report |= {"source": printable(self.source), "split": self.split}
        return source

    def _load_path(self, path: Path) -> Resident | Streamed | Rows:
        name = path.name.lower()
        try:
            is_there = path.exists()
        except OSError as error:  # a name too long, a folder above that is closed
            raise RequestError(f"{printable(self.source)}: cannot be read ({error.strerror})") from None
        if is_there and (path.is_file() or path.is_dir()):
            rows = self._load_rows(path, name)
            if rows is not None:
                return rows
        from sparring.data import streams

        streamed = streams.load(path, self.split, self.size, self.labels)
        if streamed is not None:
            return streamed.held() if self.stream is False else streamed
        if not is_there:
            raise RequestError(f"{printable(self.source)}: no such file or folder, and no known set; {self._hint()}")
        if not path.is_dir() and not path.is_file():  # opening a pipe would wait for ever
            raise RequestError(f"{printable(self.source)}: not a regular file; expected a folder or a file")
        if path.is_dir():
            if _has_idx(path):
                return load_idx(path, self.split)
        elif name.endswith((".npy", ".npz")):
            return load_array(path, self.split)
        elif re.search(r"idx\d-ubyte(\.gz)?$", name):
            return load_idx(path, self.split)
        from sparring.data import images
        from sparring.data.listing import IMAGE_SUFFIXES

        if not path.is_dir() and not name.endswith(images.ARCHIVE_SUFFIXES):
            if path.suffix.lower() in IMAGE_SUFFIXES:
                raise RequestError(f"{printable(self.source)}: one image only; expected a folder of many")
            raise RequestError(
                f"{printable(self.source)}: a kind of file that is not read; expected a folder of images, one of "
                f"{' '.join(images.ARCHIVE_SUFFIXES)}, an IDX file, .npy, .npz, .parquet or a folder of .tar shards"
            )
        if path.is_dir() and self.stream is not False:
            streamed = streams.load_folder(path, self.split, self.size, self.labels, asked=self.stream is True)
            if streamed is not None:
                return streamed
        return images.load_images(path, split=self.split, size=self.size, labels=self.labels)

    def _load_rows(self, path: Path, name: str) -> Resident | Rows | None:
        """Series, texts or a table, where the path leads to such; else None."""
        from sparring.data import sequences, texts

        kind, why = (self.kind, "") if self.kind != "auto" else _kind_of(path, name)
        if kind == "auto":
            return None
        if kind == "series":
            return sequences.load_series(
                path, self.split, window=self.window, stride=self.stride, column=self.series, why=why
            )
        if path.is_dir() or self.split != "train":
            found = "a folder" if path.is_dir() else f"one file has no split {self.split!r}"
            raise RequestError(f"{printable(self.source)}: {found}; expected a file that holds a {kind}")
        if kind == "text":
            return texts.load_texts(path, level=self.level, length=self.length, vocabulary=self.vocabulary)
        from sparring.data.tables import load_table

        return load_table(path)

    def _hint(self) -> str:
        return nearest(self.source, named.NAMES)


def _kind_of(path: Path, name: str) -> tuple[Literal["auto", "table", "series", "text"], str]:
    """What a path leads to, and why if that is series; "auto" for all that is none of these."""
    from sparring.data import columnar, csvs, serial, texts

    if path.is_dir():
        why = serial.why_folder(path)
        return ("series" if why else "auto"), why
    if name.endswith(texts.SUFFIXES):
        return "text", ""
    if name.endswith(csvs.SUFFIXES):
        why = serial.why_series(csvs.read_csv(path, csvs.SEEN))
        return ("series" if why else "table"), why
    if name.endswith(".parquet"):
        return columnar.kind_of(path)
    return "auto", ""


def _has_idx(folder: Path) -> bool:
    try:
        return bool(images_in(folder))
    except OSError as error:
        raise RequestError(f"{printable(str(folder))}: cannot be read ({error.strerror})") from None


def parse_size(text: str) -> tuple[int, int]:
    """(H, W) from the text of `--size`; one number means a square.

    >>> parse_size("24x40"), parse_size("32")
    ((24, 40), (32, 32))
    """
    match = re.fullmatch(r"(\d{1,5})(?:[x×](\d{1,5}))?", text.strip().lower())
    size = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not all(1 <= side <= MAX_SIDE for side in size):
        raise RequestError(f"--size {text!r}: expected height and width up to {MAX_SIDE} as HxW, such as 24x40, or 32")
    return size


def describe(source: Source) -> str:
    """What was found, for people: aligned plain lines, at most 80 columns wide."""
    report = source.report
    lines: list[str] = []

    def say(head: str, text: object) -> None:
        wrapped = textwrap.wrap(str(text), 66, break_on_hyphens=False) or [""]
        lines.extend(f"{head if i == 0 else '':<12}  {line}".replace(_GLUE, " ") for i, line in enumerate(wrapped))

    def counts(table: dict[str, int], most: int) -> str:
        shown = ", ".join(f"{key}:{_GLUE}{count}" for key, count in list(table.items())[:most])
        return shown + (f" and {len(table) - most} more" if len(table) > most else "")

    say("source", report["source"])
    say("split", report["split"])
    say("kind", report["kind"])
    depth = {256: "8-bit", 65536: "16-bit", 0: "floats"}[report["levels"]]
    if report["channels"]:
        _, height, width = report["shape"]
        colour = {1: "grey", 3: "RGB", 4: "RGBA"}[report["channels"]]
        say("samples", f"{report['count']} images of {height}x{width} (height x width), {colour}, {depth}")
        if len(report["sizes"]) > 1 or report["resized"] or report["cropped"]:
            say("sizes found", counts(report["sizes"], 10))
            say("resized", f"{report['resized']}, of which {report['cropped']} were cropped to the aspect first")
    elif "tokens" in report:
        tokens, length = report["tokens"], report["lengths"]
        say("samples", f"{report['count']} texts of {length['least']} to {length['most']} {tokens['level']}")
        head = "alphabet" if tokens["level"] == "characters" else "vocabulary"
        say(head, f"{tokens['count']} {tokens['level']}, the most frequent first: {tokens['shown']}")
    elif "lengths" in report:
        length, width = report["lengths"], len(report["columns"])
        if length["series"] == report["count"]:
            say("samples", f"{report['count']} series of {length['least']} to {length['most']} rows, {width} columns")
        else:
            say("samples", f"{report['count']} windows of {report['shape'][0]} rows, {width} columns")
            say("cut from", f"{length['series']} series of {length['least']} to {length['most']} rows")
    elif "columns" in report:
        say("samples", f"{report['count']} rows of {len(report['columns'])} columns, {report['shape'][0]} numbers each")
    else:
        say("samples", f"{report['count']} vectors of {report['shape'][0]} numbers, {depth}")
    for column in report.get("columns", [])[:_MOST_COLUMNS]:
        say("", f"{printable(column['name'])}: {column['type']}, {column['what']}")
    if len(report.get("columns", [])) > _MOST_COLUMNS:
        say("", f"and {len(report['columns']) - _MOST_COLUMNS} more columns")
    classes = report["classes"]
    say("classes", f"{len(classes)} ({counts(classes, 20)})" if classes else "none: unconditional")
    if report["converted"]:
        say("converted", counts(report["converted"], 20))
    repeats = report["duplicates"]
    say("duplicates", "not sought" if repeats is None else f"{repeats} samples repeat an earlier one exactly")
    others = "lines without a text" if "tokens" in report else "files that are no images"
    if report["channels"] or report["ignored"]:
        say("ignored", f"{report['ignored']} {others}")
    refused = report.get("num_refused", len(report["refused"]))
    say("refused", f"{refused} {'texts' if 'tokens' in report else 'series' if 'lengths' in report else 'files'}")
    for bad in report["refused"][:10]:
        say("", f"{bad['file']}: {bad['reason']}")
    if refused > 10:
        say("", f"and {refused - 10} more")
    for note in report["notes"]:
        say("note", note)
    say("sha256", report["sha256"])
    say("read in", f"{report['seconds']:.2f} s")
    return "\n".join(lines)
