"""Sets of the Hub, by its real client from a stand-in of the Hub on loopback that answers the few requests it makes."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import huggingface_hub
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from huggingface_hub import constants
from PIL import Image

from sparring.core.errors import RequestError
from sparring.core.files import cache_folder
from sparring.data import hub
from sparring.data.open import Data

Png = Callable[..., bytes]
LARGE = 200  # bytes from which on the stand-in keeps files in its large storage, and redirects to it
OLD, NEW = "1" * 40, "2" * 40
WATCHED = Path(__file__).parent.parent / "watched.py"


class Hub(NamedTuple):
    """The stand-in, and all that was asked of it as "METHOD path"."""

    sets: dict[str, dict[str, dict[str, bytes]]]
    """By name and commit: files by path. The last commit is `main`."""
    asked: list[str]
    agents: list[str]
    tokens: set[tuple[str, str | None]]
    """What was sent to whom: hosts and tokens."""
    faults: dict[str, Any]
    """What is wrong with it: see `Handler`."""
    address: str
    elsewhere: str
    """Of its large storage, which has another host's name."""

    def put(self, name: str, files: dict[str, bytes], commit: str = NEW) -> None:
        self.sets.setdefault(name, {})[commit] = files


class Handler(http.server.BaseHTTPRequestHandler):
    """`faults` are: gated or failing {name: status, code}, other {path: bytes} served in place of a file, listed
    {path: row} in place of the true row, sha in place of the commit."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None: ...

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {self.path}")
        self.hub.agents.append(self.headers.get("User-Agent", ""))
        self.hub.tokens.add((self.headers["Host"].partition(":")[0], self.headers.get("Authorization")))
        parts = path.strip("/").split("/")
        if parts[0] == "large":
            found = {hashlib.sha256(data).hexdigest(): data for data in self.all_files()}
            self.answer(200, self.hub.faults.get("other", {}).get(parts[1], found[parts[1]]))
            return
        name = "/".join(parts[2:4] if parts[0] == "api" else parts[1:3])
        if name in self.hub.faults:
            status, code = self.hub.faults[name]
            self.answer(status, b"", {"X-Error-Code": code} if code else {})
            return
        commits = self.hub.sets.get(name)
        if commits is None:
            self.answer(401, b"", {"X-Error-Code": "RepoNotFound"})
            return
        rest = parts[4:] if parts[0] == "api" else parts[3:]
        revision = rest[1] if len(rest) > 1 else "main"
        if "convert" in path and rest:
            revision, rest = "refs/convert/parquet", [rest[0], "refs/convert/parquet", *rest[4:]]
        commit = list(commits)[-1] if revision == "main" else revision
        if commit not in commits:
            self.answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
        elif parts[0] == "api" and (not rest or rest[0] == "revision"):
            self.answer(200, json.dumps({"id": name, "sha": self.hub.faults.get("sha", commit)}).encode())
        elif parts[0] == "api":
            self.tree(commits[commit])
        else:
            self.file(commits[commit], commit, "/".join(rest[2:]))

    def all_files(self) -> Iterator[bytes]:
        for commits in self.hub.sets.values():
            for files in commits.values():
                yield from files.values()

    def tree(self, files: dict[str, bytes]) -> None:
        rows = [{"type": "directory", "path": "a folder", "oid": "0" * 40, "size": 0}]
        for path, data in files.items():
            row = {"type": "file", "path": path, "size": len(data), "oid": git_hash(data)}
            if len(data) >= LARGE:
                row["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
            rows.append(self.hub.faults.get("listed", {}).get(path, row))
        query = urlsplit(self.path).query
        half = len(rows) // 2 + 1  # two pages, as of a larger set
        if "cursor=" in query:
            self.answer(200, json.dumps(rows[half:]).encode())
        else:
            after = f'<{self.hub.address}{urlsplit(self.path).path}?{query}&cursor=x>; rel="next"'
            self.answer(200, json.dumps(rows[:half]).encode(), {"Link": after})

    def file(self, files: dict[str, bytes], commit: str, path: str) -> None:
        if path not in files:
            self.answer(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            return
        data = files[path]
        about = {"X-Repo-Commit": commit}
        if len(data) < LARGE:
            self.answer(200, self.hub.faults.get("other", {}).get(path, data), about | {"ETag": f'"{git_hash(data)}"'})
            return
        sha256 = hashlib.sha256(data).hexdigest()
        size = len(self.hub.faults.get("other", {}).get(sha256, data))
        about |= {
            "X-Linked-ETag": f'"{sha256}"',
            "X-Linked-Size": str(size),
            "Location": f"{self.hub.elsewhere}/large/{sha256}",
        }
        self.answer(302, b"", about)

    def answer(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)


def git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@pytest.fixture(scope="module")
def server() -> Iterator[Hub]:
    with pytest.MonkeyPatch.context() as patch, http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "HF_TOKEN"):
            patch.delenv(proxy, raising=False)
        web.daemon_threads = True
        Handler.hub = Hub(
            {}, [], [], set(), {}, *(f"http://{host}:{web.server_port}" for host in ("127.0.0.1", "localhost"))
        )
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield Handler.hub
        huggingface_hub.close_session()
        web.shutdown()
        thread.join(5)


@pytest.fixture
def here(server: Hub, tmp_path: Path, away: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """An empty Hub, and empty caches of ours (`away`) and of the client's."""
    for place in (server.sets, server.asked, server.agents, server.tokens, server.faults):
        place.clear()
    monkeypatch.delenv("SPARRING_DOWNLOAD_GB", raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.split("/", 3)[3]
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{server.address}/{template}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "huggingface" / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "huggingface" / "token"))
    return server


def table(images: list[bytes], labels: list[int], names: list[str]) -> bytes:
    """Images as the Hub's own library writes them: structs of bytes and path, the names of classes in the schema."""
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    rows = pa.table(
        {"image": [{"bytes": data, "path": f"{i}.png"} for i, data in enumerate(images)], "label": labels}
    ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    out = io.BytesIO()
    pq.write_table(rows, out)
    return out.getvalue()


CARD = b"""---
configs:
- config_name: plain
  data_files:
  - split: train
    path: data/train-*
  - split: test
    path: data/test-*
---
A set.
"""


def pictures(png: Png) -> dict[str, bytes]:
    """A set of five pictures of train in two shards, and two of test."""
    images = [png(i) for i in range(7)]
    return {
        ".gitattributes": b"*.parquet filter=lfs",
        "README.md": CARD,
        "data/train-00000-of-00002.parquet": table(images[:3], [0, 1, 1], ["cat", "dog"]),
        "data/train-00001-of-00002.parquet": table(images[3:5], [1, 0], ["cat", "dog"]),
        "data/test-00000-of-00001.parquet": table(images[5:], [0, 1], ["cat", "dog"]),
        "train.py": b"raise SystemExit('not to be run')",
    }


def pixels(data: bytes) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.open(io.BytesIO(data)))).permute(2, 0, 1)


def bytes_of(source: Any) -> torch.Tensor:
    x: torch.Tensor = source.take(torch.arange(len(source))).x
    return ((x + 1) * 127.5).round().to(torch.uint8)


def asked(here: Hub) -> list[str]:
    """What was asked since the last time."""
    found = here.asked.copy()
    here.asked.clear()
    return found


def test_tables_of_images_are_read_with_their_classes_and_both_splits(
    here: Hub, png: Png, capfd: pytest.CaptureFixture[str]
) -> None:
    here.put("someone/pets", pictures(png))
    data = Data(source=hub.pin("hf:someone/pets"))
    assert data.source == f"hf:someone/pets@{NEW}"
    source = data.load()
    assert torch.equal(bytes_of(source), torch.stack([pixels(png(i)) for i in range(5)]))
    y = source.take(torch.arange(5)).y
    assert y is not None
    assert y.tolist() == [0, 1, 1, 1, 0]
    assert (source.spec.name, source.spec.class_names) == ("pets", ("cat", "dog"))
    assert (source.report["source"], source.report["split"]) == (data.source, "train")
    held = data.load_held_out()
    assert held is not None
    assert torch.equal(bytes_of(held), torch.stack([pixels(png(i)) for i in (5, 6)]))
    assert held.report["split"] == "test"
    said = capfd.readouterr().err
    sizes = [len(data) for path, data in pictures(png).items() if "/train" in path]
    assert f"hf:someone/pets@{NEW}: 2 files, {sum(sizes) / 1e3:.1f} kB, go into {constants.HF_HUB_CACHE}\n" in said
    assert not any("train.py" in path for path in asked(here))  # nothing but data and the card is fetched


def test_what_is_here_needs_no_network(here: Hub, png: Png, monkeypatch: pytest.MonkeyPatch) -> None:
    here.put("someone/pets", pictures(png))
    first = Data(source="hf:someone/pets").load()
    asked(here)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # not even the client
    again = Data(source=f"hf:someone/pets@{NEW}").load()
    assert again.spec.sha256 == first.spec.sha256
    assert Data(source=f"hf:someone/pets@{NEW}")._has_test_split()
    assert asked(here) == []


def test_a_revision_is_asked_for_each_time_and_known_when_the_hub_is_gone(
    here: Hub, png: Png, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = pictures(png)
    here.put("someone/pets", files, OLD)
    Data(source="hf:someone/pets").load()
    here.put("someone/pets", {"train.csv": b"a,b\n1,2\n"}, NEW)
    assert hub.pin("hf:someone/pets") == f"hf:someone/pets@{NEW}"
    assert hub.pin(f"hf:someone/pets@{OLD}:x") == f"hf:someone/pets@{OLD}:x"
    here.faults["someone/pets"] = (503, "")
    assert hub.pin("hf:someone/pets") == f"hf:someone/pets@{NEW}"
    assert len(Data(source=f"hf:someone/pets@{OLD}").load()) == 5  # still here
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(RequestError, match=r"hf:someone/pets: the Hub was not reached.*with HF_HUB_OFFLINE unset"):
        hub.fetch("hf:someone/pets", "train")  # known, but its files are not here
    with pytest.raises(RequestError, match="hf:someone/other: the Hub was not reached"):
        hub.pin("hf:someone/other")


def test_what_was_last_asked_for_serves_with_a_note(here: Hub, png: Png, monkeypatch: pytest.MonkeyPatch) -> None:
    here.put("someone/pets", pictures(png))
    Data(source="hf:someone/pets").load()
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    source = Data(source="hf:someone/pets").load()
    assert source.report["notes"][0].startswith(f"the Hub was not reached; took commit {NEW[:12]}")


def test_folders_of_images_keep_their_classes(here: Hub, png: Png) -> None:
    names = ["train/cat/1.png", "train/cat/2.png", "train/dog/1.png", "test/cat/1.png", "test/dog/9.png"]
    here.put("someone/folders", {name: png(i) for i, name in enumerate(names)} | {"README.md": b"no head"})
    source = Data(source="hf:someone/folders").load()
    assert source.spec.class_names == ("cat", "dog")
    assert torch.equal(bytes_of(source), torch.stack([pixels(png(i)) for i in range(3)]))
    held = Data(source="hf:someone/folders").load_held_out()
    assert held is not None
    assert torch.equal(bytes_of(held), torch.stack([pixels(png(i)) for i in (3, 4)]))
    assert not [line for line in asked(here) if "HEAD" in line and "test" in line and "train" in line]


def test_shards_have_the_names_of_the_card_or_those_beside_them(here: Hub, png: Png) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for i in range(4):
            for suffix, data in (("png", png(i)), ("cls", b"%d" % (i % 2))):
                member = tarfile.TarInfo(f"{i:04d}.{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    features = "features:\n  - name: label\n    dtype: {class_label: {names: {'0': sun, '1': moon}}}"
    card = f"---\ndataset_info:\n  {features}\n---\n".encode()
    here.put("someone/shards", {"README.md": card, "train-0000.tar": out.getvalue()}, OLD)
    assert Data(source="hf:someone/shards").load().spec.class_names == ("sun", "moon")
    beside = {"README.md": card, "train-0000.tar": out.getvalue(), "classnames.txt": b"salt\npepper\n"}
    here.put("someone/shards", beside, NEW)
    assert Data(source="hf:someone/shards").load().spec.class_names == ("salt", "pepper")
    assert Data(source="hf:someone/shards").load_held_out() is None


def test_one_file_is_found_as_what_it_is(here: Hub) -> None:
    here.put("someone/lines", {"train.txt": b"one\ntwo\n", "sub/test.txt": b"three\n", "LICENSE.txt": b"x"})
    found = hub.fetch("hf:someone/lines", "train")
    assert (found.path.suffix, found.path.read_bytes(), found.name) == (".txt", b"one\ntwo\n", "lines")
    assert hub.fetch("hf:someone/lines", "test").path.read_bytes() == b"three\n"
    assert hub.fetch("hf:someone/lines:sub/*.txt", "train").path.read_bytes() == b"three\n"
    assert hub.has_split("hf:someone/lines", "test")
    assert not hub.has_split("hf:someone/lines:sub/*.txt", "test")


def test_other_revisions_are_found_too(here: Hub) -> None:
    here.put("someone/script", {"script.py": b"raise SystemExit"})
    with pytest.raises(RequestError, match="made by a Python script, which is not run"):
        hub.fetch("hf:someone/script", "train")
    files = {"plain/train/0000.txt": b"converted\n"}
    here.sets["someone/script"] = {"refs/convert/parquet": files, OLD: files}
    here.faults["sha"] = OLD
    assert hub.fetch("hf:someone/script@refs/convert/parquet", "train").path.read_bytes() == b"converted\n"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ((403, "GatedRepo"), "hf:someone/x: is gated; accept its terms .* log in with `hf auth login` or set HF_TOKEN"),
        ((401, "RepoNotFound"), "the Hub has no set of data of this name, or it is private; check OWNER/NAME"),
        ((404, "RevisionNotFound"), "the set has no revision 'main'"),
        ((451, ""), "the Hub refuses with status 451"),
        ((500, ""), "the Hub answers with status 500; try again later"),
        ((429, ""), "the Hub answers with status 429; try again later"),
    ],
)
def test_what_the_hub_refuses_is_said_in_a_line(here: Hub, fault: tuple[int, str], said: str) -> None:
    here.faults["someone/x"] = fault
    for ask in (hub.pin, lambda source: hub.fetch(source, "train")):
        with pytest.raises(RequestError, match=said) as error:
            ask("hf:someone/x")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "source",
    [
        "hf:",
        "hf:mnist",
        "hf:a/b/c",
        "hf:a/b@",
        "hf:a/b:",
        "hf:../b",
        "hf:a/..",
        "hf:a/b@../../x",
        "hf:a b/c",
        "hf:a/b\n",
    ],
)
def test_other_names_are_refused(source: str) -> None:
    with pytest.raises(RequestError, match=r"expected hf:OWNER/NAME\[@REVISION\]\[:SUBSET\]") as error:
        hub.parse(source)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("source", ["hf:a/b", "hf:a/b@main", "hf:a/b:x", "hf:a-1/b_2.3@refs/pr/1:data/*.parquet"])
def test_a_name_is_read_as_it_is_written(source: str) -> None:
    assert str(hub.parse(source)) == source


@pytest.mark.parametrize("links", [True, False])
def test_other_bytes_than_the_hub_names_are_not_used(here: Hub, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_SYMLINKS", not links)
    large, small = b"large " * 100, b"small"
    files = {"a/train-1.txt": large, "b/train-2.txt": small}
    sha256 = hashlib.sha256(large).hexdigest()
    for name, other in (("someone/x", {sha256: large[::-1]}), ("someone/y", {"b/train-2.txt": small[::-1]})):
        here.put(name, files)
        here.faults["other"] = other
        with pytest.raises(RequestError, match=r"has hash [0-9a-f]{12}, where the Hub says .* removed, ask again"):
            hub.fetch(f"hf:{name}", "train")
        assert not list(cache_folder().glob("hub/*/*/train-*"))
    here.faults.clear()
    for name in ("someone/x", "someone/y"):
        found = sorted(hub.fetch(f"hf:{name}", "train").path.iterdir())
        read = [(file.name, file.read_bytes()) for file in found]
        assert read == [("00000_train-1.txt", large), ("00001_train-2.txt", small)]


def test_a_file_that_is_longer_than_listed_is_given_up(here: Hub) -> None:
    data = b"x" * 1000
    here.put("someone/x", {"train.txt": data})
    here.faults["other"] = {hashlib.sha256(data).hexdigest(): data * 100}
    with pytest.raises(RequestError, match=r"hf:someone/x: train.txt is longer than the 1000 bytes listed"):
        hub.fetch("hf:someone/x", "train")


def test_a_file_of_another_tool_s_in_the_client_s_cache_is_checked(here: Hub) -> None:
    here.put("someone/x", {"train.txt": b"right"})
    where = {"repo_type": "dataset", "endpoint": constants.ENDPOINT, "cache_dir": constants.HF_HUB_CACHE}
    path = Path(huggingface_hub.hf_hub_download("someone/x", "train.txt", revision=NEW, **where))  # type: ignore[arg-type]
    path.resolve().write_bytes(b"wrong")
    with pytest.raises(RequestError, match="removed, ask again"):
        hub.fetch("hf:someone/x", "train")
    assert hub.fetch("hf:someone/x", "train").path.read_bytes() == b"right"


def test_a_split_whose_files_are_gone_or_cut_is_brought_again(here: Hub) -> None:
    here.put("someone/x", {"train.txt": b"right"})
    path = hub.fetch("hf:someone/x", "train").path
    path.resolve().unlink()
    assert hub.fetch(f"hf:someone/x@{NEW}", "train").path.read_bytes() == b"right"
    path.resolve().write_bytes(b"cut")
    with pytest.raises(RequestError, match="removed, ask again"):
        hub.fetch("hf:someone/x", "train")
    assert hub.fetch("hf:someone/x", "train").path.read_bytes() == b"right"


def test_large_sets_are_asked_about_before_they_are_brought(here: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    here.put("someone/x", {"train.txt": b"x" * 3000})
    monkeypatch.setenv("SPARRING_DOWNLOAD_GB", "2e-6")
    with pytest.raises(RequestError, match=r"3.0 kB are to be downloaded, more than 2e-06 GB; set SPARRING_DOWN"):
        hub.fetch("hf:someone/x", "train")
    monkeypatch.setenv("SPARRING_DOWNLOAD_GB", "lots")
    with pytest.raises(RequestError, match="SPARRING_DOWNLOAD_GB 'lots': expected a number of gigabytes"):
        hub.fetch("hf:someone/x", "train")
    monkeypatch.setenv("SPARRING_DOWNLOAD_GB", "1e18")
    row = {"type": "file", "path": "train.txt", "size": 10**18, "oid": "0" * 40}
    here.put("someone/y", {"train.txt": b"x"})
    here.faults["listed"] = {"train.txt": row}
    with pytest.raises(RequestError, match=r"has .* free; make room, or set HF_HOME"):
        hub.fetch("hf:someone/y", "train")
    assert not any("resolve" in line for line in asked(here))
    here.faults.clear()
    monkeypatch.setenv("SPARRING_DOWNLOAD_GB", "4e-6")
    assert hub.fetch("hf:someone/x", "train").path.stat().st_size == 3000


@pytest.mark.parametrize(
    "row",
    [
        {"path": "../../train.txt", "size": 5, "oid": "0" * 40},
        {"path": "/etc/train.txt", "size": 5, "oid": "0" * 40},
        {"path": "a\\..\\train.txt", "size": 5, "oid": "0" * 40},
        {"path": "train.txt", "size": -5, "oid": "0" * 40},
        {"path": "train.txt", "size": "5", "oid": "0" * 40},
        {"path": "train.txt", "size": 5, "oid": "../" * 10},
    ],
)
def test_a_listing_that_no_hub_gives_is_refused(here: Hub, row: dict[str, Any]) -> None:
    here.put("someone/x", {"train.txt": b"right"})
    here.faults["listed"] = {"train.txt": {"type": "file"} | row}
    with pytest.raises(RequestError, match="which is none"):
        hub.fetch("hf:someone/x", "train")
    here.faults["sha"] = "../../../escaped"
    with pytest.raises(RequestError, match=r"the Hub names no commit of it, only '../../../escaped'"):
        hub.pin("hf:someone/x")


def test_more_files_than_can_be_meant_are_refused(here: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "MOST_FILES", 3)
    here.put("someone/x", {f"{i}.txt": b"x" for i in range(4)})
    with pytest.raises(RequestError, match=r"more than 3 files; expected shards: try hf:someone/x@refs/convert"):
        hub.fetch("hf:someone/x", "train")


def test_a_damaged_listing_in_the_cache_is_fetched_again(here: Hub) -> None:
    here.put("someone/x", {"train.txt": b"right"})
    hub.fetch("hf:someone/x", "train")
    kept = cache_folder() / "hub" / "someone--x" / f"{NEW}.json"
    damaged = kept.read_text().replace("train.txt", "other.txt")
    for text in (damaged, json.dumps({"files": [["other.txt", 5, "0" * 40]], "card": {}}), "{}", ""):
        kept.write_text(text)
        assert hub.fetch(f"hf:someone/x@{NEW}", "train").path.read_bytes() == b"right"


def test_a_token_goes_to_the_hub_alone(here: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    here.put("someone/x", {"train.txt": b"x" * 3000})
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.fetch("hf:someone/x", "train")
    assert here.tokens == {("127.0.0.1", "Bearer hf_secret"), ("localhost", None)}
    assert not [path for path in cache_folder().rglob("*") if path.is_file() and b"secret" in path.read_bytes()]


def test_the_address_is_a_safe_one(here: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://open.example")
    with pytest.raises(RequestError, match=r"HF_ENDPOINT http://open.example: expected an address that begins"):
        hub.pin("hf:someone/x")
    assert asked(here) == []


def test_without_the_client_it_is_said_what_to_install(away: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(RequestError, match=r"pip install 'sparring\[hub\]'"):
        hub.pin("hf:someone/x")


def test_the_command_reads_a_set_of_the_hub_and_does_nothing_else(here: Hub, png: Png, tmp_path: Path) -> None:
    """Under the hook that forbids to unpickle, to run what is read, and to write elsewhere; the Hub is on loopback."""
    here.put("someone/pets", pictures(png))
    folder = tmp_path / "watched"
    # Without links of its own, whose relative targets the hook would take for others.
    home = {"HF_ENDPOINT": here.address, "HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_SYMLINKS": "1"}
    command = [sys.executable, str(WATCHED), str(folder), "data", "hf:someone/pets", "--split", "test"]
    folder.mkdir()
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | home)
    assert done.returncode == 0, done.stderr
    assert "2 (cat: 1, dog: 1)" in done.stdout
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["codes"] == [0]
    assert [text for text in said["found"] if not text.startswith("socket.")] == []
    allowed = ("/api/datasets/someone/pets", "/datasets/someone/pets/resolve/", "/large/")
    assert all(line.split()[1].startswith(allowed) for line in asked(here))
    assert here.agents
    assert not any("torch" in agent for agent in here.agents)
