"""Labelled sets: what the registry says, what the readers give, and what is not to be had."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from pb_data import (
    LabelledData,
    labelled_card,
    labelled_names,
    load_labelled,
    load_labelled_source,
)
from pb_data.datasets.embedded import read_embedded
from pb_data.hashing import matrix_sha256
from pb_data.labelled import papalexi, tables
from pb_data.labelled.registry import LABELLED, get_labelled
from scipy import sparse

EMBEDDED = [name for name in labelled_names() if labelled_card(name).embedded]


def require_sound(data: LabelledData) -> None:
    """Hold labelled data to their contract."""
    n_samples, n_features = data.X.shape
    assert data.X.dtype == np.float32
    assert sparse.issparse(data.X) or isinstance(data.X, np.ndarray)
    assert data.y.shape == (n_samples, len(data.targets))
    assert len(data.features) == len(set(data.features)) == n_features == len(data.unscaled)
    if data.task == "classification":
        assert data.y.dtype == np.int64
        for column, classes in enumerate(data.classes):
            assert set(range(len(classes))) == set(data.y[:, column]) - {-1}
    else:
        assert data.y.dtype == np.float32
        assert data.classes == ()
    if data.groups is not None:
        assert data.groups.dtype == object
        assert data.groups.shape == (n_samples,)
    assert json.loads(json.dumps(data.source)) == data.source


@pytest.mark.parametrize(("name", "task"), [(n, t) for n in EMBEDDED for t in labelled_card(n).tasks])
def test_embedded_sets_keep_the_contract_and_their_recipe_rebuilds_them(name: str, task: str) -> None:
    data = load_labelled(name, task=task)
    require_sound(data)
    known = labelled_card(name)
    assert data.X.shape[0] == known.n_samples
    assert data.X.shape[1] == known.n_features - (name == "papalexi" and task == "regression")
    assert data.source["sha256"] == known.sha256
    assert (data.groups is None) == (known.groups == "")
    again = load_labelled_source(json.loads(json.dumps(data.source)))
    np.testing.assert_array_equal(again.y, data.y)
    assert again.source == data.source


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("concrete", "concrete"),
        ("wine", "wine"),
        ("parkinson-total", "parkinson"),
        ("parkinson-motor", "parkinson"),
        ("letter", "letter"),
    ],
)
def test_content_hashes_are_those_the_registry_states(name: str, table: str) -> None:
    held = tables.read_table(table)
    assert tables.table_sha256(held) == labelled_card(name).sha256
    changed = held.X.copy()
    changed[3, 2] += 1
    assert tables.table_sha256(held._replace(X=changed)) != labelled_card(name).sha256
    assert tables.RESOURCE.stat().st_size < 1e6


def test_the_published_test_rows_are_the_last_fifth() -> None:
    for name, n_test in {"concrete": 206, "wine": 1299, "parkinson-total": 1175, "letter": 4000}.items():
        data = load_labelled(name, task=labelled_card(name).tasks[0])
        assert data.test is not None
        assert np.flatnonzero(data.test).tolist() == list(range(len(data.y) - n_test, len(data.y)))


def test_the_two_scores_of_parkinson_are_those_of_the_same_recordings() -> None:
    motor = load_labelled("parkinson-motor", task="regression")
    total = load_labelled("parkinson-total", task="regression")
    np.testing.assert_array_equal(motor.X, total.X)
    assert (total.y > motor.y).all()  # the motor part is one of several in the total
    assert len(set(total.groups)) == 41
    ages = pd.DataFrame(total.X[:, [0, -1]]).groupby(total.groups).nunique()
    assert (ages == 1).all(axis=None)


def test_groups_of_concrete_and_wine_are_equal_rows() -> None:
    concrete = load_labelled("concrete", task="regression")
    frame = pd.DataFrame(concrete.X[:, :7])
    assert frame.groupby(concrete.groups).nunique().to_numpy().max() == 1
    assert len(set(concrete.groups)) == len(frame.drop_duplicates())
    wine = load_labelled("wine", task="classification")
    repeated = np.isin(wine.groups[wine.test].astype(str), wine.groups[~wine.test].astype(str))
    assert f"{repeated.sum()} of the 1,299" in labelled_card("wine").note


def test_wine_is_marked_alike_in_both_tasks() -> None:
    marks = load_labelled("wine", task="regression")
    classes = load_labelled("wine", task="classification")
    np.testing.assert_array_equal(marks.y[:, 0], np.array(classes.classes[0], dtype=float)[classes.y[:, 0]])
    assert marks.thresholds == (3.5, 4.5, 5.5, 6.5, 7.5, 8.5)


def test_letters_are_those_of_the_file() -> None:
    data = load_labelled("letter", task="classification")
    first = "".join(data.classes[0][k] for k in data.y[:5, 0])
    assert first == "ZPSHH"
    assert data.X[0].astype(int).tolist() == [2, 4, 4, 3, 2, 7, 8, 2, 9, 11, 7, 7, 1, 8, 5, 6]


def test_papalexi_holds_the_counts_its_card_states() -> None:
    counts, obs, genes = read_embedded(papalexi.RESOURCE)
    assert matrix_sha256(counts, obs, genes) == labelled_card("papalexi").sha256
    assert papalexi.RESOURCE.stat().st_size < 1.5e6
    data = load_labelled("papalexi", task="classification")
    assert len(data.classes[0]) == 26
    sizes = dict(zip(data.classes[0], np.bincount(data.y[:, 0]), strict=True))
    assert (sizes["SPI1"], sizes["non-targeting"]) == (48, 2386)
    row, gene = 4, data.features.index("STAT1")
    library = float(obs["response_n_umis"].iloc[row])
    expected = np.log1p(1e4 * counts[row, gene] / library)  # the whole library, not the 299 genes
    assert data.X[row, gene] == pytest.approx(expected, rel=1e-6)
    assert library > counts[row].sum()


def test_the_effect_is_the_difference_of_means_and_its_gene_is_no_feature() -> None:
    every = load_labelled("papalexi", task="classification")
    own = every.X[:, [every.features.index("PSMB9")]].toarray()[:, 0].astype(float)
    effect = load_labelled("papalexi", task="regression")
    assert effect.targets == ("effect on PSMB9",)
    assert "PSMB9" not in effect.features
    control = np.mean([x for x, g in zip(own, effect.groups, strict=True) if g == "non-targeting"])
    for gene in ("STAT1", "SPI1", "non-targeting"):
        here = effect.groups == gene
        mean = np.mean([x for x, inside in zip(own, here, strict=True) if inside])
        np.testing.assert_allclose(effect.y[here, 0], mean - control, atol=1e-6)
    expression = load_labelled("papalexi", task="regression", outcome="expression")
    np.testing.assert_array_equal(expression.y[:, 0], own.astype(np.float32))
    assert expression.X.shape == effect.X.shape == (20729, 298)


def test_papalexi_groups_by_guide() -> None:
    data = load_labelled("papalexi", task="classification", groups="guide")
    assert data.group_name == "guide"
    assert len(set(data.groups)) == 107
    assert data.source["options"] == {"outcome": "effect", "gene": "PSMB9", "groups": "guide"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("concret", {"task": "regression"}), "no labelled data set 'concret'; did you mean 'concrete'"),
        (("concrete", {"task": "classification"}), "has labels for regression, not for classification"),
        (("concrete", {"task": "ranking"}), "task is 'ranking'"),
        (("concrete", {"task": "regression", "path": "x.npz"}), "is embedded and takes no file"),
        (("concrete", {"task": "regression", "outcome": "x"}), "no option 'outcome'.*it has none"),
        (("papalexi", {"task": "regression", "gene": "PSMB8"}), "none of its 299 genes; did you mean 'PSMB9'"),
        (("papalexi", {"task": "regression", "outcome": "effects"}), "did you mean 'effect'"),
        (("papalexi", {"task": "regression", "gen": "PSMB9"}), "no option 'gen'; did you mean 'gene'"),
        (("akana", {"task": "regression"}), "needs the files A375_tpm.npz and A375_labels_and_extras.npz"),
    ],
)
def test_what_is_not_to_be_had_is_said(arguments: tuple[str, dict[str, str]], message: str) -> None:
    name, options = arguments
    with pytest.raises(ValueError, match=message):
        load_labelled(name, **options)


def test_a_recipe_of_other_content_is_refused() -> None:
    source = load_labelled("concrete", task="regression").source
    with pytest.raises(ValueError, match="install the version that wrote the recipe"):
        load_labelled_source({**source, "sha256": "0" * 64})


def test_cards_are_complete() -> None:
    for name in LABELLED:
        known = get_labelled(name).card
        assert known.name == name
        assert all((known.title, known.citation, known.licence, known.origin, known.note, known.tasks))
        assert known.embedded == (known.sha256 is not None) == (known.file_names == ())


def test_listing_imports_nothing_heavy() -> None:
    program = (
        "import sys, pb_data\n"
        "cards = [pb_data.labelled_card(name).title for name in pb_data.labelled_names()]\n"
        "claims = [pb_data.get_fold_rule(name).summary for name in pb_data.fold_names()]\n"
        "print(sorted({'anndata', 'scanpy', 'pandas', 'h5py', 'torch', 'sklearn', 'pyarrow'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_script_embeds_tables(tmp_path: Path, embed: Callable[[str, Path], Path]) -> None:
    rng = np.random.default_rng(0)
    for name in ("CCS", "wine_quality"):
        X = rng.normal(size=(10, 3))
        np.savez(tmp_path / f"{name}.npz", trX=X[:8], trY=X[:8, :1], teX=X[8:], teY=X[8:, :1])
    order = rng.permutation(10)
    people = np.column_stack([[60] * 4 + [61] * 6, rng.normal(size=10), [0] * 7 + [1] * 3])
    np.savez(tmp_path / "parkinson.npz", X=people, y=people[:, :2], ids=order)
    (tmp_path / "letter.dat").write_text("1,2,A\n3,4,Z\n5,6,B\n7,8,C\n9,10,A\n")
    target = embed("embed_tabular.py", tmp_path)
    held = tables.read_table("parkinson", target)
    np.testing.assert_array_equal(held.X, people[order].astype(np.float32))
    np.testing.assert_array_equal(held.groups, np.array([0] * 4 + [1] * 3 + [2] * 3)[order])
    assert held.n_test == 2
    assert tables.read_table("letter", target).y[:, 0].tolist() == [0, 25, 1, 2, 0]


def test_the_script_embeds_the_screen(tmp_path: Path, embed: Callable[[str, Path], Path]) -> None:
    rng = np.random.default_rng(0)
    obs = pd.DataFrame(
        {
            "grna": rng.choice(["a1", "a2"], 200),
            "target": "A",
            "bio_rep": "rep_1",
            "response_n_umis": np.arange(200) + 1000,  # more values than an int8 can number
        },
        index=[f"{i}" for i in range(200)],
    )
    counts = sparse.csr_matrix(rng.poisson(0.7, (200, 9)).astype(np.float32))
    AnnData(counts, obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(9)])).write_h5ad(tmp_path / "x.h5ad")
    kept, columns, _ = read_embedded(embed("embed_papalexi.py", tmp_path / "x.h5ad"))
    np.testing.assert_array_equal(kept.toarray(), counts.toarray())
    assert columns["response_n_umis"].astype(int).tolist() == obs["response_n_umis"].tolist()
