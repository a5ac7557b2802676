"""Numbers, times and the provenance of scores in words, the same all over the page."""

from __future__ import annotations

from typing import Any

from sparring.report.lenient import as_dict, as_number


def number(value: float | None) -> str:
    """A number in four digits.

    >>> number(0.245312), number(1234567.0), number(10.0), number(None)
    ('0.2453', '1,234,567', '10', 'unknown')
    """
    if value is None:
        return "unknown"
    return f"{value:,.0f}" if abs(value) >= 10_000 and abs(value) < 1e12 else f"{value:.4g}"


def count(value: object, what: str = "") -> str:
    """How many, in full: '1,500 samples'; 'an unknown number of samples' for what is no number."""
    found = as_number(value)
    said = "an unknown number of" if found is None else f"{found:,.0f}"
    return f"{said} {what}".rstrip() if what or found is not None else "unknown"


def duration(seconds: float | None) -> str:
    """A duration in words.

    >>> duration(0.335), duration(75.0), duration(7265.0)
    ('0.34 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = round(seconds)
    return f"{whole // 3600:,} h {whole % 3600 // 60} min" if whole >= 3600 else f"{whole // 60} min {whole % 60} s"


def as_sentence(text: str, *, capital: bool = True) -> str:
    """A sentence with its capital and its full stop."""
    text = text.strip()
    first = text[:1].upper() if capital else text[:1]
    return first + text[1:] + ("" if text.endswith((".", "!", "?")) else ".") if text else ""


def how_made(found: dict[str, Any]) -> str:
    """How scores came about, in sentences."""
    if not found:
        return "How these scores came about is not known."

    def source(about: dict[str, Any]) -> str:
        split = about.get("split")
        return f"{count(about.get('count'), 'samples')} of {about.get('name', 'unknown data')}" + (
            f" ({split})" if split else ""
        )

    weights = {"ema": "averaged weights (EMA)", "raw": "raw weights", "given": "samples as given"}
    made = [weights.get(str(found.get("weights")), f"weights {found.get('weights', 'unknown')}")]
    made += [f"arithmetic {found['arithmetic']}"] if found.get("arithmetic") else []
    made += [f"seed {found['seed']}"] if found.get("seed") is not None else []
    network = f"{found.get('features', 'unknown')}"
    network += f" ({count(found['feature_dim'])} numbers a sample)" if found.get("feature_dim") else ""
    if found.get("features_sha256"):
        network += f", whose hash begins {str(found['features_sha256'])[:8]}"
    parts = [
        f"{count(found.get('num_samples'), 'samples')} ({', '.join(made)}) were compared with "
        f"{source(as_dict(found.get('reference')))}, in the features {network}."
    ]
    if found.get("kept") is not None and found.get("kept") != found.get("num_samples"):
        parts.append(f"All but the Fréchet distance looks at {count(found['kept'])} of them.")
    if found.get("held_out"):
        parts.append(f"Held out from training: {source(as_dict(found['held_out']))}.")
    if found.get("resize") not in (None, "none"):
        parts.append(f"Samples were resized: {found['resize']}.")
    parts.append("Scores compare only with scores that were made in just this way.")
    return " ".join(parts)
