"""Tables as people have them: encodings, delimiters, headers, decimal commas, dates, and columns that mislead."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from initlab.errors import ConfigError, DataError
from initlab.tasks.sources.table import read_table

N = 40
U = [3 * (i % 7) + 0.5 for i in range(N)]
ROWS = "".join(f"{u},{i * 37 % 41},{'ab'[i % 2]}\n" for i, u in enumerate(U))
TEXT = f"u,v,label\n{ROWS}"


def written(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder / name


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode("utf-16"), b"\xfe\xff" + TEXT.encode("utf-16-be"), TEXT.encode("utf-32"),
        b"\xef\xbb\xbf" + TEXT.encode(), TEXT.replace(",", ";").encode(), TEXT.replace(",", "\t").encode("utf-16"),
        TEXT.replace(",", "|").encode(), TEXT.replace(",", " ").encode(), TEXT.replace(",", "   ").encode(),
        TEXT.replace("\n", "\r\n").encode(), TEXT.replace("\n", "\r").encode(), TEXT.replace(",", ", ").encode(),
        TEXT.replace(",", ";").replace(".", ",").encode(), ("# " + TEXT).encode(),
        ("# written by a program\n# " + TEXT).encode(), TEXT[:-1].encode(), (TEXT + "\n\n").encode(),
    ],
)  # fmt: skip
def test_every_way_of_writing_is_the_same_table(tmp_path: Path, content: bytes) -> None:
    raw = read_table(written(tmp_path, content))
    assert raw.pool.x[:, 0].tolist() == U
    assert raw.pool.y.tolist() == [0, 1] * (N // 2)
    assert raw.class_names == ("a", "b")
    assert not [n for n in raw.notes if "decimal commas" not in n]


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zip"])
def test_compressed_files(tmp_path: Path, suffix: str) -> None:
    frame = pd.DataFrame({"u": U, "label": ["x", "y"] * (N // 2)})
    frame.to_csv(tmp_path / f"t.csv{suffix}", index=False, encoding="utf-8-sig")
    assert read_table(tmp_path / f"t.csv{suffix}").pool.x[:, 0].tolist() == U


def test_an_archive_of_several_tables_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("a.csv", TEXT)
        archive.writestr("b.csv", TEXT)
    with pytest.raises(DataError, match="holds 2 files; give an archive of one table"):
        read_table(tmp_path / "t.zip")


def test_an_encoding_by_its_name(tmp_path: Path) -> None:
    file = written(tmp_path, TEXT.replace("v", "größe").encode("latin-1"))
    with pytest.raises(
        DataError, match=r"is not UTF-8: byte 0xf6 at offset 4; give its encoding.*data\.encoding=latin"
    ):
        read_table(file)
    assert read_table(file, encoding="latin-1", drop=["größe"]).notes == ("left out: größe",)
    with pytest.raises(ConfigError, match=r"data\.encoding=klingon: is no encoding"):
        read_table(file, encoding="klingon")
    with pytest.raises(DataError, match="looks like UTF-16 or UTF-32 without a byte order mark"):
        read_table(written(tmp_path, TEXT.encode("utf-16-le")))


# ------------------------------------------------------------------ names of columns
def wide(names: list[str]) -> str:
    return (
        ",".join(names)
        + "\n"
        + "".join(",".join([*map(str, range(len(names) - 1)), "ab"[i % 2]]) + "\n" for i in range(N))
    )


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("specie", "did you mean species? Its columns are c0, c1, c2, c3, c4, c5, c6, c7, species and 52 more"),
        ("SPECIES", "did you mean species? "),
        ("c100", "did you mean c10 or "),
        ("zzz", "is no column of t.csv; its columns are c0, c1, c2, c3, c4, c5, c6, c7, species and 52 more"),
    ],
)
def test_the_nearest_columns_are_named(tmp_path: Path, typed: str, told: str) -> None:
    file = written(tmp_path, wide([*(f"c{i}" for i in range(60)), "species"]))
    for settings in ({"target": typed}, {"target": "species", "drop": [typed]}):
        with pytest.raises(DataError) as caught:
            read_table(file, **settings)
        assert told in str(caught.value)


@pytest.mark.parametrize("target", ["", "2", "label"])
def test_a_file_without_a_header_is_told(tmp_path: Path, target: str) -> None:
    with pytest.raises(DataError, match=r"The first line of t\.csv looks like a row: write a line with the names"):
        read_table(written(tmp_path, ROWS), target=target)


def test_names_that_are_numbers_are_a_header(tmp_path: Path) -> None:
    names = [str(i) for i in range(5)]
    assert read_table(written(tmp_path, wide(names)), target="4").pool.x.shape == (N, 4)
    with pytest.raises(DataError) as caught:
        read_table(written(tmp_path, wide(names)))
    assert "looks like a row" not in str(caught.value)


def test_columns_of_one_name(tmp_path: Path) -> None:
    raw = read_table(written(tmp_path, TEXT.replace("u,v", "u,u")))
    assert raw.pool.x.shape == (N, 2) and raw.notes == ("u: several columns are called so, and numbered",)
    with pytest.raises(DataError, match="has 2 columns called label; leave one"):
        read_table(written(tmp_path, TEXT.replace("u,v", "u,label")), target="label")


def test_numbers_of_rows(tmp_path: Path) -> None:
    frame = pd.DataFrame({"u": U, "label": ["x", "y"] * (N // 2)})
    frame.to_csv(tmp_path / "t.csv")  # with its index, a column without a name
    raw = read_table(tmp_path / "t.csv")
    assert raw.pool.x.shape == (N, 1)
    assert raw.notes == ("a column without a name that numbers the rows is left out",)
    frame.assign(id=range(1, N + 1)).to_csv(tmp_path / "t.csv", index=False)
    assert read_table(tmp_path / "t.csv").notes == (
        "column id numbers the rows and is a feature; data.drop=[id] leaves it out",
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (TEXT.replace("\n", ",\n").replace("label,", "label"), "rows with more cells than the 3 names of its header"),
        ("".join(f"r{i}," * bool(i) + line + "\n" for i, line in enumerate(TEXT.splitlines())), "rows with more cells"),
        (TEXT + "1,2,a,4,5\n", r"line 42 has 5 cells, the lines before it 3"),
        ("# one\n# two\n" + TEXT, "begins with a comment"),
        (b"PK\x03\x04" + bytes(99), "is a spreadsheet or an archive"),
        (b"abc\0\0,\1" * 9, "zero bytes|without a byte order mark"),
    ],
)
def test_lines_that_do_not_fit(tmp_path: Path, content: str | bytes, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_table(written(tmp_path, content))


def test_other_kinds_of_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t\.xlsx: is a spreadsheet; write the table as CSV or Parquet"):
        read_table(written(tmp_path, b"PK", "t.xlsx"))


# ------------------------------------------------------------------ cells
def column(values: list[Any], **more: list[Any]) -> pd.DataFrame:
    return pd.DataFrame({"u": values, "v": U, **more, "label": ["x", "y"] * (N // 2)})


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([f"2024-01-{1 + i % 28:02d}" for i in range(N)], r"column u holds dates \(2024-01-01\)"),
        ([f"{1 + i % 9}/{1 + i % 28}/2024 10:30" for i in range(N)], "column u holds dates"),
        ([f"{i % 9 + 1},{i * 7 % 999:03d}" for i in range(N)], r"column u holds numbers with commas \(1,000\)"),
        ([*range(N - 1), "unknown"], r"column u holds numbers, and 'unknown' in row 40 \(1 such cells\)"),
        ([*range(N - 2), "-", "-"], r"column u holds numbers, and '-' in row 39 \(2 such cells\)"),
        (["?", *range(1, N)], r"column u of t\.csv is empty in 1 rows, first in row 1"),
        ([f"note {i}" for i in range(N + 20)][:N], ""),
    ],
)
def test_cells_that_would_become_categories(tmp_path: Path, values: list[Any], told: str) -> None:
    column(values).to_csv(tmp_path / "t.csv", index=False)
    if not told:
        assert read_table(tmp_path / "t.csv").pool.x.shape == (N, N + 1)
        return
    with pytest.raises(DataError, match=told):
        read_table(tmp_path / "t.csv")


def test_decimal_commas_in_quotes(tmp_path: Path) -> None:
    column([str(u).replace(".", ",") for u in U]).to_csv(tmp_path / "t.csv", index=False)
    raw = read_table(tmp_path / "t.csv")
    assert raw.pool.x[:, 0].tolist() == U and raw.notes == ("column u has decimal commas",)


def test_columns_of_parquet_that_are_no_cells(tmp_path: Path) -> None:
    column([[1.0, 2.0]] * N).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="column u holds values of type ndarray"):
        read_table(tmp_path / "t.parquet")
    column(list(pd.date_range("2024-01-01", periods=N))).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="column u holds dates"):
        read_table(tmp_path / "t.parquet")


def test_rows_with_empty_cells_are_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    frame = column([None, *U[1:]], w=[1.0, 2.0, None, *U[3:]])
    frame.loc[5, "label"] = None
    frame.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=r"label: is empty in 1 row\(s\) of t\.csv, first in row 6"):
        read_table(tmp_path / "t.csv", missing="mean")
    raw = read_table(tmp_path / "t.csv", missing="drop")
    assert raw.pool.x.shape == (N - 3, 3) and raw.notes == ("3 of 40 rows with empty cells are left out",)
    frame.assign(w=None).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=r"data\.missing=drop: leaves no row of t\.csv"):
        read_table(tmp_path / "t.csv", missing="drop")


# ------------------------------------------------------------------ the column of the classes
@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([1 + i % 3 for i in range(N)], ("1", "2", "3")),
        ([2 * (i % 12) for i in range(N)], tuple(str(2 * i) for i in range(12))),
        ([-1 + 2 * (i % 2) for i in range(N)], ("-1", "1")),
        ([float(i % 2) for i in range(N)], ("0", "1")),
        ([bool(i % 2) for i in range(N)], ("False", "True")),
        (["None" if i % 2 else "crack" for i in range(N)], ("None", "crack")),
        (["NA" if i % 2 else "EU" for i in range(N)], ("EU", "NA")),
        (["a " if i % 2 else " b" for i in range(N)], ("a", "b")),
    ],
)
@pytest.mark.parametrize("target", ["", "label"])
def test_labels_that_are_read(tmp_path: Path, labels: list[Any], names: tuple[str, ...], target: str) -> None:
    column(U).assign(label=labels).to_csv(tmp_path / "t.csv", index=False)
    raw = read_table(tmp_path / "t.csv", target=target)
    assert raw.class_names == names
    assert [names[i] for i in raw.pool.y] == [str(int(v) if isinstance(v, float) else v).strip() for v in labels]


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (
            np.random.default_rng(0).normal(size=N),
            "initlab trains classifiers, a regression is no task here; to classify",
        ),
        (np.arange(N) * 7, "has 40 values in 40 rows: initlab trains classifiers, a regression is no task here"),
        ([i % 3 / 2 for i in range(N)], "where its 3 values are classes write them as text"),
        ([f"name {i}" for i in range(N)], "has 40 different texts in 40 rows: names or notes, no classes"),
        (["", *(str(i % 2) for i in range(N - 1))], r"is empty in 1 row\(s\)"),
        (["nan", *(str(i % 2) for i in range(N - 1))], r"is empty in 1 row\(s\)"),
        (["NA", *(str(i % 2) for i in range(N - 1))], r"is empty in 1 row\(s\)"),
        (pd.date_range("2024-01-01", periods=N), "names or notes, no classes"),
    ],
)
def test_labels_that_are_refused(tmp_path: Path, labels: Any, told: str) -> None:
    column(U).assign(label=labels).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=told):
        read_table(tmp_path / "t.csv")


def test_one_class_is_refused_when_it_is_split(tmp_path: Path) -> None:
    import torch

    from initlab.tasks import ImageTask, table

    file = written(tmp_path, TEXT.replace(",b\n", ",a\n"))
    with pytest.raises(DataError, match="has one class; a classifier needs at least 2"):
        ImageTask(data=table(path=file)).open(seed=0, device=torch.device("cpu"))
    with pytest.raises(DataError, match="is the column of the classes"):
        read_table(file, drop=["label"])
