"""Result tables: the same rows, dtypes and bits from CSV and Parquet, in one order, whole or not at all."""

import math
import sys
import types

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pb_eval.artefact import PredictionInfo
from pb_eval.registry import METRICS
from pb_eval.table import (
    RESULT_COLUMNS,
    RESULT_DTYPES,
    empty_table,
    merge_tables,
    read_table,
    result_rows,
    write_table,
)

CONTRACT = ["dataset", "split", "context", "perturbation", "dose", "model", "seed", "metric", "metric_version", "value"]
CONTRACT += ["low", "high", "floor", "ceiling", "scaled"]
CONTRACT += ["n_predicted", "n_true", "split_hash", "profile", "gene_set", "space"]
SUFFIXES = [".csv", ".parquet"]
CEILINGS = {"r2_mean_all": 0.9, "edistance": math.nan, "pearson_delta": 1.0}


@pytest.fixture
def info():
    return PredictionInfo(
        dataset="pbmc",
        split="leave-context-out",
        context="B cells",
        model="scgen",
        profile="fixed",
        seed=2,
        split_hash="ab" * 32,
        scale="log1p",
        context_key="cell_type",
        perturbation_key="condition",
    )


@pytest.fixture
def rows(info):
    scores = {"variance_ratio": math.nan, "r2_mean_all": 0.1 + 0.2, "mse_mean": 5e-324, "edistance": -math.inf}
    named = {"perturbation": "stimulated", "dose": 0.3, "ceilings": CEILINGS}
    return result_rows(info, scores, n_predicted=602, n_true=732, **named)


def same_bits(left, right):
    pd.testing.assert_frame_equal(left, right, check_exact=True)
    for name in ("dose", "value", "floor", "ceiling", "scaled"):
        assert left[name].to_numpy().tobytes() == right[name].to_numpy().tobytes()


def test_columns_are_those_agreed_upon(rows):
    assert list(RESULT_COLUMNS) == CONTRACT
    assert list(rows.columns) == CONTRACT
    assert {name: str(dtype) for name, dtype in rows.dtypes.items()} == dict(RESULT_DTYPES)
    assert {name: str(dtype) for name, dtype in empty_table().dtypes.items()} == dict(RESULT_DTYPES)


def test_rows_are_what_plain_loops_write(info, rows):
    scores = {"variance_ratio": math.nan, "r2_mean_all": 0.1 + 0.2, "mse_mean": 5e-324, "edistance": -math.inf}
    for row, (name, value) in zip(rows.to_dict(orient="records"), scores.items(), strict=True):
        expected = {
            "dataset": info.dataset,
            "split": info.split,
            "context": info.context,
            "perturbation": "stimulated",
            "dose": 0.3,
            "model": info.model,
            "seed": info.seed,
            "metric": name,
            "metric_version": METRICS[name].version,
            "n_predicted": 602,
            "n_true": 732,
            "split_hash": info.split_hash,
            "profile": info.profile,
            "gene_set": METRICS[name].gene_set,
            "space": METRICS[name].space,
        }
        assert row.pop("value") == pytest.approx(value, rel=0, abs=0, nan_ok=True)
        assert row.pop("ceiling") == pytest.approx(CEILINGS.get(name, math.nan), rel=0, abs=0, nan_ok=True)
        assert all(math.isnan(row.pop(later)) for later in ("low", "high", "floor", "scaled"))
        assert row == expected


def test_intervals_stand_beside_the_values(info):
    scores = {"mse_mean": 0.2, "gene_wasserstein": 0.3}
    rows = result_rows(info, scores, n_predicted=9, n_true=9, perturbation="p", intervals={"mse_mean": (0.1, 0.4)})
    assert rows[["low", "high"]].iloc[0].tolist() == [0.1, 0.4]
    assert rows[["low", "high"]].iloc[1].isna().all()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_table_from_before_there_were_intervals_is_read(suffix, rows, tmp_path):
    path = tmp_path / f"results{suffix}"
    old = rows.drop(columns=["low", "high"])
    old.to_csv(path, index=False) if suffix == ".csv" else old.to_parquet(path)
    read = read_table(path)
    assert list(read.columns) == CONTRACT
    assert read[["low", "high"]].isna().all(axis=None)
    assert read["value"].tolist() == pytest.approx(rows["value"].tolist(), nan_ok=True)


def test_declarations_may_be_handed_in(info):
    metrics = {"mine": types.SimpleNamespace(version=7, gene_set="panel", space="counts")}
    (row,) = result_rows(info, {"mine": 1}, n_predicted=1, n_true=1, perturbation="p", metrics=metrics).itertuples()
    assert (row.metric_version, row.gene_set, row.space, row.value) == (7, "panel", "counts", 1.0)
    assert math.isnan(row.dose)


def test_an_unknown_metric_is_named(info):
    with pytest.raises(ValueError, match=r"unknown metric 'r2_mean_al'.*r2_mean_all"):
        result_rows(info, {"r2_mean_al": 1.0}, n_predicted=1, n_true=1, perturbation="p")


def test_no_scores_give_no_rows(info):
    pd.testing.assert_frame_equal(result_rows(info, {}, n_predicted=1, n_true=1, perturbation="p"), empty_table())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_written_is_read(suffix, rows, tmp_path):
    path = tmp_path / f"results{suffix}"
    write_table(rows, path)
    same_bits(read_table(path), merge_tables([rows]))
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_table_from_before_there_were_ceilings_is_read(suffix, rows, tmp_path):
    old, path = rows.drop(columns=["floor", "ceiling", "scaled"]), tmp_path / f"results{suffix}"
    old.to_csv(path, index=False) if suffix == ".csv" else old.to_parquet(path, index=False)
    same_bits(read_table(path), rows.assign(ceiling=math.nan))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_empty_table_keeps_its_types(suffix, tmp_path):
    write_table(empty_table(), tmp_path / f"results{suffix}")
    pd.testing.assert_frame_equal(read_table(tmp_path / f"results{suffix}"), empty_table())


awkward = st.sampled_from(
    ["NA", "None", "nan", "", " ", "1", "1.0", "true", 'a"b', "a,b", "a\nb", "a\rb", "#", "Ω"]
) | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
strategies = {
    "object": awkward,
    "int64": st.integers(-(2**63), 2**63 - 1),
    "float64": st.floats(width=64).map(lambda value: math.nan if math.isnan(value) else value),
}
tables = st.lists(st.fixed_dictionaries({name: strategies[dtype] for name, dtype in RESULT_DTYPES.items()}), max_size=4)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables)
def test_any_rows_survive_both_files(tmp_path, records):
    table = pd.DataFrame(records, columns=list(RESULT_COLUMNS)).astype(dict(RESULT_DTYPES))
    for suffix in SUFFIXES:
        write_table(table, tmp_path / f"results{suffix}")
    from_csv, from_parquet = (read_table(tmp_path / f"results{suffix}") for suffix in SUFFIXES)
    same_bits(from_csv, from_parquet)
    same_bits(from_csv, merge_tables([table]))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_order_of_rows_changes_no_byte(suffix, rows, tmp_path):
    many = merge_tables([rows.assign(seed=seed, context=context) for seed in (2, 10, 1) for context in ("b", "B", "a")])
    write_table(many, tmp_path / f"one{suffix}")
    write_table(many.sample(frac=1, random_state=0), tmp_path / f"two{suffix}")
    assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()


def test_rows_are_sorted_unit_by_unit(rows):
    merged = merge_tables([rows.assign(seed=10), empty_table(), rows.assign(seed=9)])
    keys = list(zip(merged["seed"], merged["metric"], strict=True))
    assert keys == sorted(keys)
    assert len(merged) == 2 * len(rows)
    assert list(merged.index) == list(range(len(merged)))


def test_nothing_to_merge_is_an_empty_table():
    pd.testing.assert_frame_equal(merge_tables([]), empty_table())
    pd.testing.assert_frame_equal(merge_tables([empty_table(), empty_table()]), empty_table())


def test_merging_changes_no_input(rows):
    shuffled = rows.iloc[::-1]
    before = shuffled.copy()
    merge_tables([shuffled])
    pd.testing.assert_frame_equal(shuffled, before)


def test_categories_and_small_numbers_are_accepted(rows, tmp_path):
    odd = rows.astype({"context": "category", "seed": "int8", "value": "float32", "n_true": "float64"})
    odd["profile"] = None
    write_table(odd, tmp_path / "results.csv")
    again = read_table(tmp_path / "results.csv")
    assert {name: str(dtype) for name, dtype in again.dtypes.items()} == dict(RESULT_DTYPES)
    assert set(again["profile"]) == {""}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda rows: rows.drop(columns=["seed", "value"]),
            r"lacks seed, value: give exactly the columns dataset, split",
        ),
        (lambda rows: rows.assign(seeds=1), r"has the unknown seeds: give exactly"),
        (lambda rows: rows.rename(columns={"seed": "sead"}), r"lacks seed and has the unknown sead"),
        (lambda rows: rows.assign(seed=1.5), r"column 'seed' of the result table holds fractions: write whole numbers"),
        (lambda rows: rows.assign(n_true=np.nan), r"column 'n_true' .* does not hold plain numbers"),
        (lambda rows: rows.assign(value="high"), r"column 'value' .* does not hold plain numbers .*correct it"),
    ],
)
def test_ill_formed_tables_are_refused_both_ways(change, sentence, suffix, rows, tmp_path):
    wrong = change(rows)
    with pytest.raises(ValueError, match=sentence):
        write_table(wrong, tmp_path / f"results{suffix}")
    assert list(tmp_path.iterdir()) == []
    if suffix == ".csv":
        wrong.to_csv(tmp_path / "results.csv", index=False)
    else:
        wrong.to_parquet(tmp_path / "results.parquet", index=False)
    with pytest.raises(ValueError, match=sentence):
        read_table(tmp_path / f"results{suffix}")


@pytest.mark.parametrize("name", ["results.tsv", "results"])
def test_other_suffixes_are_refused(name, rows, tmp_path):
    with pytest.raises(ValueError, match=r"result tables are \.csv or \.parquet files"):
        write_table(rows, tmp_path / name)
    with pytest.raises(ValueError, match=r"result tables are \.csv or \.parquet files"):
        read_table(tmp_path / name)


def test_tables_need_no_anndata(rows, tmp_path, monkeypatch):
    write_table(rows, tmp_path / "results.csv")
    for module in ("anndata", "h5py", "pb_eval.artefact"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "pb_eval.table")
    from pb_eval.table import read_table as read_afresh

    assert len(read_afresh(tmp_path / "results.csv")) == len(rows)
