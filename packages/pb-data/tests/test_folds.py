"""Folds of labelled data: what lies where, what they claim, and what cannot be divided."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from pb_data import LabelledData, fold_names, get_fold_rule, inner_folds, load_labelled, make_folds
from pb_data.labelled.fold_rules import most_even

Make = Callable[..., LabelledData]


@pytest.fixture
def make() -> Make:
    """Return a function that draws labelled data: 90 samples of 18 genes with one class a gene, or values."""

    def draw(task: str = "classification", **changes: object) -> LabelledData:
        rng = np.random.default_rng(3)
        gene = np.sort(rng.integers(18, size=90))
        gene[:18] = np.arange(18)
        y = (gene % 3)[:, None] if task == "classification" else rng.normal(size=(90, 2)).astype(np.float32)
        data = LabelledData(
            X=rng.normal(size=(90, 4)).astype(np.float32),
            y=y,
            targets=("a", "b")[: y.shape[1]],
            classes=(("low", "mid", "high"),) if task == "classification" else (),
            features=tuple("wxyz"),
            groups=np.array([f"g{n}" for n in gene], dtype=object),
            test=None,
            task=task,
            name="toy",
            source={"dataset": "toy", "path": "somewhere/toy.csv", "sha256": "0" * 64},
            unscaled=np.zeros(4, dtype=bool),
        )
        return data._replace(**changes)

    return draw


@pytest.mark.parametrize("name", fold_names())
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_every_labelled_row_validates_once_or_tests(make: Make, name: str, task: str) -> None:
    data = make(task)
    folds = make_folds(name, data, n_folds=3, seed=1)
    rest = np.setdiff1d(np.arange(90), folds.test)
    np.testing.assert_array_equal(np.sort(np.concatenate([validation for _, validation in folds.folds])), rest)
    for train, validation in folds.folds:
        np.testing.assert_array_equal(np.union1d(train, validation), rest)
        assert np.intersect1d(train, validation).size == 0
        assert (np.diff(train) > 0).all()
        assert (np.diff(validation) > 0).all()
        assert train.dtype == validation.dtype == folds.test.dtype == np.int64
    assert 0 < folds.test.size < 40


def test_unshuffled_folds_are_runs_after_the_fixed_test_rows(make: Make) -> None:
    test = np.arange(90) % 10 == 4
    folds = make_folds("cells-unshuffled", make("regression", test=test), n_folds=4)
    assert folds.test.tolist() == list(range(4, 90, 10))
    rest = [row for row in range(90) if row % 10 != 4]
    sizes, start = [21, 20, 20, 20], 0  # as scikit-learn's KFold: the first ones take what is left over
    for size, (train, validation) in zip(sizes, folds.folds, strict=True):
        assert validation.tolist() == rest[start : start + size]
        assert train.tolist() == rest[:start] + rest[start + size :]
        start += size
    assert folds.parameters["test"] == "fixed"


def test_a_tenth_is_drawn_where_the_reference_finds_no_test_rows(make: Make) -> None:
    folds = make_folds("cells-unshuffled", make("regression"))
    assert folds.test.size == 9
    assert folds.parameters["test"] == "drawn"
    assert folds.test.tolist() != make_folds("cells-unshuffled", make("regression"), seed=1).test.tolist()


def test_no_gene_lies_in_two_parts_and_sizes_are_even(make: Make) -> None:
    data = make(test=np.arange(90) < 20)  # torn genes: not taken
    folds = make_folds("genes", data, n_folds=3)
    genes = [set(data.groups[rows]) for rows in [folds.test, *(validation for _, validation in folds.folds)]]
    assert sum(map(len, genes)) == len(set.union(*genes)) == 18
    for train, validation in folds.folds:
        assert not set(data.groups[train]) & (set(data.groups[validation]) | genes[0])
    sizes = [validation.size for _, validation in folds.folds]
    assert max(sizes) - min(sizes) <= max(np.unique(data.groups.astype(str), return_counts=True)[1])
    assert folds.claim.startswith("unseen genes: no gene lies in two of training, validation and test")


def test_genes_of_like_values_are_dealt_out(make: Make) -> None:
    data = make("regression")
    gene = np.unique(data.groups.astype(str), return_inverse=True)[1].reshape(-1)
    own = data._replace(y=gene[:, None].astype(np.float32), targets=("a",))
    for seed in range(5):
        folds = make_folds("genes", own, n_folds=3, seed=seed).folds
        means = [np.mean(np.unique(gene[validation])) for _, validation in folds]
        assert max(means) - min(means) < 4  # of 18 values; whole thirds would differ by 12


def test_genes_of_each_class_are_dealt_out(make: Make) -> None:
    data = make()
    for seed in range(5):
        folds = make_folds("genes", data, n_folds=2, seed=seed)
        assert folds.notes == ()
        for train, validation in folds.folds:
            assert set(data.y[train, 0]) == set(data.y[validation, 0]) == {0, 1, 2}


def test_most_even_keeps_its_bound() -> None:
    rng = np.random.default_rng(0)
    for n_parts in (2, 3, 7):
        sizes = np.sort(rng.integers(1, 400, size=25))[::-1]
        totals = np.bincount(most_even(sizes, n_parts, rng), weights=sizes, minlength=n_parts)
        assert np.ptp(totals) <= sizes[0]
        counts = np.bincount(most_even(sizes, n_parts, rng), minlength=n_parts)
        assert np.ptp(counts) <= 1


def test_groups_of_a_class_are_spread() -> None:
    """Three groups of each of seven classes: runs of five would put two of a class into one part now and then."""
    classes = np.repeat(np.arange(7), 3)
    for seed in range(10):
        part = most_even(np.full(21, 4), 5, np.random.default_rng(seed), classes)
        assert sum(len(set(part[classes == k])) == 3 for k in range(7)) >= 6


@pytest.mark.parametrize("per_class", [5, 6, 7, 9])
def test_a_class_of_as_many_groups_as_parts_is_in_every_part(per_class: int) -> None:
    classes = np.repeat(np.arange(3), per_class)
    for seed in range(15):
        rng = np.random.default_rng(seed)
        part = most_even(rng.integers(3, 30, size=len(classes)), 5, rng, classes)
        assert all(len(set(classes[part == number])) == 3 for number in range(5))


def test_other_seeds_part_other_genes(make: Make) -> None:
    tests = {
        tuple(sorted(set(make().groups[make_folds("genes", make(), seed=seed, n_folds=3).test]))) for seed in range(6)
    }
    assert len(tests) > 3


def test_strata_differ_by_at_most_one(make: Make) -> None:
    data = make()
    folds = make_folds("stratified", data, n_folds=4)
    for label in range(3):
        counts = [(data.y[validation, 0] == label).sum() for _, validation in folds.folds]
        assert max(counts) - min(counts) <= 1
    values = make("regression")
    ranks = values.y.argsort(axis=0).argsort(axis=0).mean(axis=1)
    means = [ranks[validation].mean() for _, validation in make_folds("stratified", values, n_folds=2).folds]
    assert abs(means[0] - means[1]) < 4  # of 90 ranks


def test_unlabelled_samples_are_in_no_part_and_counted(make: Make) -> None:
    y = make("regression").y.copy()
    y[:7] = np.nan
    y[8, 0] = np.nan  # the other target is known
    folds = make_folds("cells", make("regression", y=y))
    used = np.concatenate([folds.test, *folds.folds[0]])
    assert sorted(used.tolist()) == list(range(7, 90))
    assert folds.parameters["unlabelled"] == 7
    assert "7 samples without any label are in no part" in folds.claim
    labels = make().y.copy()
    labels[5] = -1
    assert make_folds("stratified", make(y=labels)).parameters["unlabelled"] == 1


def test_claims_count_what_training_has_seen(make: Make) -> None:
    data = make("regression")
    claim = make_folds("cells", data, n_folds=2).claim
    assert "of those validated on are of a gene that trains, too" in claim
    assert "to recognise the gene" not in claim  # values differ within genes
    assert "to recognise the gene is to know them" in make_folds("cells", make()).claim
    alone = data._replace(groups=None)
    assert make_folds("cells", alone).claim.startswith("new rows like those trained on")
    single = data._replace(groups=np.array([f"g{n}" for n in range(90)], dtype=object))
    assert "0 % of those validated on" in make_folds("cells", single).claim


def test_the_hash_holds_everything_but_the_path(make: Make) -> None:
    data = make()
    folds = make_folds("cells", data)
    assert folds.hash == make_folds("cells", data).hash
    moved = data._replace(source={**data.source, "path": "elsewhere/toy.csv"})
    assert make_folds("cells", moved).hash == folds.hash
    changed = data._replace(source={**data.source, "sha256": "1" * 64})
    others = [make_folds("cells", changed), make_folds("cells", data, seed=1), make_folds("stratified", data)]
    assert len({folds.hash, *(other.hash for other in others)}) == 4


def test_folds_of_published_sets_stay_what_they_are() -> None:
    data = load_labelled("concrete", task="regression")
    assert {name: make_folds(name, data).hash[:12] for name in fold_names()} == {
        "cells-unshuffled": "cce305ab8558",
        "cells": "e65cd9c2b05d",
        "stratified": "03b084d4f019",
        "genes": "aa7fa9c9f73a",
    }


@pytest.mark.parametrize("name", fold_names())
def test_inner_folds_stay_inside_the_training_rows(make: Make, name: str) -> None:
    data = make("regression")
    train, validation = make_folds(name, data, n_folds=3).folds[0]
    inner = inner_folds(name, data, train, n_folds=3)
    np.testing.assert_array_equal(np.sort(np.concatenate([rows for _, rows in inner])), train)
    for chosen, held in inner:
        assert np.intersect1d(chosen, held).size == 0
        if get_fold_rule(name).by_group:
            assert not set(data.groups[chosen]) & set(data.groups[held])
    assert not np.isin(validation, np.concatenate(inner[0])).any()


def test_what_cannot_be_divided_is_said(make: Make) -> None:
    few = make("regression")
    rare = make().y.copy()
    rare[:] = 1
    rare[40] = 2
    genes, gene = np.unique(few.groups.astype(str), return_inverse=True)
    recognise = make(y=gene.reshape(-1, 1), classes=(tuple(map(str, genes)),))
    constant = few.y.copy()
    constant[:, 1] = 3
    cases: list[tuple[str, LabelledData, int, str]] = [
        ("gene", few, 5, "no folds 'gene'; did you mean 'genes'"),
        ("cells", few, 1, "1 folds were asked for; cross-validation needs at least 2"),
        ("cells", few, 99, "toy has 72 labelled samples to divide, fewer than the 99 folds"),
        ("genes", few._replace(groups=None), 5, "does not say which gene its samples are of"),
        ("genes", few, 16, r"toy has 1\d labelled genes to divide, fewer than 16 parts"),
        ("cells", make(y=rare), 5, r"fold \d of 'cells' trains on 1 class of target 'a'"),
        (
            "genes",
            recognise,
            3,
            r"only on classes of target 'a' that it does not train on \('g\d+'.*of 1 gene",
        ),
        ("cells", few._replace(y=constant), 5, "trains on fewer than two values of target 'b'"),
    ]
    for name, data, n_folds, message in cases:
        with pytest.raises(ValueError, match=message):
            make_folds(name, data, n_folds=n_folds)


def test_a_class_no_fold_validates_on_is_noted(make: Make) -> None:
    y = make().y.copy()
    y[y == 2] = 1
    y[[10, 30, 50]] = 2
    untested, *notes = make_folds("stratified", make(y=y, test=np.arange(90) == 0), n_folds=5).notes
    assert untested.startswith("no test sample is of '")
    assert "'high' of target 'a' (" in untested
    assert len(notes) == 2
    assert all("validates on no sample of 'high' of target 'a' ('high' has 3 samples of" in note for note in notes)
    y[[30, 50]] = 1
    notes = make_folds("stratified", make(y=y, test=np.arange(90) == 0), n_folds=5).notes
    assert (
        sum("trains on no sample of 'high' of target 'a' ('high' has 1 sample of 1 gene)" in note for note in notes)
        == 1
    )


def test_runs_follow_each_other() -> None:
    data = load_labelled("letter", task="classification")
    parts = [validation for _, validation in make_folds("cells-unshuffled", data).folds]
    assert all(one[-1] + 1 == other[0] for one, other in pairwise(parts))
