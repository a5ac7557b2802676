"""Coverage-guided fuzzing of whatever reads bytes or text that somebody else may have written.

    python bench/fuzz.py --out docs/figures/fuzz.json             two million executions; ten minutes
    python bench/fuzz.py --runs 2000 --out /tmp/fuzz.json         a quick look
    python bench/fuzz.py --only tar --out docs/figures/fuzz.json  one target anew; the others' figures stay
    python bench/fuzz.py --only tar --input FILE                  one input again, such as one that was kept

Needs atheris (libFuzzer for Python: pip install atheris). Each target feeds one reader of the library; nothing but
`RequestError` may come out of it, within ten seconds and four gigabytes of one input. What else comes out is kept
under --keep and fails the run. Each target runs in a process of its own, from the seeds below and what earlier runs
left in --keep. `edges` is the coverage that libFuzzer counts; `lines` is the share of the lines of the reader's own
modules that the found inputs reach, measured by playing them once more.
"""

from __future__ import annotations

import argparse
import contextlib
import dis
import gzip
import hashlib
import io
import json
import lzma
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

RUNS = 2_000_000
SECONDS_OF_ONE, MEBIBYTES = 10, 4096
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where files are written: a disk would be waited for."""

with contextlib.ExitStack() as instrumented:
    if "--target" in sys.argv:
        import atheris

        instrumented.enter_context(atheris.instrument_imports(include=["sparring", "tarfile", "zipfile"]))
    import tarfile
    import zipfile

    import numpy as np
    import torch
    from PIL import Image

    from sparring.core.errors import RequestError, SourceError
    from sparring.core.files import read_json, read_sealed, write_sealed
    from sparring.core.spec import from_json, to_json
    from sparring.data.arrays import load_array
    from sparring.data.idx import load_idx
    from sparring.data.images import _Decoder, load_images
    from sparring.data.limits import printable
    from sparring.data.listing import choose
    from sparring.data.open import Data, parse_size
    from sparring.games.adversarial import Adversarial
    from sparring.games.objectives import Hinge
    from sparring.games.penalties import R1, R2
    from sparring.report.lenient import read_log, read_object
    from sparring.train.checkpoint import load_checkpoint, save_checkpoint
    from sparring.train.schedule import parse_budget


class Target(NamedTuple):
    """`play` gets bytes and a folder of its own; `share` of all executions; `modules` whose lines are counted;
    `longest` input, in bytes."""

    play: Callable[[bytes, Path], object]
    seeds: Callable[[], Iterable[bytes]]
    modules: tuple[str, ...]
    share: float = 0.5
    longest: int = 8192


def text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def written_to(name: str, read: Callable[[Path], object]) -> Callable[[bytes, Path], object]:
    def play(data: bytes, folder: Path) -> object:
        (folder / name).write_bytes(data)
        return read(folder / name)

    return play


def tar(data: bytes, folder: Path) -> object:
    """An archive whose headers have the checksums that their author can give them: else no change gets further."""
    fixed = bytearray(data)
    for at in range(0, len(fixed) - 511, 512):
        if fixed[at + 257 : at + 262] == b"ustar":
            fixed[at + 148 : at + 156] = b" " * 8
            fixed[at + 148 : at + 156] = b"%06o\0 " % sum(fixed[at : at + 512])
    (folder / "a.tar").write_bytes(fixed)
    return load_images(folder / "a.tar")


def shard(data: bytes, folder: Path) -> object:
    """Opened as a stream, with an index of its own, and the first samples taken.

    Parquet has no target: Arrow's own C++ ends the process on some damaged files, which no handler of ours can mend.
    """
    cache = folder / "cache"
    os.environ["SPARRING_CACHE"] = str(cache)
    try:
        with contextlib.suppress(RequestError):
            tar(data, folder)  # for its checksums
        source = Data(source=str(folder / "a.tar"), stream=True).load()
        with contextlib.suppress(SourceError):
            return source.take(torch.arange(min(2, len(source))))
    finally:
        shutil.rmtree(cache, ignore_errors=True)


def decode(data: bytes, _: Path) -> None:
    """An image's bytes are read or refused, whatever Pillow raises."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module=r"PIL\.")
        [outcome] = _Decoder((8, 8), "fuzz")([(0, lambda: data)])
    assert (outcome.picture is None) == bool(outcome.refused)
    assert outcome.picture is None or outcome.picture.pixels.shape[:2] == (8, 8)


def listed(data: bytes, _: Path) -> None:
    names = text(data).split("\0")
    for labels in ("use", "ignore"):
        with contextlib.suppress(RequestError):
            chosen = choose(names, "train", labels, "fuzz")
            assert len(chosen.files) + chosen.ignored.total() <= len(names)


def shown(data: bytes, _: Path) -> None:
    line = printable(text(data))
    assert line.isprintable()
    line.encode()


def spec_of(data: bytes, folder: Path) -> None:
    (folder / "spec.json").write_bytes(data)
    found = from_json(read_json(folder / "spec.json"))
    assert from_json(json.loads(json.dumps(to_json(found)))) == found


def set_by_text(data: bytes, _: Path) -> None:
    path, _, value = text(data).partition("=")
    changed = GAME.with_path(path, value)
    assert isinstance(changed, Adversarial)


def log_of(data: bytes, folder: Path) -> None:
    """A log is never refused: what is sound is kept."""
    (folder / "log.jsonl").write_bytes(data)
    problems: list[str] = []
    for row in read_log(folder / "log.jsonl", problems):
        assert row.images >= 0
    read_object(folder / "log.jsonl", problems)
    json.dumps(problems)


def checkpoint_meta(data: bytes, folder: Path) -> None:
    """Hostile JSON beside the right tensors; an object gets the seal that its author can give it."""
    path = folder / "000000000001.json"
    path.write_bytes(data)
    path.with_suffix(".safetensors").write_bytes(TENSORS)
    with contextlib.suppress(ValueError, TypeError, RecursionError):
        write_sealed(path, dict(json.loads(data)))
    load_checkpoint(path)


def checkpoint_tensors(data: bytes, folder: Path) -> None:
    """Hostile tensors whose hash is right, as their author can make it."""
    path = folder / "000000000001.json"
    digest = hashlib.sha256(data).hexdigest()
    write_sealed(path, json.loads(META) | {"bytes": len(data), "sha256": digest})
    path.with_suffix(".safetensors").write_bytes(data)
    load_checkpoint(path)


GAME = Adversarial(objective=Hinge(), penalties=(R1(weight=0.5), R2()))


def _saved() -> tuple[bytes, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = save_checkpoint(Path(folder), 1, {"a": torch.ones(2, 3), "b": torch.zeros(1)}, {"step": 3})
        meta, _ = read_sealed(path)
        return json.dumps(meta).encode(), path.with_suffix(".safetensors").read_bytes()


META, TENSORS = _saved()


def _pictures(form: str = "PNG", count: int = 2, mode: str = "L") -> dict[str, bytes]:
    files = {}
    for i in range(count):
        out = io.BytesIO()
        Image.new(mode, (3, 2), 40 * i).save(out, form)
        files[f"{'ab'[i % 2]}/{i}.png"] = out.getvalue()
    return files


def _images() -> Iterator[bytes]:
    for form, mode in (
        *(("PNG", "L"), ("PNG", "P"), ("PNG", "1"), ("PNG", "I;16"), ("JPEG", "L"), ("GIF", "P"), ("BMP", "L")),
        *(("TIFF", "L"), ("TIFF", "F"), ("PPM", "L"), ("WEBP", "RGB"), ("PNG", "RGBA"), ("JPEG", "CMYK")),
    ):
        out = io.BytesIO()
        Image.new(mode, (5, 6)).save(out, form)
        yield out.getvalue()


def _zips() -> Iterator[bytes]:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", method) as archive:
            for name, data in _pictures().items():
                archive.writestr(name, data)
        yield out.getvalue()


def _tars() -> Iterator[bytes]:
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=form) as archive:
            for name, data in _pictures().items():
                member = tarfile.TarInfo(name if form == tarfile.USTAR_FORMAT else f"{'long' * 40}/ü{name}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        short = out.getvalue().rstrip(b"\0") + bytes(1536)
        short += bytes(-len(short) % 512)
        yield short
    for kind in (tarfile.GNUTYPE_SPARSE, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.SYMTYPE):
        member = tarfile.TarInfo("a.png")
        member.type, member.size = kind, 40
        yield member.tobuf(tarfile.GNU_FORMAT) + b"22 GNU.sparse.map=0,1\n18 path=b/c.png\n".ljust(512, b"\0") + short


def _packed_tars() -> Iterator[bytes]:
    for seed in _tars():
        yield gzip.compress(seed)
        yield lzma.compress(seed)


def _shards() -> Iterator[bytes]:
    image = io.BytesIO()
    Image.new("L", (3, 2)).save(image, "PNG")
    for labels in ((b"0", b"1"), (b"cat", b"dog")):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as made:
            for number, label in enumerate(labels):
                for suffix, content in (("png", image.getvalue()), ("cls", label)):
                    member = tarfile.TarInfo(f"{number:03d}.{suffix}")
                    member.size = len(content)
                    made.addfile(member, io.BytesIO(content))
        yield out.getvalue()


def _idx() -> Iterator[bytes]:
    for shape in ((2, 2, 3), (2, 2, 3, 3), (4,)):
        yield bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + bytes(int(np.prod(shape)))


def _npy() -> Iterator[bytes]:
    for array in (np.zeros((2, 3), np.uint8), np.zeros((2, 2, 2, 3), ">f4"), np.zeros((2, 3), np.uint16, order="F")):
        out = io.BytesIO()
        np.save(out, array)
        yield out.getvalue()


def _npz() -> Iterator[bytes]:
    for save in (np.savez, np.savez_compressed):
        out = io.BytesIO()
        save(out, images=np.zeros((2, 3), np.uint8), labels=np.arange(2))
        yield out.getvalue()


def _lines(*texts: str) -> Callable[[], list[bytes]]:
    return lambda: [each.encode() for each in texts]


LOG = '{"images": 64, "step": 1, "d_loss": 1.25, "notes": ["a"], "provenance": {"reference": {"name": "x"}}}\n'
TARGETS = {
    "idx": Target(written_to("train-images-idx3-ubyte", load_idx), _idx, ("data/idx.py",)),
    "idx gzipped": Target(
        written_to("train-images-idx3-ubyte.gz", load_idx), lambda: map(gzip.compress, _idx()), ("data/idx.py",)
    ),
    "npy": Target(written_to("a.npy", load_array), _npy, ("data/arrays.py",)),
    "npz": Target(written_to("a.npz", load_array), _npz, ("data/arrays.py",)),
    "zip": Target(written_to("a.zip", load_images), _zips, ("data/listing.py", "data/images.py")),
    "tar": Target(tar, _tars, ("data/listing.py", "data/images.py")),
    "tar packed": Target(tar, _packed_tars, ("data/listing.py", "data/images.py")),
    "shard": Target(shard, _shards, ("data/shards.py", "data/index.py", "data/streamed.py"), 0.1),
    "image": Target(decode, _images, ("data/pixels.py",), 3.0),
    "names": Target(
        listed, _lines("a/1.png\0b/2.png", "train/a.png\0test\\b.JPG\0.c.png"), ("data/listing.py",), 3.0, 256
    ),
    "printable": Target(shown, _lines("a\nb\x1b[31m", "猫.png"), ("data/limits.py",), 3.0, 256),
    "size": Target(lambda data, _: parse_size(text(data)), _lines("24x40", "32", "8×8"), ("data/open.py",), 3.0, 256),
    "budget": Target(
        lambda data, _: parse_budget(text(data)).images(60_000),
        _lines("90s", "1.5kimg", "2 epochs"),
        ("train/schedule.py",),
        3.0,
        256,
    ),
    "written": Target(
        set_by_text,
        _lines("penalties=R1(weight=0.5), R2(every=4)", "objective=Hinge", "d_steps=2", "penalties.0.weight=1e3"),
        ("core/written.py", "core/spec.py", "core/fits.py"),
    ),
    "spec": Target(spec_of, lambda: [json.dumps(to_json(GAME)).encode()], ("core/spec.py", "core/fits.py")),
    "log": Target(log_of, _lines(LOG * 2, '{"images": NaN}\n[]\n{'), ("report/lenient.py",)),
    "checkpoint": Target(checkpoint_meta, lambda: [META], ("train/checkpoint.py",)),
    "tensors": Target(checkpoint_tensors, lambda: [TENSORS], ("train/checkpoint.py",)),
}


def one(name: str, data: bytes, folder: Path) -> None:
    with contextlib.suppress(RequestError):
        TARGETS[name].play(data, folder)


def child(name: str, runs: int, seed: int, corpus: Path, keep: Path, folder: Path) -> None:
    """Never returns: libFuzzer ends the process."""
    options = [f"-runs={runs}", f"-seed={seed}", f"-timeout={SECONDS_OF_ONE}", f"-rss_limit_mb={MEBIBYTES}"]
    options += [
        f"-artifact_prefix={keep}/{name}-",
        f"-max_len={TARGETS[name].longest}",
        "-len_control=0",
        "-print_final_stats=1",
    ]
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    atheris.Setup([sys.argv[0], *options, str(corpus)], lambda data: one(name, data, folder))
    atheris.Fuzz()


def codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes(constant)


def lines_of(path: Path) -> set[int]:
    """Lines of a module's functions that hold code."""
    whole = compile(path.read_text(encoding="utf-8"), str(path), "exec")
    return {line for code in codes(whole) if code is not whole for _, line in dis.findlinestarts(code) if line}


def reached(name: str, corpus: Path, folder: Path) -> dict[str, str]:
    """Lines of the target's modules that the inputs of its corpus reach, of all."""
    import sparring

    files = {str(Path(sparring.__file__).parent / each): each for each in TARGETS[name].modules}
    seen: dict[str, set[int]] = {each: set() for each in files}

    def trace(frame: types.FrameType, event: str, _: Any) -> Any:
        at = frame.f_code.co_filename
        if at not in files:
            return None
        if event == "line":
            seen[at].add(frame.f_lineno)
        return trace

    warnings.simplefilter("ignore")
    for path in sorted(corpus.iterdir())[:3000]:
        sys.settrace(trace)
        try:
            one(name, path.read_bytes(), folder)
        finally:
            sys.settrace(None)
    return {files[at]: f"{len(seen[at] & lines_of(Path(at)))} of {len(lines_of(Path(at)))}" for at in files}


def fuzz(name: str, runs: int, seed: int, keep: Path) -> dict[str, Any]:
    """One target in a process of its own."""
    corpus = keep / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for i, data in enumerate(TARGETS[name].seeds()):
        (corpus / f"seed{i}").write_bytes(data)
    started = time.perf_counter()
    command = [
        sys.executable,
        __file__,
        "--target",
        name,
        "--runs",
        str(runs),
        "--seed",
        str(seed),
        "--keep",
        str(keep),
    ]
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:  # libFuzzer ends the process and would leave it
        command += ["--folder", folder]
        ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace")
    seconds = time.perf_counter() - started
    done = re.search(r"number_of_executed_units: (\d+)", ended.stderr)
    edges = re.findall(r"cov: (\d+)", ended.stderr)
    peak = re.search(r"peak_rss_mb: +(\d+)", ended.stderr)
    if ended.returncode:
        print(ended.stderr[-3000:], file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        lines = reached(name, corpus, Path(folder))
    return {
        "executions": int(done[1]) if done else 0,
        "seconds": round(seconds, 1),
        "edges": int(edges[-1]) if edges else 0,
        "inputs_kept": len(list(corpus.iterdir())),
        "lines": lines,
        "peak_mib": int(peak[1]) if peak else 0,
        "crashes": int(ended.returncode != 0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--runs", type=int, default=RUNS, help="executions of all targets together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=TARGETS, nargs="*", default=list(TARGETS))
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "sparring-fuzz")
    parser.add_argument("--input", type=Path)
    parser.add_argument("--target", choices=TARGETS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.target:
        corpus = options.keep / "corpus" / options.target
        child(options.target, options.runs, options.seed, corpus, options.keep, options.folder)
    if options.input:
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
            TARGETS[options.only[0]].play(options.input.read_bytes(), Path(folder))
        return
    shares = sum(TARGETS[name].share for name in options.only)
    found = {}
    for name in options.only:
        found[name] = fuzz(name, round(options.runs * TARGETS[name].share / shares), options.seed, options.keep)
        print(name, found[name], flush=True)
    if options.out and options.out.exists():
        earlier = json.loads(options.out.read_text())["targets"]
        found = {name: found.get(name) or earlier[name] for name in TARGETS if name in found or name in earlier}
    result = {
        "python": platform.python_version(),
        "executions": sum(each["executions"] for each in found.values()),
        "seconds": round(sum(each["seconds"] for each in found.values()), 1),
        "crashes": sum(each["crashes"] for each in found.values()),
        "targets": found,
    }
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    sys.exit(1 if result["crashes"] else 0)


if __name__ == "__main__":
    main()
