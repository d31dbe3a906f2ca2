"""Values equal those of other tools, wherever the definition is the same (data/peers.py made the file)."""

import json
from pathlib import Path

import numpy as np
import pytest
from pb_eval import Reference, classic, distances, evaluate
from pb_eval.deltas import cosine, spearman
from pb_eval.differential import rank_sums, t_test, wilcoxon
from pb_eval.discrimination import share_beaten
from pb_eval.genes import overlap, precision, sign_agreement, strongest
from pb_eval.matrix import moments
from pb_eval.means import pearson, r2_score, resampled_means
from pb_eval.transport import entropic_cost, wasserstein
from sklearn.metrics import average_precision_score, roc_auc_score

SINGLE = 1e-5  # of values that the peer computes in single precision


@pytest.fixture(scope="module")
def peers():
    return json.loads((Path(__file__).parent / "data" / "peers.json").read_text())


@pytest.fixture(scope="module")
def cells(peers):
    groups = {}
    for name in ("ctrl", "stim", "pred"):
        counts = np.array(peers[f"counts_{name}"], dtype=np.float64)
        groups[f"lognorm:{name}"] = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
        groups[f"emb:{name}"] = np.array(peers[f"emb_{name}"])
    return groups


def of_means(function):
    return lambda x, y: float(function(x.mean(axis=0), y.mean(axis=0)))


PERTPY = {
    "edistance": lambda x, y: distances.energy_distance(x, y, "V"),
    "euclidean": distances.euclidean,
    "root_mean_squared_error": distances.euclidean,
    "mse": of_means(lambda x, y: np.mean((x - y) ** 2)),
    "mean_absolute_error": of_means(lambda x, y: np.mean(np.abs(x - y))),
    "pearson_distance": of_means(lambda x, y: 1 - pearson(x, y)),
    "spearman_distance": of_means(lambda x, y: 1 - spearman(x, y)),
    "cosine_distance": of_means(lambda x, y: 1 - cosine(x, y)),
    "r2_distance": of_means(lambda x, y: 1 - r2_score(x, y)),
    "mean_pairwise": distances.mean_pairwise,
    "mmd": lambda x, y: distances.mmd_linear(x, y, "V"),
    "mmd:kernel=rbf,gamma=1.0": lambda x, y: distances.mmd_rbf(x, y, np.sqrt(0.5), "V"),
    "mmd:kernel=rbf,gamma=0.1": lambda x, y: distances.mmd_rbf(x, y, np.sqrt(5), "V"),
    "wasserstein": classic.regularised_cost,
}


@pytest.mark.parametrize("space", ["lognorm", "emb"])
@pytest.mark.parametrize("name", PERTPY)
def test_pertpy(name, space, peers, cells):
    tolerance = {"rel": SINGLE} if name == "wasserstein" else {"rel": 1e-9, "abs": 1e-7}
    for pair, value in peers["pertpy"][f"{space}:{name}"].items():
        first, second = (cells[f"{space}:{group}"] for group in pair.split("-"))
        assert PERTPY[name](first, second) == pytest.approx(value, **tolerance), pair


@pytest.mark.parametrize("space", ["lognorm", "emb"])
@pytest.mark.parametrize("name", ["edistance", "euclidean", "mean_pairwise", "mmd", "wasserstein"])
def test_pertpys_simple_comparison_is_the_ratio_of_the_classic_distances(name, space, peers, cells):
    truth, prediction, control = (cells[f"{space}:{group}"] for group in ("stim", "pred", "ctrl"))
    groups = classic._JointGroups(classic.JointCoordinates(truth, prediction, control))
    ratio = classic._DISTANCES[name](groups, "truth") / classic._DISTANCES[name](groups, "control")
    expected = peers["pertpy_compare"][f"{space}:{name}"]["simple"]
    assert ratio == pytest.approx(expected, rel=SINGLE if name == "wasserstein" else 1e-9)


def test_pot(peers, cells):
    for key, values in peers["pot"].items():
        space, _, pair = key.partition(":")
        x, y = (cells[f"{space}:{group}"] for group in pair.split("-"))
        assert wasserstein(x, y) == pytest.approx(values["exact_W1"], rel=1e-9)
        assert wasserstein(x, y, 2) ** 2 == pytest.approx(values["exact_W2_squared"], rel=1e-9)
        cost = entropic_cost(x, y, values["eps_0p05_std_cost"])
        assert cost == pytest.approx(values["sinkhorn_cost_plus_eps_KL"], rel=1e-7)


def test_the_reference_benchmarks_resampled_correlations(peers, cells):
    truth, prediction = cells["lognorm:stim"], cells["lognorm:pred"]
    genes = [f"g{i}" for i in range(20)]
    reference = Reference(truth, cells["lognorm:ctrl"], genes)
    means = resampled_means(truth), resampled_means(prediction)
    for k, expected in peers["get_pearson2"].items():
        chosen = reference.top_genes(int(k))
        squares = pearson(*(group[:, chosen] for group in means)) ** 2
        assert squares == pytest.approx(np.array(expected["values"]), rel=1e-6)
    found = evaluate(prediction, reference, ["r2_mean_all_resampled", "r2_score_mean"])
    assert found["r2_mean_all_resampled"] == pytest.approx(peers["get_pearson2"]["20"]["mean"], rel=1e-6)


@pytest.mark.parametrize("name", ["t-test", "wilcoxon", "wilcoxon_tie"])
def test_scanpy(name, peers, cells):
    control = cells["lognorm:ctrl"].astype(np.float32)
    for group, key in (("stimulated", "stim"), ("pred", "pred")):
        expression = cells[f"lognorm:{key}"].astype(np.float32)
        if name == "t-test":
            test = t_test(moments(expression), moments(control))
        else:
            test = wilcoxon(rank_sums(expression, control), tie_correct=name == "wilcoxon_tie")
        table = peers["scanpy"][name][group]
        order = [int(gene.removeprefix("g")) for gene in table["names"]]
        assert test.score[order] == pytest.approx(np.array(table["scores"]), rel=SINGLE, abs=1e-6)
        assert test.pvalue[order] == pytest.approx(np.array(table["pvals"]), rel=1e-4)


def number(value):
    """A number; what JSON has no word for is written {"nonfinite": "inf"}."""
    return float(value["nonfinite"] if isinstance(value, dict) else value)


def tables(peers, name):
    """Gene by gene, in truth and in prediction: significance, log fold change and q-value of one perturbation."""
    sides = []
    for side in ("real_de", "pred_de"):
        table = peers[side]
        rows = [i for i, target in enumerate(table["target"]) if target == name]
        genes = [table["feature"][i] for i in rows]
        order = np.argsort(genes)
        values = {key: np.array([number(table[key][i]) for i in rows])[order] for key in ("log2_fold_change", "fdr")}
        sides.append((np.flatnonzero(values["fdr"] < 0.05), values))
    return sorted(genes), sides


@pytest.mark.parametrize("larger", [False, True])
def test_cell_evals_gene_sets(larger, peers):
    """Its precision holds the predicted genes against as many of the true ones, not against all."""
    case, compared = peers["larger"] if larger else peers, []
    for row in case["cell_eval"]:
        genes, ((truth, real), (predicted, fold)) = tables(case, row["perturbation"])
        if not truth.size:
            continue
        true_fold, own_fold = real["log2_fold_change"], fold["log2_fold_change"]
        assert overlap(truth, predicted) == pytest.approx(row["de_sig_genes_recall"])
        best = strongest(predicted, own_fold, genes, truth.size)
        assert overlap(truth, best) == pytest.approx(row["overlap_at_N"])
        as_many = strongest(truth, true_fold, genes, predicted.size)
        assert (np.isin(predicted, as_many).mean() if predicted.size else 0) == pytest.approx(row["precision_at_N"])
        assert sign_agreement(true_fold[truth], own_fold[truth]) == pytest.approx(row["de_direction_match"])
        if truth.size > 1:
            assert spearman(true_fold[truth], own_fold[truth]) == pytest.approx(row["de_spearman_lfc_sig"])
        labels = real["fdr"] < 0.05
        score = -np.log10(fold["fdr"])
        assert roc_auc_score(labels, score) == pytest.approx(row["roc_auc"])
        assert average_precision_score(labels, score) == pytest.approx(row["pr_auc"])
        compared.append(precision(truth, predicted) - row["precision_at_N"])
    assert len(compared) > 3
    assert max(compared) == pytest.approx(0.2 if larger else 0.0)


def test_cell_evals_errors_of_means(peers):
    for row in peers["cell_eval"]:
        real, predicted = (np.array(peers[f"panel_{side}"][row["perturbation"]]) for side in ("real", "pred"))
        assert np.mean((real - predicted) ** 2) == pytest.approx(row["mse"], rel=1e-6)
        assert np.mean(np.abs(real - predicted)) == pytest.approx(row["mae"], rel=1e-6)
        controls = (np.array(peers[f"panel_{side}"]["non-targeting"]) for side in ("real", "pred"))
        shifts = [mean - control for mean, control in zip((real, predicted), controls, strict=True)]
        assert pearson(*shifts) == pytest.approx(row["pearson_delta"], rel=1e-6)


@pytest.mark.parametrize("distance", ["l1", "l2", "cosine"])
def test_discrimination_scores(distance, peers):
    """cell-eval2 leaves all targets out, on measured controls; cell-eval the unit's own, each side on its control."""
    names = sorted(name for name in peers["panel_real"] if name != "non-targeting")
    targets = [int(name.removeprefix("g")) for name in names]
    shifts = {
        side: {name: np.subtract(panel[name], panel["non-targeting"]) for name in names}
        for side, panel in (("real", peers["panel_real"]), ("pred", peers["panel_pred"]))
    }
    measured = {name: np.subtract(peers["panel_pred"][name], peers["panel_real"]["non-targeting"]) for name in names}
    second = {row["perturbation"]: row["value"] for row in peers["cell_eval2"] if row["metric"] == f"pds_{distance}"}
    first = {row["perturbation"]: row[f"discrimination_score_{distance}"] for row in peers["cell_eval"]}
    assert len(set(second.values())) > 1
    for name, target in zip(names, targets, strict=True):
        others = np.stack([shifts["real"][other] for other in names if other != name])
        for predicted, left_out, expected in (
            (measured[name], targets, second[name]),
            (shifts["pred"][name], target, 1 - (1 - first[name]) * len(names) / len(others)),
        ):
            counted = np.ones(others.shape, dtype=bool)
            counted[:, left_out] = False
            score = share_beaten(predicted, shifts["real"][name], others, counted, distance)
            assert score == pytest.approx(expected), name
