"""Every problem of data is named, all at once, with what to mend; nothing else is."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pytest
from anndata import AnnData
from pb_data import Keys, SchemaError, check, load, notes, validate
from scipy import sparse


def codes(cells: AnnData, keys: Keys) -> list[str]:
    return [problem.code for problem in validate(cells, keys)]


def message(cells: AnnData, keys: Keys, code: str) -> str:
    found = [problem.message for problem in validate(cells, keys) if problem.code == code]
    assert len(found) == 1
    return found[0]


def test_the_embedded_data_are_valid() -> None:
    data = load("pbmc", singlets=False, megakaryocytes=True)
    assert validate(data.adata, data.keys) == []


@pytest.mark.parametrize("form", ["csr", "csc", "dense", "view", "csr_array", "float64", "int64"])
def test_every_form_of_x_is_accepted(make_cells: Callable[..., AnnData], keys: Keys, form: str) -> None:
    cells = make_cells()
    X = {
        "csc": cells.X.tocsc,
        "dense": cells.X.toarray,
        "csr_array": lambda: sparse.csr_array(cells.X),
        "float64": lambda: cells.X.astype(np.float64),
        "int64": lambda: cells.X.astype(np.int64),
    }.get(form, lambda: cells.X)()
    accepted = AnnData(X, obs=cells.obs, var=cells.var)
    accepted = accepted[::2] if form == "view" else accepted
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert validate(accepted, keys) == []
        check(accepted, keys)
    assert accepted.is_view == (form == "view")


def test_missing_columns_suggest_the_nearest(make_cells: Callable[..., AnnData], keys: Keys) -> None:
    wrong = replace(keys, context="celltype", batch="donor")
    found = validate(make_cells(), wrong)
    assert [problem.code for problem in found] == ["missing-column", "missing-column"]
    assert found[0].message == (
        "obs has no context column 'celltype'; did you mean 'cell_type'? (columns: cell_type, condition)"
    )
    assert "no batch column 'donor'" in found[1].message


def test_a_column_that_occurs_twice(make_cells: Callable[..., AnnData], keys: Keys) -> None:
    cells = make_cells()
    cells.obs = cells.obs.assign(other="x").set_axis(["cell_type", "condition", "condition"], axis=1)
    assert codes(cells, keys) == ["duplicated-column"]


def test_missing_values_are_counted(make_cells: Callable[..., AnnData], keys: Keys) -> None:
    cells = make_cells()
    cells.obs.iloc[:4, 0] = None
    assert "4 of 99 cells have no value in context column 'cell_type'" in message(cells, keys, "missing-values")


@pytest.mark.parametrize("kind", ["object", "category"])
def test_blanks_around_labels(make_cells: Callable[..., AnnData], keys: Keys, kind: str) -> None:
    cells = make_cells()
    cells.obs["cell_type"] = cells.obs["cell_type"].replace("A", "A ").astype(kind)
    assert "labels of context column 'cell_type' have blanks around them ('A ')" in message(cells, keys, "blanks")
    cells.obs["cell_type"] = cells.obs["cell_type"].astype(str).str.strip()  # the remedy that is named
    assert validate(cells, keys) == []


def test_an_unknown_control_label_suggests_the_nearest(make_cells: Callable[..., AnnData], keys: Keys) -> None:
    text = message(make_cells(), replace(keys, control="Contrl"), "no-control")
    assert text == (
        "no cell of 'condition' has the control label 'Contrl'; did you mean 'control'? (labels: 'control', 'drug')"
    )


def test_contexts_without_controls_and_with_too_few_cells(make_cells: Callable[..., AnnData], keys: Keys) -> None:
    labels = {("A", "control"): 5, ("A", "drug"): 5, ("B", "drug"): 5, ("C", "control"): 1, ("C", "drug"): 2}
    cells = make_cells(labels | {("D", "control"): 3, ("D", "drug"): 1})
    assert codes(cells, keys) == ["no-control-in-context", "too-few-cells"]
    assert "no control cells in context 'B'" in message(cells, keys, "no-control-in-context")
    assert "fewer than 2 cells in C (1 control), D (1 perturbed)" in message(cells, keys, "too-few-cells")
    assert "D (3 control), C (2 perturbed), D (1 perturbed)" in validate(cells, keys, min_cells=4)[1].message


def test_a_context_of_controls_only_is_noted_but_no_problem(make_cells: Callable[..., AnnData], keys: Keys) -> None:
    cells = make_cells({("A", "control"): 5, ("A", "drug"): 5, ("B", "control"): 5})
    assert validate(cells, keys) == []
    assert notes(cells, keys) == [
        "no perturbed cells in context 'B': it can be predicted but not held out or scored",
        "'A' is the only context with control and perturbed cells; holding it out needs another",
    ]


def test_cells_without_expression_are_noted(make_cells: Callable[..., AnnData], keys: Keys) -> None:
    cells = make_cells()
    cells.X = sparse.csr_matrix(cells.X.multiply((np.arange(cells.n_obs) > 1)[:, None]))
    assert validate(cells, keys) == []
    assert notes(cells, keys) == [
        "2 of 99 cells have no expression at all; filter_cells(min_counts=1) drops them",
    ]


def test_nothing_perturbed(make_cells: Callable[..., AnnData], keys: Keys) -> None:
    assert codes(make_cells({("A", "control"): 5}), keys) == ["no-perturbed"]


def test_doses(make_cells: Callable[..., AnnData], keys: Keys) -> None:
    cells, dosed = make_cells(), replace(keys, dose="dose")
    control = cells.obs["condition"] == "control"
    cells.obs["dose"] = np.where(control, 0.0, 3.0)
    assert validate(cells, dosed) == []
    cells.obs["dose"] = np.where(control, 1.0, 3.0)
    assert "44 cells labelled 'control' have a dose other than the control dose 0.0 (first: 1.0)" in message(
        cells, dosed, "dose-conflict"
    )
    cells.obs["dose"] = np.where(control, "none", "high")
    assert "dose column 'dose' does not hold numbers" in message(cells, dosed, "not-a-number")


def test_library_sizes(make_cells: Callable[..., AnnData], keys: Keys) -> None:
    cells, sized = make_cells(), replace(keys, library_size="total")
    totals = np.asarray(cells.X.sum(axis=1)).ravel()
    cells.obs["total"] = totals
    assert validate(cells, sized) == []
    cells.obs["total"] = np.where(np.arange(cells.n_obs) == 3, 0.0, totals)
    assert codes(cells, sized) == ["library-size", "library-size"]
    cells.obs["total"] = totals - 1
    assert "99 cells hold more counts than their library size" in message(cells, sized, "library-size")


def test_repeated_names(make_cells: Callable[..., AnnData], keys: Keys) -> None:
    cells = make_cells()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata warns of what is tested here
        cells.obs_names = ["x", "x", *cells.obs_names[2:]]
        cells.var_names = ["g", "g", "h", "h", *cells.var_names[4:]]
    assert codes(cells, keys) == ["duplicated-cells", "duplicated-genes"]
    assert "2 gene names occur more than once ('g', 'h')" in message(cells, keys, "duplicated-genes")


@pytest.mark.parametrize("form", ["dense", "csr", "csc"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(make_cells: Callable[..., AnnData], keys: Keys, form: str, bad: float) -> None:
    cells = make_cells()
    dense = cells.X.toarray()
    dense[[3, 3, 8], [1, 2, 5]] = bad
    X = {"dense": lambda: dense, "csr": lambda: sparse.csr_matrix(dense), "csc": lambda: sparse.csc_matrix(dense)}[
        form
    ]()
    wrong = AnnData(X, obs=cells.obs, var=cells.var)
    text = message(wrong, keys, "not-finite")
    assert "X holds 3 NaN or infinite values in 2 cells ('cell3', 'cell8')" in text


def test_negative_values(make_cells: Callable[..., AnnData], keys: Keys) -> None:
    cells = make_cells()
    cells.X.data[:3] = -2
    assert "X holds 3 negative values (smallest: -2); raw counts are never negative" in message(cells, keys, "negative")
    centred = AnnData(cells.X.toarray() - 0.3, obs=cells.obs)
    assert "log1p of normalised counts are never negative" in message(centred, replace(keys, scale="log1p"), "negative")


def test_a_wrong_scale_is_contradicted(make_cells: Callable[..., AnnData], keys: Keys) -> None:
    cells = make_cells()
    logged = AnnData(np.log1p(cells.X), obs=cells.obs)
    normalised = AnnData(cells.X * 7.3, obs=cells.obs)
    as_log = replace(keys, scale="log1p")
    assert "declared counts, but 100.0% of its values are not whole numbers" in message(logged, keys, "scale")
    assert "declared log1p, but all its values are whole numbers" in message(cells, as_log, "scale")
    assert "was the logarithm left out?" in message(normalised, as_log, "scale")
    assert validate(logged, as_log) == []


def test_one_wrong_value_among_counts_is_found(make_cells: Callable[..., AnnData], keys: Keys) -> None:
    cells = make_cells()
    cells.X.data[11] = 2.5
    assert "(such as 2.5)" in message(cells, keys, "scale")


def test_backed_files_are_refused(make_cells: Callable[..., AnnData], keys: Keys, tmp_path: Path) -> None:
    make_cells().write_h5ad(tmp_path / "x.h5ad")
    backed = anndata.read_h5ad(tmp_path / "x.h5ad", backed="r")
    try:
        assert "read it into memory first: adata.to_memory()" in message(backed, keys, "backed")
        assert validate(backed.to_memory(), keys) == []
    finally:
        backed.file.close()


def test_no_x_no_numbers_no_cells(make_cells: Callable[..., AnnData], keys: Keys) -> None:
    cells = make_cells()
    assert codes(AnnData(obs=cells.obs, var=cells.var), keys) == ["no-expression"]
    assert codes(AnnData(cells.X > 0, obs=cells.obs), keys) == ["not-numbers"]
    assert codes(cells[:0].copy(), keys) == ["empty"]


def test_every_problem_at_once(make_cells: Callable[..., AnnData], keys: Keys) -> None:
    cells = make_cells({("A ", "control"): 1, ("A ", "drug"): 4, ("B", "drug"): 5})
    cells.X.data[0], cells.X.data[1] = np.nan, -0.5
    cells.obs["donor"] = ["d1", None, *["d2"] * 8]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata warns of what is tested here
        cells.var_names = ["g", "g", *cells.var_names[2:]]
    wrong = replace(keys, batch="donor")
    expected = ["duplicated-genes", "blanks", "missing-values", "no-control-in-context", "too-few-cells", "not-finite"]
    assert codes(cells, wrong) == [*expected, "negative", "scale"]
    with pytest.raises(SchemaError, match="the data have 8 problems") as caught:
        check(cells, wrong)
    assert caught.value.problems == validate(cells, wrong)
    assert str(caught.value).count("\n- ") == 8
    assert isinstance(caught.value, ValueError)


def test_nothing_is_changed(make_cells: Callable[..., AnnData], keys: Keys) -> None:
    cells = make_cells()
    before = cells.copy()
    validate(cells, keys)
    assert cells.obs.equals(before.obs)
    np.testing.assert_array_equal(cells.X.toarray(), before.X.toarray())
