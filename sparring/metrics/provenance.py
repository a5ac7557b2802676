"""What a score was made of, and when two scores may be compared: their provenance, side by side.

A distance means something only beside its features, its reference, and the number of samples, on which a Fréchet
distance depends (Chong and Forsyth 2020, arXiv:1911.07023); the rest moves it less, but moves it (Parmar, Zhang and
Zhu 2022, arXiv:2104.11222). The seed is no difference, as a score is meant to hold for any; nor is the range of
values, which is found and not chosen.
"""

from __future__ import annotations

from typing import Any

_UNKNOWN = "unknown"
_REMARK = "remark: "


def differences(a: dict[str, Any], b: dict[str, Any]) -> tuple[str, ...]:
    """What differs between the provenance of two scores (`Score.provenance`), each in a few words, a's before b's.

    What only one of them says is unknown of the other and counts as a difference; what neither says does not. Sets
    of held-out samples are compared where both have one. The program's version comes last, marked as a remark: alone
    it does not keep two scores apart.

    >>> differences({"num_samples": 5000, "weights": "ema"}, {"num_samples": 10000, "weights": "ema"})
    ('5,000 / 10,000 samples: fid falls with more of them',)
    """
    found = [
        _features(a, b),
        _plain("resize", "resize", a, b),
        *_sources("reference", a.get("reference"), b.get("reference")),
        _samples(a, b),
        _kept(a, b),
        *(_sources("held out", a["held_out"], b["held_out"]) if a.get("held_out") and b.get("held_out") else ()),
        _plain("weights", "weights", a, b),
        _plain("arithmetic", "arithmetic", a, b),
        _plain("levels of a stored value", "levels", a, b),
        _plain("covariances divide by N less", "ddof", a, b),
        _plain(f"{_REMARK}sparring", "sparring", a, b),
    ]
    return tuple(text for text in found if text)


def comparable(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether two scores may share an axis and a ranking: nothing differs that is more than a remark."""
    return all(text.startswith(_REMARK) for text in differences(a, b))


def provenance_text(where: dict[str, Any]) -> str:
    """What a score was made of, in one line; what an older row does not say is unknown.

    >>> mnist = {"name": "mnist", "split": "train", "count": 60000}
    >>> provenance_text({"num_samples": 5000, "reference": mnist, "features": "digits28"})
    '5000 samples against 60000 of mnist (train), digits28 features'
    """
    reference = where.get("reference") or {}
    number, count, name = where.get("num_samples"), reference.get("count"), reference.get("name", f"{_UNKNOWN} data")
    split = f" ({reference['split']})" if "split" in reference else ""
    samples = f"{_UNKNOWN if number is None else number} samples"
    against = f"{'' if count is None else f'{count} of '}{name}{split}"
    return f"{samples} against {against}, {where.get('features', _UNKNOWN)} features"


def _plain(name: str, key: str, a: dict[str, Any], b: dict[str, Any]) -> str:
    return "" if a.get(key) == b.get(key) else f"{name}: {_said(a.get(key))} / {_said(b.get(key))}"


def _features(a: dict[str, Any], b: dict[str, Any]) -> str:
    if a.get("features_sha256") == b.get("features_sha256"):
        return ""
    if a.get("features") != b.get("features"):
        return _plain("features", "features", a, b)
    return f"features: both {_said(a.get('features'))}, but {_hashes(a, b, 'features_sha256')}"


def _sources(name: str, a: dict[str, Any] | None, b: dict[str, Any] | None) -> tuple[str, ...]:
    a, b = a or {}, b or {}
    called = tuple(" ".join(str(source[key]) for key in ("name", "split") if key in source) for source in (a, b))
    kinds = ""
    if called[0] != called[1] and any(a.get(key) != b.get(key) for key in ("sha256", "split")):
        kinds = f"{name}: {called[0] or _UNKNOWN} / {called[1] or _UNKNOWN}"
    elif a.get("sha256") != b.get("sha256"):
        kinds = f"{name}: both {called[0] or _UNKNOWN}, but {_hashes(a, b, 'sha256')}"
    counts = ""
    if a.get("count") != b.get("count"):
        counts = f"{name}: {_said(a.get('count'))} / {_said(b.get('count'))} samples"
    return kinds, counts


def _samples(a: dict[str, Any], b: dict[str, Any]) -> str:
    if a.get("num_samples") == b.get("num_samples"):
        return ""
    counts = f"{_said(a.get('num_samples'))} / {_said(b.get('num_samples'))}"
    return f"{counts} samples: fid falls with more of them"


def _kept(a: dict[str, Any], b: dict[str, Any]) -> str:
    """Where every sample was kept on both sides, the number of samples has said it already."""
    if all("kept" in side and side["kept"] == side.get("num_samples") for side in (a, b)):
        return ""
    return _plain("samples whose features were kept", "kept", a, b)


def _hashes(a: dict[str, Any], b: dict[str, Any], key: str) -> str:
    first, second = (_said(side.get(key))[:8] for side in (a, b))
    return f"not the same: hash {first} / {second}"


def _said(value: object) -> str:
    if value is None:
        return _UNKNOWN
    return f"{value:,}" if isinstance(value, int) else str(value)
