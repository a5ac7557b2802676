"""Tables from CSV and Parquet files: what each column is, and its rows as numbers (see `sparring.core.forms.table`).

The modes of a column are those of a variational Gaussian mixture, as in Xu et al. 2019 ("Modeling tabular data using
conditional GAN", section 4.2). Where columns have categories, rows are drawn as in section 4.3, training by sampling:
a column evenly, one of its categories by the logarithm of its frequency, and a row that has it.
"""

from __future__ import annotations

import datetime
import hashlib
import itertools
import json
import math
import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.forms.table import (
    SPAN,
    Categorical,
    Column,
    Continuous,
    Table,
    Value,
    date_text,
    seconds_of,
    starts_of,
)
from sparring.core.protocols import Batch, DataSpec
from sparring.core.seeds import derive
from sparring.core.spec import to_json
from sparring.data.columnar import read_parquet
from sparring.data.csvs import is_missing, parse_numbers, read_csv
from sparring.data.limits import max_bytes, printable

MODES = 10
"""The most of a column."""
FITTED = 3000
"""Rows that modes are fitted on, at most."""
CATEGORIES = 100
"""The most of a column that are told apart; the rarer ones are one more."""
OTHERS = 10_000
"""Rare values of a column that are kept by name."""
WIDEST = 2**16
"""The most numbers of a row."""
FORMATS = (
    "%Y-%m-%d",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
    "%Y/%m/%d",
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
)
"""Of dates. One that fits in two of them is taken for neither."""
_LARGEST = 1e100  # beyond it ranges and squares may be no floats
_FEW = 10  # whole numbers of so few different values are categories
_LONGEST = 1000  # characters of a category
_EXACT = 2.0**53  # whole numbers beyond it are not all floats
_LEAST_WEIGHT = 0.005
_LEAST_DEVIATION = 1e-6  # of the column's own
_SHOWN = 8


class Numbers(NamedTuple):
    """A column of numbers or dates as it was read."""

    values: NDArray[np.float64]
    """NaN where missing."""
    digits: int
    whole: bool
    format: str = ""


class Mode(NamedTuple):
    """A normal, and its weight in a mixture."""

    mean: float
    deviation: float
    weight: float


class Encoded(NamedTuple):
    """A column's cells: `alpha` float32 [N] of numbers, and `codes` int64 [N] of modes or categories."""

    column: Column
    alpha: NDArray[np.float32] | None
    codes: NDArray[np.int64] | None


class Rows:
    """A `Source` of the rows of a table, held as α of every number and the number of every mode and category.

    `alpha` is float32 [N, numbers], `codes` int32 [N, blocks of categories and modes], in the order of `form.places()`.
    """

    def __init__(self, alpha: Tensor, codes: Tensor, form: Table, spec: DataSpec, report: dict[str, Any]) -> None:
        self.alpha, self.codes, self.form, self.spec, self.report = alpha, codes, form, spec, report
        places = list(form.places())
        self._numbers = [place.start for place in places if place.block.kind == "tanh"]
        choices = [place for place in places if place.block.kind == "softmax"]
        self._starts = torch.tensor([place.start for place in choices], dtype=torch.int64, device=codes.device)
        self._asked = [i for i, place in enumerate(choices) if isinstance(place.column, Categorical)]
        self._widths = [choices[i].block.width for i in self._asked]
        self._firsts = torch.tensor(starts_of(self._widths), dtype=torch.int64, device=codes.device)

    def __len__(self) -> int:
        return len(self.alpha)

    def take(self, index: Tensor) -> Batch:
        """x float32 [B, D] of the rows at int64 positions [B]; y None, or float32 [B, categories]: position
        c · N + row asks for the category that the row has in conditional column c."""
        index = index.to(self.alpha.device)
        row = index % len(self)
        x = self.alpha.new_zeros(len(row), *self.spec.shape)
        x[:, self._numbers] = self.alpha[row]
        codes = self.codes[row].long()
        x.scatter_(1, codes + self._starts, 1.0)
        if not self.spec.y_shape:
            return Batch(x, None)
        column = index.div(len(self), rounding_mode="floor")
        category = codes[:, self._asked].gather(1, column[:, None]) + self._firsts[column][:, None]
        return Batch(x, x.new_zeros(len(x), *self.spec.y_shape).scatter_(1, category, 1.0))

    def ahead(self, index: Tensor) -> None:
        """Nothing: everything is at hand."""

    def to(self, device: torch.device) -> Rows:
        """The same rows, held on a device."""
        return type(self)(self.alpha.to(device), self.codes.to(device), self.form, self.spec, self.report)

    def subset(self, index: Tensor, note: str) -> Rows:
        """The rows at int64 positions [n], in that order; the report counts them anew and its notes say `note`. Columns
        stay as they were found in all rows."""
        alpha, codes = self.alpha[index], self.codes[index]
        sha256, duplicates = _fingerprint(alpha, codes, self.form)
        notes = [*self.report["notes"], note]
        report = self.report | {"count": len(alpha), "duplicates": duplicates, "notes": notes, "sha256": sha256}
        return type(self)(alpha, codes, self.form, self.spec.replace(sha256=sha256), report)

    def without_labels(self) -> Rows:
        """The same rows, all equally often, of which nothing is asked; the report's notes say so."""
        if not self.spec.y_shape:
            return self
        note = "conditions ignored as asked: training is unconditional, and rare categories are as rare as they are"
        report = self.report | {"notes": [*self.report["notes"], note]}
        return Rows(self.alpha, self.codes, self.form, self.spec.replace(y_shape=()), report)


class SampledRows(Rows):
    """Rows of a table with categories, drawn by training by sampling."""

    def draw(self, count: int, random: torch.Generator) -> Tensor:
        """Positions int64 [count] for `take`: see the head of this file. The logarithm is of 1 + the frequency, so that
        a category that is seen once is drawn, too."""
        chosen = torch.randint(len(self._asked), (count,), generator=random)
        drawn = torch.rand(2, count, generator=random, dtype=torch.float64)
        found = torch.empty(count, dtype=torch.int64)
        for number, (order, ends, weights) in enumerate(self._sorted()):
            mine = (chosen == number).nonzero()[:, 0]
            category = torch.searchsorted(weights, drawn[0, mine] * weights[-1], right=True).clamp_(max=len(ends) - 2)
            first, frequency = ends[category], ends[category + 1] - ends[category]
            found[mine] = number * len(self) + order[first + (drawn[1, mine] * frequency).long()]
        return found

    def _sorted(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """For each conditional column: its rows sorted by category, where each category begins and the last ends, and
        the running sum of the categories' weights."""
        if not hasattr(self, "_by_category"):
            found = []
            for choice, width in zip(self._asked, self._widths, strict=True):
                codes = self.codes[:, choice].long().cpu()
                frequencies = codes.bincount(minlength=width)
                ends = torch.cat([frequencies.new_zeros(1), frequencies.cumsum(0)])
                found.append((codes.argsort(stable=True), ends, frequencies.double().log1p().cumsum(0)))
            self._by_category = found
        return self._by_category


def load_table(path: Path) -> Rows:
    """A table from a CSV, TSV or Parquet file, every row a sample.

    Numbers and dates are `Continuous`; texts, booleans, numbers of two values and whole numbers of at most 10 are
    `Categorical`; booleans of Parquet come as text. Left out, and named in the notes: columns without a value,
    texts of which most are different (names, ids), and columns that number the rows.
    Raises `RequestError` as `read_csv` does, for Parquet without pyarrow, for fewer than 2 rows, and where no column
    is left that has more than one value.
    """
    is_parquet = path.name.lower().endswith(".parquet")
    read = read_parquet(path) if is_parquet else read_csv(path)
    found = {name: _parsed(cells, read.delimiter) for name, cells in zip(read.names, read.cells, strict=True)}
    name = path.name.partition(".")[0] or path.name
    return _table(found, name, printable(str(path)), "Parquet" if is_parquet else "CSV", read.notes)


def from_columns(columns: Mapping[str, Sequence[Value]], name: str = "table") -> Rows:
    """A table of columns of cells that Python already holds, None where they are missing; as `load_table` otherwise.

    >>> source = from_columns({"size": [1.5, 2.5, None, 4.5], "kind": ["a", "b", "a", "a"]})
    >>> source.spec.shape, source.spec.y_shape, source.form.decode(source.take(torch.tensor([2])).x)
    ((5,), (2,), {'size': [None], 'kind': ['a']})
    """
    return _table({key: _typed(list(cells)) for key, cells in columns.items()}, name, name, "columns", [])


def column_lines(report: Mapping[str, Any]) -> list[str]:
    """What is said of each column of a table's report, for people: `age: integer, 17 to 90, 5 modes`."""
    return [f"{printable(column['name'])}: {column['type']}, {column['what']}" for column in report["columns"]]


def _table(found: Mapping[str, Numbers | list[Value]], name: str, where: str, kind: str, notes: list[str]) -> Rows:
    counts = {len(cells.values if isinstance(cells, Numbers) else cells) for cells in found.values()}
    if len(counts) != 1:
        raise RequestError(f"{where}: expected columns of one length, found {sorted(counts)}")
    count = counts.pop()
    if count < 2:
        raise RequestError(f"{where}: {count} rows; expected at least 2")
    encoded, said, notes = [], [], list(notes)
    for number, (key, cells) in enumerate(found.items()):
        random = np.random.default_rng(derive(0, "table", number))
        if len(key) > _LONGEST:
            raise RequestError(f"{where}: a column's name of {len(key)} characters; expected at most {_LONGEST}")
        what = _number_column(key, cells, random) if isinstance(cells, Numbers) else _text_column(key, cells)
        if isinstance(what, str):
            notes.append(f"column {printable(key)!r} left out: {what}")
            continue
        if isinstance(cells, Numbers) and (lost := int((~_usable(cells.values) & ~np.isnan(cells.values)).sum())):
            notes.append(f"column {printable(key)!r}: {lost:,} values that are infinite or too large taken as missing")
        encoded.append(what)
        said.append(_said(what.column, cells))
    if not any(what.column.blocks() for what in encoded):
        raise RequestError(
            f"{where}: no column with more than one value is left to learn ({'; '.join(notes) or 'all are constant'})"
        )
    form = Table(columns=tuple(what.column for what in encoded), rows=count)
    if form.width > WIDEST:
        raise RequestError(
            f"{where}: {form.width:,} numbers for a row, expected at most {WIDEST:,}; leave columns of many different "
            "texts out"
        )
    return held(form, encoded, count, name, where, kind, said, notes)


def held(
    form: Table,
    encoded: Sequence[Encoded],
    count: int,
    name: str,
    where: str,
    kind: str,
    said: list[dict[str, Any]],
    notes: list[str],
) -> Rows:
    """`count` rows of a form whose columns are `encoded`, and the report of them, in which `said` stands for the
    columns. Raises `RequestError` for more than can be held."""
    alphas = [what.alpha for what in encoded if what.alpha is not None]
    codes = [what.codes for what in encoded if what.codes is not None]
    if count * (len(alphas) + len(codes)) * 4 > max_bytes():
        raise RequestError(f"{where}: {count:,} rows of {len(encoded)} columns don't fit into half of the memory")
    alpha_held = torch.from_numpy(np.stack(alphas, 1)) if alphas else torch.empty(count, 0)
    codes_held = torch.from_numpy(np.stack(codes, 1)).int() if codes else torch.empty(count, 0, dtype=torch.int32)
    sha256, duplicates = _fingerprint(alpha_held, codes_held, form)
    asked = form.conditional()
    y_shape = (sum(len(column.frequencies) for column in asked),) if asked else ()
    spec = DataSpec(name=name, shape=(form.width,), form=form, levels=0, y_shape=y_shape, sha256=sha256)
    report = {
        "source": where,
        "split": "train",
        "kind": f"table, {kind}",
        "count": count,
        "shape": [form.width],
        "levels": 0,
        "classes": {},
        "sizes": {},
        "channels": 0,
        "converted": {},
        "resized": 0,
        "cropped": 0,
        "duplicates": duplicates,
        "ignored": 0,
        "refused": [],
        "columns": said,
        "notes": notes,
        "sha256": sha256,
        "seconds": 0.0,
    }
    return (SampledRows if asked else Rows)(alpha_held, codes_held, form, spec, report)


def _parsed(cells: list[str], delimiter: str) -> Numbers | list[Value]:
    """A column of text, read as numbers or dates where all of its cells are."""
    if not any(_zero_before(cell) for cell in cells):
        read = parse_numbers(cells, delimiter)
        if read is not None and not (read.decimals == 0 and np.nanmax(np.abs(read.values), initial=0) >= _EXACT):
            return Numbers(read.values, digits_of(read.values), read.decimals == 0)
    return _dated([None if is_missing(cell) else cell for cell in cells])


def _zero_before(cell: str) -> bool:
    """Whether a cell is no number for its leading zeros, as post codes have them."""
    return re.match(r"[+-]?0\d", cell) is not None


def _typed(cells: list[Any]) -> Numbers | list[Value]:
    """A column of Python's values, read as numbers or dates where all of its cells are."""
    if any(isinstance(cell, datetime.date) for cell in cells):
        return _dated([cell if cell is None else _iso(cell) for cell in cells])
    known = [cell for cell in cells if cell is not None]
    if known and all(isinstance(cell, int | float | np.number) and not isinstance(cell, bool) for cell in known):
        values = np.array([np.nan if cell is None else float(cell) for cell in cells])
        whole = all(isinstance(cell, int | np.integer) for cell in known)
        if not whole or np.nanmax(np.abs(values)) < _EXACT:
            return Numbers(values, digits_of(values), whole)
    return _dated([cell if cell is None or isinstance(cell, bool) else str(cell) for cell in cells])


def _iso(cell: Any) -> str:
    if isinstance(cell, datetime.datetime):
        return cell.replace(tzinfo=None, microsecond=0).isoformat(sep=" ")
    return str(cell)


def digits_of(values: NDArray[np.float64]) -> int:
    """How many digits after the point are enough to write all of the finite values, up to 6; else -1.

    >>> digits_of(np.array([1.5, -2.25, np.nan])), digits_of(np.array([1.0, 3e20])), digits_of(np.array([1 / 3]))
    (2, 0, -1)
    """
    finite = values[np.isfinite(values)]
    return next((digits for digits in range(7) if np.array_equal(finite.round(digits), finite)), -1)


def _dated(cells: list[Value]) -> Numbers | list[Value]:
    """Cells as dates where all of them are of one format, and of no other."""
    known = [cell for cell in cells if cell is not None]
    if not known or not all(isinstance(cell, str) and cell[:1].isdigit() and len(cell) <= 19 for cell in known):
        return cells
    fitting = []
    for format in FORMATS:
        try:
            seconds = {cell: seconds_of(str(cell), format) for cell in dict.fromkeys(known)}
        except ValueError:
            continue
        if all(date_text(value, format) == cell for cell, value in seconds.items()):
            fitting.append((format, seconds))
    if len(fitting) != 1:
        return cells
    ((format, seconds),) = fitting
    values = np.array([np.nan if cell is None else seconds[cell] for cell in cells])
    return Numbers(values, -1, False, format)


def _usable(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.abs(values) <= _LARGEST  # not where it is NaN


def _number_column(name: str, read: Numbers, random: np.random.Generator) -> Encoded | str:
    """A column of numbers; or why it is left out."""
    values = np.where(_usable(read.values), read.values, np.nan)
    known = values[~np.isnan(values)]
    if not len(known):
        return f"all of its {len(values):,} values are missing; fill them in, or take the column out of the file"
    different = np.unique(known)
    if read.whole and len(known) == len(values) >= _FEW and np.array_equal(values, values[0] + np.arange(len(values))):
        return "it numbers the rows"
    few = max(2, min(_FEW, len(values) // 10)) if read.whole else 2
    if len(different) <= few and not read.format:
        cells: list[Value] = [None if np.isnan(v) else round(v) if read.whole else v for v in values.tolist()]
        return _categories(name, cells)
    if len(different) == 1:
        return _categories(name, [None if np.isnan(v) else date_text(v, read.format) for v in values.tolist()])
    means, deviations, weights = modes_of(known, random)
    column = Continuous(
        name=name,
        means=means,
        deviations=deviations,
        weights=weights,
        low=float(different[0]),
        high=float(different[-1]),
        digits=read.digits,
        whole=read.whole,
        missing=int(np.isnan(values).sum()),
        format=read.format,
    )
    alpha, codes = column.write(values, random)
    return Encoded(column, alpha, codes if column.modes > 1 else None)


def _text_column(name: str, cells: list[Value]) -> Encoded | str:
    """A column of texts or booleans; or why it is left out."""
    known = [cell for cell in cells if cell is not None]
    if not known:
        return f"all of its {len(cells):,} values are missing; fill them in, or take the column out of the file"
    longest = max(len(cell) if isinstance(cell, str) else 0 for cell in known)
    if longest > _LONGEST:
        return f"it has texts of up to {longest:,} characters; expected at most {_LONGEST:,}"
    different = len(set(known))
    if different > max(20, len(known) / 2) or 5 <= different == len(known):
        strange = [cell for cell in known if isinstance(cell, str) and parse_numbers([cell]) is None]
        if 0 < len(strange) < len(known) / 2:
            return f"{len(strange):,} of its numbers are none, the first {printable(str(strange[0]))[:40]!r}; mend them"
        return f"{different:,} of its {len(known):,} texts are different, as names and ids are"
    return _categories(name, cells)


def _categories(name: str, cells: list[Value]) -> Encoded:
    """The categories of a column in the order of their values, those missing last, the rarer ones together."""
    counts = Counter(cells)
    kept = {value for value, _ in sorted(counts.items(), key=lambda item: (-item[1], _place(item[0])))[:CATEGORIES]}
    values = sorted(kept, key=_place)
    others = sorted(counts.keys() - kept, key=lambda value: (-counts[value], _place(value)))[:OTHERS]
    column = Categorical(
        name=name,
        values=tuple(values),
        counts=tuple(counts[value] for value in values),
        others=tuple(others),
        other_counts=tuple(counts[value] for value in others),
    )
    numbers = {value: number for number, value in enumerate(values)}
    codes = np.array([numbers.get(cell, len(values)) for cell in cells], np.int64)
    return Encoded(column, None, codes if column.blocks() else None)


def _place(value: Value) -> tuple[int, float, str]:
    if value is None:
        return 2, 0.0, ""
    return (1, 0.0, value) if isinstance(value, str) else (0, float(value), "")


def modes_of(
    values: NDArray[np.float64], random: np.random.Generator
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """Means, deviations and weights of the modes of numbers [N], of at least two different ones: a variational
    Gaussian mixture of up to 10, without those that it has left empty, `merged`; and `far` ones, so that every value is
    within reach of a mode."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import BayesianGaussianMixture

    low, span = float(values.min()), float(np.ptp(values))
    unit = (values - low) / span  # squares of the values themselves may be too large or too small for a float
    centre, scale = low + span * float(unit.mean()), span * float(unit.std())
    steps = (unit - unit.mean()) / unit.std()
    fitted = random.choice(steps, FITTED, replace=False) if len(steps) > FITTED else steps
    mixture = BayesianGaussianMixture(
        n_components=min(MODES, len(np.unique(fitted))),
        weight_concentration_prior_type="dirichlet_process",
        weight_concentration_prior=0.001,
        random_state=int(random.integers(2**31)),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(fitted[:, None])
        shares = mixture.predict_proba(fitted[:, None])
    # One more step of maximum likelihood: the prior would make a spike, such as of zeros, as wide as a hump.
    weights = shares.mean(0)
    shares = shares[:, weights > _LEAST_WEIGHT] / shares[:, weights > _LEAST_WEIGHT].sum(0)
    means = fitted @ shares
    deviations = np.sqrt(((fitted[:, None] - means) ** 2 * shares).sum(0)).clip(min=_LEAST_DEVIATION)
    found = zip(means, deviations, weights[weights > _LEAST_WEIGHT], strict=True)
    modes = [Mode(*map(float, mode)) for mode in found]
    modes = merged(modes)
    modes = sorted(modes + far(steps, modes))
    return (
        tuple(mode.mean * scale + centre for mode in modes),
        tuple(mode.deviation * scale for mode in modes),
        tuple(mode.weight for mode in modes),
    )


def merged(modes: list[Mode]) -> list[Mode]:
    """Modes of which no two are one: normals of equal weight have one mode together where their means are at most
    twice the lesser deviation apart; such are put together as the normal of their mean and variance.

    A mixture takes several normals for a skewed hump. Which of them a value is written by would say nothing, and be
    noise for both players.
    """
    modes = list(modes)
    while len(modes) > 1:
        apart, a, b = min(
            (abs(a.mean - b.mean) / min(a.deviation, b.deviation), a, b) for a, b in itertools.combinations(modes, 2)
        )
        if apart > 2:
            break
        weight = a.weight + b.weight
        mean = (a.weight * a.mean + b.weight * b.mean) / weight
        spread = sum(m.weight / weight * (m.deviation**2 + (m.mean - mean) ** 2) for m in (a, b))
        modes.remove(a)
        modes.remove(b)
        modes.append(Mode(mean, math.sqrt(spread), weight))
    return modes


def far(values: NDArray[np.float64], modes: list[Mode]) -> list[Mode]:
    """A mode for the values below the reach of all modes, one for those between, one for those above; none where there
    are no such."""
    out = values[np.min([np.abs(values - mode.mean) / mode.deviation for mode in modes], 0) >= SPAN]
    low, high = min(mode.mean for mode in modes), max(mode.mean for mode in modes)
    found = []
    for part in (out[out < low], out[(out >= low) & (out <= high)], out[out > high]):
        if len(part):
            middle, half = (part.min() + part.max()) / 2, (part.max() - part.min()) / 2
            deviation = max(half / (SPAN / 2), 0.01 * abs(middle), 0.01)
            found.append(Mode(float(middle), float(deviation), len(part) / len(values)))
    return found


def _said(column: Column, cells: Numbers | list[Value]) -> dict[str, Any]:
    """What the report says of a column."""
    if isinstance(column, Continuous):
        kind = "date" if column.format else "integer" if column.whole else "number"
        low, high = (date_text(v, column.format) if column.format else f"{v:.6g}" for v in (column.low, column.high))
        what = f"{low} to {high}, {len(column.means)} mode{'s' * (len(column.means) > 1)}"
        return {"name": column.name, "type": kind, "what": what + _gone(column.missing), "missing": column.missing}
    assert isinstance(column, Categorical)
    missing = column.counts[column.values.index(None)] if None in column.values else 0
    kinds = {"boolean" if _is_boolean(value) else "category" for value in column.values if value is not None}
    pairs = [(value, count) for value, count in zip(column.values, column.counts, strict=True) if value is not None]
    pairs.sort(key=lambda pair: -pair[1])
    shown = ", ".join(f"{printable(str(value))[:40]} {count}" for value, count in pairs[:_SHOWN])
    more = len(pairs) + len(column.others) - len(pairs[:_SHOWN])
    what = shown + (f" and {more} more" if more else "")
    if column.others:
        what += f"; the {len(column.others):,} rarest are learned as one and drawn by frequency"
    if len(column.values) == 1:
        what += ", constant"
    kind = "boolean" if kinds == {"boolean"} else "category"
    return {"name": column.name, "type": kind, "what": what + _gone(missing), "missing": missing}


def _is_boolean(value: Value) -> bool:
    return isinstance(value, bool) or (isinstance(value, str) and value.lower() in ("true", "false", "yes", "no"))


def _gone(missing: int) -> str:
    return f", {missing:,} missing" if missing else ""


def _fingerprint(alpha: Tensor, codes: Tensor, form: Table) -> tuple[str, int]:
    """SHA-256 of all rows in order, and how many repeat an earlier one, numbers alike to a millionth of their range."""
    whole = hashlib.sha256(json.dumps(to_json(form)).encode("utf-8", "surrogatepass"))
    whole.update(alpha.cpu().contiguous().numpy().data)
    whole.update(codes.cpu().contiguous().numpy().data)
    numbers, choices, cells = iter(alpha.cpu().double().numpy().T), iter(codes.cpu().long().numpy().T), []
    for column in form.columns:
        if isinstance(column, Continuous):
            own = next(numbers)
            values, missing = column.meant(own, next(choices) if column.modes > 1 else np.zeros(len(own), np.int64))
            # A value may be written by several modes.
            cells.append(np.where(missing, -1, ((values - column.low) / (column.high - column.low)).round(6)))
        elif column.blocks():
            cells.append(next(choices))
    return whole.hexdigest(), len(alpha) - len(np.unique(np.stack(cells, 1), axis=0))
