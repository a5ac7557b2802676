import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from sparring.core.errors import RequestError
from sparring.core.forms import Series, Text
from sparring.core.protocols import DataSpec
from sparring.data.open import Data
from sparring.data.outputs import write_samples
from sparring.data.tables import from_columns

RAGGED = Series(columns=("a", 'b, "the" second'), low=(0.0, -5.0), high=(10.0, 5.0), decimals=(2, -1), ragged=True)


def ragged(count: int = 4) -> tuple[torch.Tensor, DataSpec]:
    x = torch.rand(count, 6, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    x[:, :, 2] = 1
    x[1, 3:, 2] = -1
    return x, DataSpec(name="s", shape=(6, 3), form=RAGGED, levels=0)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".npy", ".npz"])
def test_series_are_read_again_as_they_were_written(tmp_path: Path, suffix: str) -> None:
    x, spec = ragged()
    out = tmp_path / f"a{suffix}"
    write_samples(out, x, spec)
    again = Data(source=str(out), kind="series" if "n" in suffix else "auto").load()
    assert (again.report["kind"], again.spec.shape) == ("series", (6, 3))
    if suffix in (".csv", ".tsv", ".parquet"):
        assert again.spec.form.columns == RAGGED.columns
    if suffix in (".csv", ".tsv"):
        assert again.spec.form.decimals[0] == 2
    for found, expected in zip(again.spec.form.decode(again.take(torch.arange(4)).x), RAGGED.decode(x), strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-6)


def test_series_as_csv(tmp_path: Path) -> None:
    form = Series(columns=("step", "v"), low=(0.0, 0.0), high=(1.0, 4.0), decimals=(0, 1))
    x = torch.tensor([[[-1.0, -1.0], [1.0, 0.26]]])
    write_samples(tmp_path / "a.csv", x, DataSpec(name="s", shape=(2, 2), form=form))
    assert (tmp_path / "a.csv").read_text() == "series,step_,step,v\n0,0,0,0.0\n0,1,1,2.5\n"
    around = Series(columns=("v",), low=(-1.0,), high=(1.0,), decimals=(0,))
    write_samples(tmp_path / "b.csv", torch.tensor([[[-0.2], [0.2]]]), DataSpec(name="s", shape=(2, 1), form=around))
    assert (tmp_path / "b.csv").read_text() == "series,step,v\n0,0,0\n0,1,0\n"


def test_rows_of_tables_are_read_again_as_they_were_written(tmp_path: Path) -> None:
    columns = {
        "size": [1.25, 2.5, None, 3.75] * 5,
        "name, or so": ["=cmd()|' /C calc'!A0", 'a "b"', "x\ny", "-"] * 5,
        "count": [12, 1000, 7, 301] * 5,
    }
    source = from_columns(columns)
    batch = source.take(torch.arange(20))
    decoded = source.spec.form.decode(batch.x)
    for suffix in (".csv", ".tsv", ".parquet"):
        write_samples(tmp_path / f"a{suffix}", batch.x, source.spec)
    for suffix, delimiter in ((".csv", ","), (".tsv", "\t")):
        with (tmp_path / f"a{suffix}").open(newline="") as file:
            head, *rows = csv.reader(file, delimiter=delimiter)
        assert head == list(columns)
        assert [row[1] for row in rows] == decoded["name, or so"]
        assert {row[0] for row in rows} == {"1.25", "2.50", "", "3.75"}
        assert [int(row[2]) for row in rows] == decoded["count"]
    again = Data(source=str(tmp_path / "a.csv")).load()
    assert [column.name for column in again.spec.form.columns] == list(columns)
    import pyarrow.parquet as pq

    assert pq.read_table(tmp_path / "a.parquet").to_pydict() == decoded


def test_texts_are_lines(tmp_path: Path) -> None:
    form = Text(tokens=("", "ä", "b", " "))
    spec = DataSpec(name="t", shape=(3, 4), form=form)
    write_samples(tmp_path / "a.txt", form.one_hot(torch.tensor([[1, 2, 3], [2, 0, 1], [0, 1, 1]])), spec)
    assert (tmp_path / "a.txt").read_bytes() == "äb \nb\n\n".encode()
    again = Data(source=str(tmp_path / "a.txt")).load()
    assert again.spec.form.decode(again.take(torch.arange(2)).x) == ["äb ", "b"]


@pytest.mark.parametrize(
    ("form", "name", "message"),
    [
        (RAGGED, "a.txt", r"a name that ends in \.csv, \.tsv, \.parquet, \.npy, \.npz for series"),
        (Text(tokens=("", "a")), "a.csv", r"a name that ends in \.txt for texts"),
        (from_columns({"a": [1.5, 2.5, 3]}).spec.form, "a.npz", r"\.csv, \.tsv, \.parquet for tables"),
        (RAGGED, "a", "a name that ends in"),
    ],
)
def test_other_suffixes_are_refused(tmp_path: Path, form: object, name: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        write_samples(tmp_path / name, torch.zeros(1, 6, 3), DataSpec(name="s", shape=(6, 3), form=form))
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, spec = ragged()
    with pytest.raises(RequestError, match="nowhere"):
        write_samples(tmp_path / "nowhere" / "a.csv", x, spec)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(RequestError, match="writing Parquet needs pyarrow"):
        write_samples(tmp_path / "a.parquet", x, spec)
