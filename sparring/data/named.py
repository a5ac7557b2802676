"""Sets that go by a name: `digits` comes with scikit-learn, toys are drawn; the others are found, or downloaded and
checked.

They are looked for under `$SPARRING_DATA/<name>/`, then in the cache (`$SPARRING_CACHE`, else the user's cache folder),
and only then downloaded. Bytes that do not match the published hash are never used.

- gaussian1d, grid25, moons, ring8, spirals, swiss_roll: see `sparring.data.toys`.
- digits: E. Alpaydin and C. Kaynak, "Optical recognition of handwritten digits", UCI, 1998; 8×8.
- mnist: Y. LeCun, C. Cortes and C. Burges, "The MNIST database of handwritten digits"; 28×28.
- fashion-mnist: H. Xiao, K. Rasul and R. Vollgraf, arXiv:1708.07747; 28×28.
- cifar10: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009; 32×32 RGB.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from sparring.core.download import fetch
from sparring.core.errors import RequestError, nearest
from sparring.core.files import cache_folder, user_path, write_atomically
from sparring.data.idx import read_idx
from sparring.data.limits import printable
from sparring.data.tensors import Resident, from_arrays
from sparring.data.toys import TOYS, load_toy

NAMES = ("cifar10", "digits", "fashion-mnist", "mnist", *TOYS)


class Remote(NamedTuple):
    """One published file, its SHA-256 and its bytes. `content_sha256` is of the bytes inside the gzip, where known: it
    survives recompression."""

    file: str
    sha256: str
    size: int
    content_sha256: str = ""


class IdxSet(NamedTuple):
    """A set of four IDX files: where it is published, and its files by split as (images, labels)."""

    name: str
    url: str
    files: dict[str, tuple[Remote, Remote]]
    class_names: tuple[str, ...]


# The hashes are of the files that the sets' own pages publish, whose MD5 sums stand there.
MNIST = IdxSet(
    name="mnist",
    url="https://ossci-datasets.s3.amazonaws.com/mnist/",
    files={
        "train": (
            Remote(
                "train-images-idx3-ubyte.gz",
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                9_912_422,
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            Remote(
                "train-labels-idx1-ubyte.gz",
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                28_881,
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            ),
        ),
        "test": (
            Remote(
                "t10k-images-idx3-ubyte.gz",
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                1_648_877,
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            Remote(
                "t10k-labels-idx1-ubyte.gz",
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                4_542,
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        ),
    },
    class_names=tuple("0123456789"),
)
FASHION_MNIST = IdxSet(
    name="fashion-mnist",
    url="https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    files={
        "train": (
            Remote(
                "train-images-idx3-ubyte.gz",
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                26_421_880,
            ),
            Remote(
                "train-labels-idx1-ubyte.gz",
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                29_515,
            ),
        ),
        "test": (
            Remote(
                "t10k-images-idx3-ubyte.gz",
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                4_422_102,
            ),
            Remote(
                "t10k-labels-idx1-ubyte.gz",
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                5_148,
            ),
        ),
    },
    class_names=("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/"
CIFAR10 = Remote(
    "cifar-10-binary.tar.gz", "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd", 170_052_171
)
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def load_named(name: str, split: str = "train") -> Resident:
    """A known set by name. Raises `RequestError` for an unknown name, bytes that do not match their hash, and a set
    that is neither here nor within reach."""
    if name not in NAMES:
        raise RequestError(f"no set is named {name!r}; {nearest(name, NAMES)}")
    if name == "digits":
        source = load_digits(split)
    elif name == "cifar10":
        source = load_cifar10(split)
    elif name in TOYS:
        source = load_toy(name, split)
    else:
        source = load_idx_set(MNIST if name == "mnist" else FASHION_MNIST, split)
    source.report.update(source=name, split=split)
    return source


def load_digits(split: str) -> Resident:
    """scikit-learn's 1,797 digits of 8×8 pixels, their 17 levels 0..16 spread over 0..255.

    They come in one piece; here a fixed permutation (seed 0) keeps 1,500 for train and 297 for test, each in the
    original order.
    """
    from sklearn.datasets import load_digits as embedded

    digits = embedded()
    order = np.random.RandomState(0).permutation(len(digits.images))  # this generator's stream never changes
    chosen = np.sort(order[:1500] if split == "train" else order[1500:])
    images = np.rint(digits.images[chosen] * (255 / 16)).astype(np.uint8)
    source = from_arrays(images, digits.target[chosen], name="digits", class_names=tuple("0123456789"))
    source.report["kind"] = "embedded set"
    return source


def load_idx_set(published: IdxSet, split: str) -> Resident:
    """One split of a published set of IDX files."""
    images, labels = published.files[split]
    # Both files come from one place. Where the content's hash is known, a file unpacked by hand will do as well.
    folder = next((f for f in _places(published.name) if all(_find(f, r) for r in (images, labels))), None)
    arrays = []
    for remote in (images, labels):
        path = _find(folder, remote) if folder else None
        path = path or _download(published.name, published.url, remote)
        if not remote.content_sha256:
            _check_hash(path, remote.sha256)
        arrays.append(read_idx(path, sha256=remote.content_sha256))
    source = from_arrays(arrays[0], arrays[1], name=published.name, class_names=published.class_names)
    source.report["kind"] = "known set (IDX)"
    return source


def load_cifar10(split: str) -> Resident:
    """CIFAR-10 from the official binary archive, or from `cifar10-<split>.tar.xz`, class folders of JPEG files."""
    for folder in _places("cifar10"):
        if (binary := folder / CIFAR10.file).is_file():
            return _read_binary_cifar(binary, split)
        if (lossy := folder / f"cifar10-{split}.tar.xz").is_file():
            return _decoded_once(lossy)
    return _read_binary_cifar(_download("cifar10", CIFAR10_URL, CIFAR10), split)


def _places(name: str) -> list[Path]:
    """Folders to look in, in order."""
    own = os.environ.get("SPARRING_DATA")
    return ([user_path(own) / name] if own else []) + [cache_folder() / name]


def _find(folder: Path, remote: Remote) -> Path | None:
    names = [remote.file] + ([remote.file.removesuffix(".gz")] if remote.content_sha256 else [])
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _check_hash(path: Path, sha256: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise RequestError(
            f"{printable(str(path))}: has SHA-256 {found}, expected {sha256}; delete it and fetch the published file "
            "again"
        )


def _download(name: str, url: str, remote: Remote) -> Path:
    """The file in the cache, fetched and checked. Raises `RequestError` saying what to fetch by hand and where to."""
    folder = cache_folder() / name
    path = folder / remote.file
    try:
        if not path.exists():
            fetch(url + remote.file, remote.sha256, remote.size, path)
        return path
    except (OSError, ValueError) as error:
        looked = " and ".join(str(place) for place in _places(name))
        raise RequestError(
            f"{name}: {remote.file} is not in {looked}, and {url}{remote.file} gave {type(error).__name__}; download "
            f"it (SHA-256 {remote.sha256}) into {folder}, or set SPARRING_DATA to the folder that has {name}/"
        ) from None


_RECORD = 1 + 3 * 32 * 32  # a label byte, then the red, green and blue planes


def _read_binary_cifar(path: Path, split: str) -> Resident:
    _check_hash(path, CIFAR10.sha256)
    source = read_cifar_records(path, split)
    source.report["kind"] = "known set (binary records)"
    return source


def read_cifar_records(path: Path, split: str) -> Resident:
    """The records of the official archive: train is `data_batch_1.bin` to `_5.bin`, test is `test_batch.bin`."""
    wanted = [f"data_batch_{i}.bin" for i in range(1, 6)] if split == "train" else ["test_batch.bin"]
    batches: dict[str, NDArray[np.uint8]] = {}
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            name = member.name.rpartition("/")[2]
            if name in wanted and member.isreg():
                data = cast(IO[bytes], archive.extractfile(member)).read()
                batches[name] = np.frombuffer(data, np.uint8).reshape(-1, _RECORD)
    records = np.concatenate([batches[name] for name in wanted])
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return from_arrays(images, records[:, 0], name="cifar10", class_names=CIFAR10_CLASSES)


def _decoded_once(path: Path) -> Resident:
    """An archive of JPEG files; what decoding it gave is kept in the cache under the archive's SHA-256."""
    with path.open("rb") as file:
        key = hashlib.file_digest(file, "sha256").hexdigest()
    kept = cache_folder() / "decoded" / f"{key}.npz"
    source = _read_kept(kept)
    if source is None:
        from sparring.data.images import load_images

        source = load_images(path)
        source.spec = source.spec.replace(name="cifar10")
        source.report["kind"] = "known set (JPEG files)"
        source.report["notes"].append(
            "JPEG copies are lossy: good for training and comparison, but scores are not comparable with published ones"
        )
        _keep(source, kept)
    return source


def _keep(source: Resident, path: Path) -> None:
    """Writes arrays and report in one atomic step; where the cache cannot be written, the set is decoded each time."""
    labels = source.labels.numpy() if source.labels is not None else np.zeros(0, np.int64)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        np.savez(content, images=source.numpy(), labels=labels, report=np.array(json.dumps(source.report)))
        write_atomically(path, content.getvalue())
    except OSError as error:
        source.report["notes"].append(f"the decoded set could not be kept in {path.parent} ({error.strerror})")


def _read_kept(path: Path) -> Resident | None:
    """What `_keep` wrote, or None if it is not there or not intact: the samples must have the hash they had."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            report: dict[str, Any] = json.loads(str(kept["report"]))
            source = from_arrays(kept["images"], kept["labels"], name="cifar10", class_names=tuple(report["classes"]))
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error, gzip.BadGzipFile):
        return None
    if source.spec.sha256 != report.get("sha256"):
        return None
    source.report = report
    return source
