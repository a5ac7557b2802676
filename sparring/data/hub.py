"""Sets of the Hugging Face Hub: `hf:OWNER/NAME[@REVISION][:SUBSET]`, brought here once and then read as any path.

The Hub's own client (`pip install 'sparring[hub]'`) lists and downloads the files into its own cache, with its own
settings (HF_HOME, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE); it holds their sizes against what was announced, not their
content. So every file is hashed here and held against what the Hub names for the commit: SHA-256 of a large file, the
SHA-1 of git's blob of a small one. Of a repository only data files of known kinds and its card are fetched; a script in
it is neither fetched nor run.

What a commit holds is kept in the cache of this library, with a folder of links for each split, which is there only
once all its files are and have the right hash. With a commit in place of the revision nothing needs the network then.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar
from urllib.parse import quote, urlsplit

from sparring import __version__
from sparring.core.errors import RequestError
from sparring.core.files import (
    DamagedError,
    cache_folder,
    failure_text,
    read_sealed,
    size_text,
    write_atomically,
    write_sealed,
)
from sparring.core.protocols import Source
from sparring.data import card
from sparring.data.limits import printable

PREFIX = "hf:"
MOST_GB = 10.0
"""Gigabytes that are downloaded for one split without `$SPARRING_DOWNLOAD_GB`."""
MOST_FILES = 100_000
_SECONDS = 20.0
_THREADS = 8
_MOST_README = 2**22
_SOURCE = re.compile(r"hf:([\w.-]{1,96}/[\w.-]{1,96})(?:@([\w./-]{1,200}))?(?::([^\x00-\x1f]{1,500}))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_Source = TypeVar("_Source", bound=Source)


class Place(NamedTuple):
    """What `hf:OWNER/NAME[@REVISION][:PART]` says."""

    repository: str
    revision: str
    """A branch, a tag or a commit; '' for the main branch."""
    part: str
    """A subset, a folder or a pattern of files; '' for the default subset."""

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{PREFIX}{self.repository}{revision}{f':{self.part}' if self.part else ''}"

    @property
    def is_pinned(self) -> bool:
        """Whether it means the same for ever."""
        return _COMMIT.fullmatch(self.revision) is not None


class Entry(NamedTuple):
    """One file of a repository."""

    path: str
    size: int
    hashed: str
    """SHA-256 of its bytes (64 digits), or SHA-1 of git's blob of them (40 digits)."""


class Listing(NamedTuple):
    """What a commit holds."""

    entries: list[Entry]
    card: dict[str, Any]


class Found(NamedTuple):
    """A split that is here, whole."""

    path: Path
    """A folder or a file that holds nothing else."""
    name: str
    """Of the set, without its owner."""
    notes: list[str]


def parse(source: str) -> Place:
    """What a source's text says; raises `RequestError` for one that is not of the form.

    >>> parse("hf:ylecun/mnist@main:mnist")
    Place(repository='ylecun/mnist', revision='main', part='mnist')
    """
    found = _SOURCE.fullmatch(source)
    if found is None or ".." in found[1] + (found[2] or ""):
        raise RequestError(
            f"{printable(source)[:300]!r}: expected hf:OWNER/NAME[@REVISION][:SUBSET], such as hf:ylecun/mnist"
        )
    return Place(found[1], found[2] or "", found[3] or "")


def pin(source: str) -> str:
    """The same source with the commit that its revision is now; asks the Hub unless it is one already.

    Where the Hub cannot be reached, it is the commit that this revision was when it was asked for last. Raises
    `RequestError` for a set or a revision that is not there, and for one that was never asked for where the Hub cannot
    be reached.
    """
    place = parse(source)
    return str(place if place.is_pinned else place._replace(revision=_commit(place)[0]))


def fetch(source: str, split: str) -> Found:
    """Brings the files of a split ("train" or "test") here, unless they are, and says where.

    Raises `RequestError` for a set, revision, subset or split that is not there or not for you, more bytes than
    `$SPARRING_DOWNLOAD_GB` or the disk has room for, files of another hash than the Hub says, and a failing network.
    """
    place = parse(source)
    where = printable(source)
    commit, note = (place.revision, "") if place.is_pinned else _commit(place)
    listing = _listing(place, commit)
    chosen = card.choose([entry.path for entry in listing.entries], listing.card, place.part, split, where)
    wanted = _with_names(listing.entries, chosen)
    key = hashlib.sha256(json.dumps([wanted, chosen.class_names, chosen.is_images]).encode()).hexdigest()
    folder = _own(place) / commit / f"{split}-{key[:12]}"
    if not _is_whole(folder, chosen, wanted):
        files = _download(place, commit, wanted)
        _link(folder, chosen, wanted, files)
    names = [folder / name for name in _names(chosen, wanted)]
    only = len(chosen.files) == 1 and not chosen.is_images
    notes = [text for text in (note, chosen.note) if text]
    return Found(names[0] if only else folder, place.repository.partition("/")[2], notes)


def has_split(source: str, split: str) -> bool:
    """Whether a set has a split, without bringing it here. Raises `RequestError` as `fetch` does."""
    place = parse(source)
    commit = place.revision if place.is_pinned else _commit(place)[0]
    listing = _listing(place, commit)
    return split in card.splits([entry.path for entry in listing.entries], listing.card, place.part, printable(source))


def named(source: _Source, found: Found) -> _Source:
    """What was read of a split, called like the set, with its notes first."""
    source.spec = source.spec.replace(name=found.name)
    source.report["notes"] = [*found.notes, *source.report["notes"]]
    return source


def _own(place: Place) -> Path:
    return cache_folder() / "hub" / place.repository.replace("/", "--")


def _commit(place: Place) -> tuple[str, str]:
    """The commit that a revision is now, or was when the Hub was last reached, and a note that says the latter."""
    kept = _own(place) / "refs" / quote(place.revision or "main", safe="")
    try:
        with _asked(place) as client:
            info = client.HfApi(endpoint=client.constants.ENDPOINT).dataset_info(
                place.repository, revision=place.revision or None, timeout=_SECONDS
            )
    except _UnreachableError as error:
        try:
            commit = kept.read_text(encoding="ascii")
        except (OSError, ValueError):
            raise RequestError(str(error)) from None
        if _COMMIT.fullmatch(commit) is None:
            raise RequestError(str(error)) from None
        return commit, f"the Hub was not reached; took commit {commit[:12]}, which this revision was when last asked"
    commit = str(info.sha)
    if _COMMIT.fullmatch(commit) is None:
        raise RequestError(f"{place}: the Hub names no commit of it, only {printable(commit)[:60]!r}")
    _keep(kept, commit)
    return commit, ""


def _listing(place: Place, commit: str) -> Listing:
    """What a commit holds, from the cache or else from the Hub."""
    kept = _own(place) / f"{commit}.json"
    with suppress(DamagedError, KeyError, TypeError):
        said, is_sealed = read_sealed(kept)
        if is_sealed:
            return Listing([Entry(*row) for row in said["files"]], said["card"])
    entries = []
    with _asked(place) as client:
        api = client.HfApi(endpoint=client.constants.ENDPOINT)
        for file in api.list_repo_tree(place.repository, recursive=True, revision=commit, repo_type="dataset"):
            if hasattr(file, "blob_id"):  # folders have none
                entries.append(_entry(file, place))
            if len(entries) > MOST_FILES:
                raise RequestError(
                    f"{place}: more than {MOST_FILES} files; expected shards: try {place._replace(revision='')}"
                    "@refs/convert/parquet"
                )
    entries.sort()
    readme = [entry for entry in entries if entry.path == "README.md" and entry.size <= _MOST_README]
    text = ""
    if readme:
        path = _download(place, commit, readme)[0]
        text = path.read_text(encoding="utf-8", errors="replace")
    said = _as_json(card.head(text))
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_sealed(kept, {"files": entries, "card": said})
    return Listing(entries, said)


def _entry(file: Any, place: Place) -> Entry:
    """A file as the Hub lists it. Raises `RequestError` for what no honest repository holds."""
    path, size, hashed = str(file.path), file.size, str(file.lfs.sha256 if file.lfs else file.blob_id)
    names = path.split("/")
    sound = not any(name in ("", ".", "..") or "\\" in name or "\0" in name for name in names)
    if not (sound and type(size) is int and size >= 0 and re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", hashed)):
        raise RequestError(f"{place}: the Hub lists a file {printable(path)[:100]!r} of {size} bytes, which is none")
    return Entry(path, size, hashed)


def _as_json(said: dict[str, Any]) -> dict[str, Any]:
    """The two parts of a card that are read, as JSON can hold them: YAML has dates, and keys that are no texts."""
    kept = {name: said[name] for name in ("configs", "dataset_info") if name in said}
    try:
        text = json.dumps(kept, default=str)
        return dict(json.loads(text)) if len(text) <= 8 * card.MOST_CARD else {}
    except (ValueError, TypeError, RecursionError):
        return {}


def _with_names(entries: Iterable[Entry], chosen: card.Chosen) -> list[Entry]:
    """The chosen files, and names of classes that lie beside the first of them."""
    beside = {f"{path.rpartition('/')[0]}/classnames.txt".lstrip("/") for path in chosen.files[:1]}
    paths = {*chosen.files, *(() if chosen.is_images else beside)}
    return sorted(entry for entry in entries if entry.path in paths)


def _names(chosen: card.Chosen, wanted: Iterable[Entry]) -> list[str]:
    """What the files are called here, the data first. Images keep their folders; others are numbered, so that the
    name of a split at the beginning, which was heeded already, is not heeded again."""
    paths = [entry.path for entry in wanted if entry.path in set(chosen.files)]
    if chosen.is_images:
        return paths
    return [f"{i:05d}_{path.rpartition('/')[2]}" for i, path in enumerate(paths)]


def _is_whole(folder: Path, chosen: card.Chosen, wanted: list[Entry]) -> bool:
    sizes = {entry.path: entry.size for entry in wanted}
    data = [path for path in sizes if path in set(chosen.files)]
    try:
        return all(
            (folder / name).stat().st_size == sizes[path]
            for name, path in zip(_names(chosen, wanted), data, strict=True)
        )
    except OSError:
        return False


def _link(folder: Path, chosen: card.Chosen, wanted: list[Entry], files: list[Path]) -> None:
    """Makes the folder of a split at once, of links to files that are known to be right."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    names = iter(_names(chosen, wanted))
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        if chosen.class_names and not chosen.is_images:
            (temporary / "classnames.txt").write_text("\n".join(chosen.class_names) + "\n", encoding="utf-8")
        data = set(chosen.files)
        for entry, file in zip(wanted, files, strict=True):
            link = temporary / (next(names) if entry.path in data else "classnames.txt")
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)  # names beside the data are nearer than those of the card
            link.symlink_to(file)
        if not _is_whole(folder, chosen, wanted):
            shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # another process was first
            temporary.rename(folder)
    except OSError as error:
        raise RequestError(f"{failure_text(error)}; set SPARRING_CACHE to a folder that can be written") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _keep(path: Path, text: str) -> None:
    with suppress(OSError):  # a cache that can't be written costs time
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())


# The network.


class _UnreachableError(RequestError):
    """The Hub gave no answer."""


class _TooMuchError(Exception):
    """More bytes than were announced."""


def _client() -> Any:
    try:
        client = importlib.import_module("huggingface_hub")
    except ImportError:
        raise RequestError("hf: sets of the Hub need its client: pip install 'sparring[hub]'") from None
    constants: Any = importlib.import_module("huggingface_hub.constants")
    constants.HF_HUB_DISABLE_TELEMETRY = True  # what else is installed here is nobody's business
    parts = urlsplit(constants.ENDPOINT)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise RequestError(f"HF_ENDPOINT {printable(constants.ENDPOINT)}: expected an address that begins with https:")
    return client


@contextmanager
def _asked(place: Place) -> Iterator[Any]:
    """The Hub's client; what it raises becomes one line that says what to do."""
    client = _client()
    errors = importlib.import_module("huggingface_hub.errors")
    try:
        yield client
    except RequestError:
        raise
    except errors.GatedRepoError:
        raise RequestError(
            f"{place}: is gated; accept its terms on its page of the Hub, then log in with `hf auth login` or set "
            "HF_TOKEN"
        ) from None
    except errors.RepositoryNotFoundError:
        raise RequestError(
            f"{place}: the Hub has no set of data of this name, or it is private; check OWNER/NAME, and log in with "
            "`hf auth login` or set HF_TOKEN if it is yours"
        ) from None
    except errors.RevisionNotFoundError:
        raise RequestError(
            f"{place}: the set has no revision {place.revision or 'main'!r}; leave @REVISION out for the main branch"
        ) from None
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status is None or status >= 500 or status == 429:
            raise _UnreachableError(f"{place}: the Hub answers with status {status}; try again later") from None
        raise RequestError(f"{place}: the Hub refuses with status {status}") from None
    except errors.HFValidationError as error:
        raise RequestError(f"{place}: not a name that the Hub has ({_first(error)})") from None
    except (errors.HTTPError, OSError, ValueError) as error:
        raise _UnreachableError(
            f"{place}: the Hub was not reached, or failed ({type(error).__name__}: {_first(error)}), and not all of it "
            "is in the cache; try again, with HF_HUB_OFFLINE unset, or copy the files by hand and name their folder"
        ) from None


def _first(error: Exception) -> str:
    return printable((str(error).splitlines() or [""])[0])[:200]


def _download(place: Place, commit: str, wanted: list[Entry]) -> list[Path]:
    """The files of a commit in the client's cache, in the order of `wanted`, each of the right hash."""
    with _asked(place) as client:
        missing = [entry for entry in wanted if _cached(client, place, commit, entry) is None]
        total = sum(entry.size for entry in missing)
        _check_room(place, total, Path(client.constants.HF_HUB_CACHE))
        shown = _Shown(place, len(missing), total) if any(entry.path != "README.md" for entry in missing) else None
        if shown is not None:
            print(
                f"{place}: {len(missing)} file{'s' * (len(missing) > 1)}, {size_text(total)}, go into "
                f"{client.constants.HF_HUB_CACHE}",
                file=sys.stderr,
            )

        def bring(entry: Entry) -> Path:
            path = _cached(client, place, commit, entry) or _one(client, place, commit, entry, shown)
            _check(place, entry, path)
            return path

        with ThreadPoolExecutor(_THREADS) as pool:
            running = [pool.submit(bring, entry) for entry in wanted]
            try:
                files = [each.result() for each in running]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            finally:
                if shown is not None:
                    shown.close()
    return files


def _one(client: Any, place: Place, commit: str, entry: Entry, shown: _Shown | None) -> Path:
    try:
        found = client.hf_hub_download(
            place.repository,
            entry.path,
            repo_type="dataset",
            revision=commit,
            cache_dir=client.constants.HF_HUB_CACHE,
            endpoint=client.constants.ENDPOINT,
            library_name="sparring",
            library_version=__version__,
            tqdm_class=_meter(entry.size, None if shown is None else shown.add),
        )
    except _TooMuchError:
        raise RequestError(f"{place}: {printable(entry.path)} is longer than the {entry.size} bytes listed") from None
    return Path(found)


def _cached(client: Any, place: Place, commit: str, entry: Entry) -> Path | None:
    found = client.try_to_load_from_cache(
        place.repository, entry.path, cache_dir=client.constants.HF_HUB_CACHE, revision=commit, repo_type="dataset"
    )
    return Path(found) if isinstance(found, str) else None


def _check_room(place: Place, total: int, cache: Path) -> None:
    text = os.environ.get("SPARRING_DOWNLOAD_GB") or str(MOST_GB)
    try:
        most = float(text)
    except ValueError:
        raise RequestError(f"SPARRING_DOWNLOAD_GB {printable(text)!r}: expected a number of gigabytes") from None
    if not total <= most * 1e9:
        raise RequestError(
            f"{place}: {size_text(total)} are to be downloaded, more than {most:g} GB; set SPARRING_DOWNLOAD_GB="
            f"{-(-total // 10**9)} to bring them all the same, or name some files by a pattern: "
            f"{place._replace(part='data/train-0000*')}"
        )
    there = next((folder for folder in (cache, *cache.parents) if folder.exists()), cache)
    free = shutil.disk_usage(there).free
    if total >= free:
        raise RequestError(
            f"{place}: {size_text(total)} are to be downloaded, and {there} has {size_text(free)} free; make room, or "
            "set HF_HOME to a folder on a larger disk"
        )


def _check(place: Place, entry: Entry, path: Path) -> None:
    """Holds a file against the hash that the Hub lists; one that has another is removed from the client's cache."""
    info = path.stat()
    with path.open("rb") as file:
        if len(entry.hashed) == 64:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        else:
            digest = hashlib.sha1(f"blob {info.st_size}\0".encode(), usedforsecurity=False)
            while piece := file.read(2**20):
                digest.update(piece)
            found = digest.hexdigest()
    if found != entry.hashed or not stat.S_ISREG(info.st_mode):
        blob = path.resolve()
        path.unlink(missing_ok=True)
        if blob.parent.name == "blobs":
            blob.unlink(missing_ok=True)
        raise RequestError(
            f"{place}: {printable(entry.path)} has hash {found[:12]}, where the Hub says {entry.hashed[:12]}; it was "
            "removed, ask again to fetch it anew"
        )


class _Shown:
    """One line of progress for many files, told in bytes; safe to use from several threads."""

    def __init__(self, place: Place, num: int, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        console = Console(stderr=True)
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task(place.repository, total=total)
        self._progress.start()

    def add(self, count: int) -> None:
        self._progress.advance(self._task, count)

    def close(self) -> None:
        self._progress.stop()


def _meter(most: int, add: Callable[[int], None] | None) -> type:
    """What the client takes for a bar of its own: counts the bytes of one file, and ends what gives too many."""

    class Meter:
        def __init__(self, *_: Any, **__: Any) -> None:
            self.total = self.n = 0

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: Any) -> None: ...

        def __getattr__(self, name: str) -> Callable[..., None]:
            return lambda *_, **__: None

        def update_transfer(self, count: float | None = 1) -> None:
            """Bytes on the wire, where the client counts those and the file's apart."""

        def update(self, count: float | None = 1) -> None:
            self.n += int(count or 0)
            if self.n > most:
                raise _TooMuchError
            if add is not None:
                add(int(count or 0))

    return Meter
