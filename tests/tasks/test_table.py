"""Tables: real data from CSV and Parquet, categories, empty cells, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from sklearn.datasets import load_iris, load_wine

from initlab.errors import DataError
from initlab.tasks import ImageTask, table
from initlab.tasks.sources.table import read_table
from tests.cases import untracked


@pytest.fixture(scope="module")
def wine() -> pd.DataFrame:
    return load_wine(as_frame=True).frame


def mixed() -> pd.DataFrame:
    """Numbers, truth values, categories and names, in the rows of the irises."""
    frame = load_iris(as_frame=True).frame
    frame["target"] = frame["target"].map({0: "setosa", 1: "versicolor", 2: "virginica"})
    frame["long"] = frame["petal length (cm)"] > 4
    frame["bed"] = ["north", "south", "west"] * 50
    frame["name"] = [f"plant {i}" for i in range(150)]
    return frame


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("t.csv", {}),
        ("t.tsv", {"sep": "\t"}),
        ("t.csv", {"sep": ";"}),
        ("t.txt", {"sep": "|"}),
        ("t.csv.gz", {}),
        ("t.csv", {"encoding": "utf-8-sig"}),
    ],
)
def test_every_way_of_writing_csv_is_the_same_data(
    wine: pd.DataFrame, tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    wine.to_csv(tmp_path / name, index=False, **options)
    found = read_table(tmp_path / name)
    assert found.pool.x.shape == (178, 13) and found.class_names == ("0", "1", "2")
    assert torch.allclose(found.pool.x, torch.tensor(wine.drop(columns="target").to_numpy()).float())
    assert found.pool.y.tolist() == wine["target"].tolist()


def test_parquet_is_the_same_as_csv(wine: pd.DataFrame, tmp_path: Path) -> None:
    wine.to_csv(tmp_path / "t.csv", index=False)
    wine.to_parquet(tmp_path / "t.parquet")
    one, other = read_table(tmp_path / "t.csv"), read_table(tmp_path / "t.parquet")
    assert one.provenance.digest == other.provenance.digest


def test_text_becomes_a_feature_for_each_value(tmp_path: Path) -> None:
    mixed().to_csv(tmp_path / "t.csv", index=False)
    found = read_table(tmp_path / "t.csv", drop=["name"])
    assert found.class_names == ("setosa", "versicolor", "virginica")
    assert found.pool.x.shape == (150, 4 + 1 + 3)
    assert found.pool.x[:3, 5:].tolist() == torch.eye(3).tolist()
    assert found.pool.x[:, 4].tolist() == [float(v) for v in mixed()["long"]]
    assert found.notes == ("a feature for each value of bed", "left out: name")


def test_empty_cells_stop_or_are_filled_and_marked(tmp_path: Path) -> None:
    frame = mixed().drop(columns="name")
    frame.loc[[3, 7], "petal width (cm)"] = None
    frame.loc[5, "bed"] = None
    frame.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(
        DataError, match=r"column petal width \(cm\) of t.csv is empty in 2 rows, first in row 4"
    ) as told:
        read_table(tmp_path / "t.csv")
    assert "data.missing=mean" in str(told.value) and "data.drop=[petal width (cm)]" in str(told.value)
    found = read_table(tmp_path / "t.csv", missing="mean").pool.x
    assert found.shape == (150, 4 + 1 + 1 + 3 + 1)
    assert float(found[3, 3]) == pytest.approx(frame["petal width (cm)"].mean())
    assert found[:, 4].nonzero().flatten().tolist() == [3, 7]
    assert found[5, 6:].tolist() == [0, 0, 0, 1]


def test_features_are_standardised_over_the_training_part(wine: pd.DataFrame, tmp_path: Path) -> None:
    wine.to_csv(tmp_path / "t.csv", index=False)
    splits = ImageTask(data=table(path=tmp_path / "t.csv")).open(seed=0, device=torch.device("cpu"))
    x = splits.prepare(splits.train.x)
    assert torch.allclose(x.mean(0), torch.zeros(13), atol=1e-4)
    assert torch.allclose(x.std(0, unbiased=False), torch.ones(13), atol=1e-4)


def test_a_network_learns_a_table(wine: pd.DataFrame, tmp_path: Path) -> None:
    wine.to_csv(tmp_path / "t.csv", index=False)
    result, _ = untracked(
        "data=table", f"data.path={tmp_path / 't.csv'}", "model=mlp", "model.width=32", "trainer.epochs=60",
        "trainer.batch_size=16", "trainer.test_with=last", "probes=none",
    )  # fmt: skip
    assert result.metrics["test/accuracy"] > 0.9


@pytest.mark.parametrize(
    ("change", "settings", "said"),
    [
        (lambda f: f, {"target": "kind"}, "data.target=kind: is no column of t.csv; its columns are"),
        (lambda f: f, {"drop": ["nothing"]}, "data.drop=nothing: is no column"),
        (lambda f: f.rename(columns={"target": "species"}), {}, "say which column holds the classes, data.target=NAME"),
        (lambda f: f.assign(label=1), {}, "say which column holds the classes"),
        (lambda f: f, {}, "column name has 150 different texts, more than 50"),
        (lambda f: f[["target"]], {}, "no column beside target"),
        (lambda f: f.assign(target=f["petal width (cm)"]), {"drop": ["name"]}, "a regression is no task here"),
        (
            lambda f: f.assign(target=[None, *f["target"][1:]]),
            {"drop": ["name"]},
            "is empty in 1 row(s) of t.csv, first in row 1",
        ),
        (lambda f: f[:0], {}, "has no rows"),
        (lambda f: f.drop(columns="name").assign(big=1e300), {}, "beyond float32"),
    ],
)
def test_what_is_no_table_of_classes_is_refused_by_name(
    tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], settings: dict[str, Any], said: str
) -> None:
    change(mixed()).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError) as told:
        read_table(tmp_path / "t.csv", **settings)
    assert said in str(told.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", b""),
        ("t.parquet", b"PAR1 no"),
        ("t.csv", b"\xff\xfe\x00"),
        ("t.csv.gz", b"no archive"),
        ("t.zip", b"PK\x03\x04"),
    ],
)
def test_damaged_files_are_told(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read as a table|has no rows|is not UTF-16"):
        read_table(tmp_path / name)
    with pytest.raises(DataError, match="does not exist"):
        read_table(tmp_path / "gone.csv")
    with pytest.raises(DataError, match="is a folder"):
        read_table(tmp_path)
