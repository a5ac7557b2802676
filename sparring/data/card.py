"""Which files of a repository of data make a split: those that its card names, else those whose names say so.

The rules are those of the Hugging Face Hub's documentation: "Manual Configuration" for the YAML at the head of
README.md, "File names and splits" for the rest. A card comes from a stranger: what in it has not the form that is
expected counts as not said.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from sparring.core.errors import RequestError, nearest
from sparring.data.limits import printable
from sparring.data.listing import IMAGE_SUFFIXES
from sparring.data.parquet import LABELS

MOST_CARD = 2**20
"""Characters of a card's YAML beyond which it is not read."""
KINDS: tuple[tuple[str, ...], ...] = (
    (".parquet",),
    (".tar",),
    tuple(sorted(IMAGE_SUFFIXES)),
    (".zip", ".tar.gz", ".tgz", ".tar.xz"),
    (".npz", ".npy"),
    (".csv", ".tsv"),
    (".txt",),
)
"""Suffixes of files of one kind. Where a repository holds several kinds, the first one is the data."""
IMAGES = KINDS[2]
_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_NO_DATA = re.compile(r"(readme|licen[cs]e|notice|requirements|citation|changelog)\b", re.IGNORECASE)
_SHARD = re.compile(r"(.+)-\d{5}-of-\d{5}\.")
_MOST_NAMED = 10


class Chosen(NamedTuple):
    """The files of one split."""

    files: list[str]
    """Paths in the repository, sorted: of one kind, one of `KINDS`."""
    is_images: bool
    """Whether each file is an image, and its folder its class."""
    class_names: tuple[str, ...]
    """Those that the card says; () where it says none."""
    note: str
    """What was chosen that was not asked for by that name; '' where nothing was."""


def head(readme: str) -> dict[str, Any]:
    """The YAML between two lines `---` at the head of a README.md; {} where there is none, or none that can be read."""
    found = re.match(r"---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|$)", readme[:MOST_CARD], re.DOTALL)
    if found is None:
        return {}
    import yaml  # only here: it comes with the Hub's client

    try:
        said = yaml.load(found[1], Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError):  # dates that are none are a ValueError
        return {}
    return said if isinstance(said, dict) else {}


def choose(paths: Sequence[str], card: dict[str, Any], part: str, split: str, where: str) -> Chosen:
    """The files of a split, "train" or "test". `part` is a subset that the card names, a folder, or a pattern of files,
    which are one split, "train"; '' is the subset that the card says to be the default, or all.

    The validation split serves as test where there is no other; a single split of another name is "train".
    Raises `RequestError` for a part or split that is not there, and where nothing is that can be read.
    """
    sound = sorted(path for path in paths if _is_plain(path))
    subsets = _subsets(card)
    name, found = _part(sound, subsets, part, where)
    canonical = {_canonical(said): files for said, files in found.items()}
    taken, note = split, ""
    if split not in canonical:
        others = sorted(canonical.keys() - {"train", "test", "validation"})
        if split == "test" and "validation" in canonical:
            taken, note = "validation", "no split 'test': the split 'validation' serves as it"
        elif split == "train" and len(others) == 1:
            taken, note = others[0], f"no split 'train': took the split {printable(others[0])!r}"
        else:
            raise RequestError(
                f"{where}: has no split {split!r}, only {_few(sorted(canonical))}; other files can be named by a "
                "pattern, as in hf:OWNER/NAME:data/part-*.parquet"
            )
    files = canonical[taken]
    is_images = files[0].lower().endswith(IMAGES)
    return Chosen(files, is_images, _class_names(card, name), note)


def splits(paths: Sequence[str], card: dict[str, Any], part: str, where: str) -> set[str]:
    """Which of "train" and "test" `choose` finds."""
    found = set[str]()
    for split in ("train", "test"):
        try:
            choose(paths, card, part, split, where)
        except RequestError:
            continue
        found.add(split)
    return found


def _part(
    paths: Sequence[str], subsets: dict[str, dict[str, Any]], part: str, where: str
) -> tuple[str, dict[str, list[str]]]:
    """The name of the subset that is meant, and its files by split."""
    if part and part not in subsets:
        inside = [path for path in paths if path.startswith(part.rstrip("/") + "/")]
        if inside:
            return part, _by_name(inside, where)
        fitting = _of_one_kind([path for path in paths if fits(path, part)])
        if fitting:
            return "", {"train": fitting}
        choices = subsets or {path.partition("/")[0]: {} for path in paths if "/" in path}
        hint = nearest(part, map(printable, list(choices)[:1000])) if choices else "it has one only: leave :NAME out"
        raise RequestError(f"{where}: has neither a subset nor files called '{printable(part)}'; {hint}")
    if not subsets:
        tops = _tops(paths)
        if len(tops) > 1:
            raise RequestError(
                f"{where}: has several subsets, {_few(tops)}; name one, as in hf:OWNER/NAME:{_few(tops[:1])}"
            )
        return "", _by_name(paths, where)
    default = [name for name, said in subsets.items() if said.get("default") is True or name == "default"]
    if not part and not default and len(subsets) > 1:
        names = list(subsets)
        raise RequestError(
            f"{where}: has several subsets, {_few(names)}; name one, as in hf:OWNER/NAME:{_few(names[:1])}"
        )
    name = part or (default[0] if default else next(iter(subsets)))
    said = subsets[name]
    folder = said["data_dir"].strip("/") + "/" if isinstance(said.get("data_dir"), str) else ""
    patterns = _patterns(said.get("data_files"))
    if not patterns:
        return name, _by_name([path for path in paths if path.startswith(folder)], where)
    found = {
        split: _of_one_kind([path for path in paths if any(fits(path, folder + each) for each in _whole(asked))])
        for split, asked in patterns.items()
    }
    found = {split: files for split, files in found.items() if files}
    if not found:
        raise _nothing(paths, where)
    return name, found


def fits(path: str, pattern: str) -> bool:
    """Whether a pattern leads to a file: `*` stands for part of a name, `**` for any folders.

    >>> fits("data/train-0.parquet", "data/train-*"), fits("data/a/0.png", "data/*"), fits("data/a/0.png", "data/**")
    (True, False, True)
    """
    names = path.split("/")
    reached = {0}  # how many of the names are used up
    for each in pattern.removeprefix("./").strip("/").split("/"):
        if each == "**":
            reached = set(range(min(reached), len(names) + 1))
        else:
            reached = {at + 1 for at in reached if at < len(names) and fnmatchcase(names[at], each)}
        if not reached:
            return False
    return len(names) in reached


def _whole(patterns: Sequence[str]) -> list[str]:
    """A pattern without signs may be the name of a folder: all that is in it is meant."""
    return [each for asked in patterns for each in (asked, *([] if "*" in asked else [f"{asked.rstrip('/')}/**"]))]


def _is_plain(path: str) -> bool:
    names = path.split("/")
    return not any(name.startswith((".", "__MACOSX")) for name in names) and not _NO_DATA.match(names[-1])


def _subsets(card: dict[str, Any]) -> dict[str, dict[str, Any]]:
    said = card.get("configs")
    rows = [row for row in said if isinstance(row, dict)] if isinstance(said, list) else []
    return {row["config_name"]: row for row in rows if isinstance(row.get("config_name"), str)}


def _patterns(said: Any) -> dict[str, list[str]]:
    """`data_files` of a card, which is written in several ways: patterns by split."""
    if isinstance(said, str):
        said = [said]
    if isinstance(said, list) and said and all(isinstance(each, str) for each in said):
        return {"train": said}
    found: dict[str, list[str]] = {}
    for row in said if isinstance(said, list) else []:
        split, path = (row.get("split"), row.get("path")) if isinstance(row, dict) else (None, None)
        asked = [path] if isinstance(path, str) else path
        if isinstance(split, str) and isinstance(asked, list) and all(isinstance(each, str) for each in asked):
            found.setdefault(split, []).extend(asked)
    return found


def _by_name(paths: Sequence[str], where: str) -> dict[str, list[str]]:
    """Files by split, as the names of shards say it, else of folders, else, if they are no images, of the files."""
    files = _of_one_kind(paths)
    if not files:
        raise _nothing(paths, where)
    shards = [_SHARD.match(path.rpartition("/")[2]) for path in files]
    said = [shard[1] if shard else "" for shard in shards]
    if not all(said):
        said = [_word(path.split("/")[:-1]) for path in files]
    if not any(said) and not files[0].lower().endswith(IMAGES):
        said = [_word(path.split("/")[-1:]) for path in files]
    if not any(said):
        return {"train": files}
    found: dict[str, list[str]] = {}
    for path, split in zip(files, said, strict=True):
        if split:
            found.setdefault(_canonical(split), []).append(path)
    return found


def _tops(paths: Sequence[str]) -> list[str]:
    """The folders of several subsets: more than one, each of which holds the folders of its splits and nothing else."""
    files = _of_one_kind(paths)
    tops = sorted({path.split("/")[0] for path in files})
    each_has = all(len(path.split("/")) > 2 and _word(path.split("/")[1:-1]) for path in files)
    is_images = bool(files) and files[0].lower().endswith(IMAGES)
    return tops if each_has and not is_images and not any(map(_word, ([top] for top in tops))) else []


def _of_one_kind(paths: Sequence[str]) -> list[str]:
    for suffixes in KINDS:
        found = sorted(path for path in paths if path.lower().endswith(suffixes))
        if found:
            return found
    return []


def _word(names: Sequence[str]) -> str:
    """The split that the first of some names tells which tells one: its word stands alone between other signs."""
    for name in names:
        for split, words in _WORDS.items():
            if any(re.search(rf"(?<![a-z]){word}(?![a-z])", name.lower()) for word in words):
                return split
    return ""


def _canonical(split: str) -> str:
    return next((name for name, words in _WORDS.items() if split.lower() in words), split)


def _class_names(card: dict[str, Any], subset: str) -> tuple[str, ...]:
    """The names of the classes in `dataset_info`, where a column that is called as a label is a `class_label`."""
    said = card.get("dataset_info")
    rows = [row for row in (said if isinstance(said, list) else [said]) if isinstance(row, dict)]
    row = next((row for row in rows if row.get("config_name", subset) == subset), rows[0] if len(rows) == 1 else {})
    features = row.get("features")
    for feature in features if isinstance(features, list) else []:
        if isinstance(feature, dict) and feature.get("name") in LABELS and isinstance(feature.get("dtype"), dict):
            label = feature["dtype"].get("class_label")
            names = label.get("names") if isinstance(label, dict) else None
            if isinstance(names, dict) and all(str(i) in map(str, names) for i in range(len(names))):
                names = [value for _, value in sorted((int(key), value) for key, value in names.items())]
            if isinstance(names, list) and names and all(isinstance(name, str | int) for name in names):
                return tuple(printable(str(name)) for name in names)
    return ()


def _nothing(paths: Sequence[str], where: str) -> RequestError:
    if any(path.endswith(".py") for path in paths):
        return RequestError(
            f"{where}: its data are made by a Python script, which is not run; the Hub keeps a copy of many such sets "
            "as Parquet: hf:OWNER/NAME@refs/convert/parquet"
        )
    found = sorted({"." + path.rpartition(".")[2] for path in paths if "." in path.rpartition("/")[2]})
    kinds = ".parquet, .tar, images, .zip, .npz, .csv or .txt"
    return RequestError(f"{where}: holds nothing that is read, only {_few(found) or 'no files'}; expected {kinds}")


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name)[:60] for name in names[:_MOST_NAMED])
    return shown + (f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else "")
