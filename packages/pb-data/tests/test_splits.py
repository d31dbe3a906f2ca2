"""Splits: what is in each part, that parts stay apart, and that they are the same everywhere."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pb_data import (
    Keys,
    PerturbationData,
    Split,
    contexts,
    get_split,
    load,
    make_split,
    read_manifest,
    resolve_context,
    resolve_unit,
    split_names,
    split_units,
    write_manifest,
)
from pb_data.units import listing

OTHER = {"controls": "disjoint", "seed": 3, "target_controls": "input-only"}
PARTS = ("train", "validation", "input_control", "reference_control", "truth")


def rows(data: PerturbationData, context: str, *, control: bool) -> set[int]:
    obs = data.adata.obs.reset_index()
    chosen = (obs["cell_type"] == context) & ((obs["condition"] == "control") == control)
    return set(np.flatnonzero(chosen).tolist())


def parts(split: Split) -> dict[str, set[int]]:
    return {part: set(getattr(split, part).tolist()) for part in PARTS}


def test_leave_context_out_by_default(make_data: Callable[..., PerturbationData]) -> None:
    data = make_data()
    split = make_split("leave-context-out", data, held_out="B")
    found = parts(split)
    assert found["truth"] == rows(data, "B", control=False)
    assert found["input_control"] == found["reference_control"] == rows(data, "B", control=True)
    assert found["train"] | found["validation"] == set(range(data.adata.n_obs)) - found["truth"]
    assert not found["train"] & found["validation"]
    assert "unseen context, seen perturbation" in split.claim
    assert "'B'" in split.claim


def test_input_only_controls_do_not_train(make_data: Callable[..., PerturbationData]) -> None:
    data = make_data()
    found = parts(make_split("leave-context-out", data, held_out="B", target_controls="input-only"))
    everything = set(range(data.adata.n_obs))
    assert found["train"] | found["validation"] == everything - rows(data, "B", control=True) - found["truth"]
    assert found["input_control"] == rows(data, "B", control=True)


@pytest.mark.parametrize("target_controls", ["train+input", "input-only"])
def test_disjoint_controls_are_halved(make_data: Callable[..., PerturbationData], target_controls: str) -> None:
    data = make_data()
    split = make_split("leave-context-out", data, held_out="A", controls="disjoint", target_controls=target_controls)
    found = parts(split)
    assert found["input_control"] | found["reference_control"] == rows(data, "A", control=True)
    assert (len(found["input_control"]), len(found["reference_control"])) == (12, 11)
    fitted = found["train"] | found["validation"]
    assert not found["reference_control"] & (fitted | found["input_control"])
    assert (found["input_control"] <= fitted) == (target_controls == "train+input")


def test_random_trains_on_the_other_half_and_says_so(make_data: Callable[..., PerturbationData]) -> None:
    data = make_data()
    split = make_split("random", data, held_out="B")
    found = parts(split)
    perturbed = rows(data, "B", control=False)
    assert found["truth"] < perturbed
    assert len(found["truth"]) == len(perturbed) // 2
    assert perturbed - found["truth"] <= found["train"] | found["validation"]
    assert "leaky" in split.claim


def test_validation_is_stratified(make_data: Callable[..., PerturbationData]) -> None:
    groups = {
        (context, label): n
        for context, n in {"A": 40, "B": 20, "C": 3, "D": 1}.items()
        for label in ("control", "drug")
    }
    data = make_data(groups)
    split = make_split("leave-context-out", data, held_out="B", validation_fraction=0.25)
    obs = data.adata.obs.iloc[split.validation]
    counted = obs.groupby(["cell_type", "condition"]).size().to_dict()
    # a quarter of 40, of 20 and of 3 (rounded); of a single cell nothing is taken away
    assert counted == {
        ("A", "control"): 10,
        ("A", "drug"): 10,
        ("B", "control"): 5,
        ("C", "control"): 1,
        ("C", "drug"): 1,
    }


def test_no_validation_when_none_is_asked(make_data: Callable[..., PerturbationData]) -> None:
    data = make_data()
    split = make_split("leave-context-out", data, held_out="B", validation_fraction=0)
    training, mask = split.training(data.adata)
    assert split.validation.size == 0
    assert not mask.any()
    assert training.n_obs == split.train.size


def test_training_cells_come_in_order_with_their_mask(make_data: Callable[..., PerturbationData]) -> None:
    data = make_data()
    split = make_split("leave-context-out", data, held_out="C", seed=3)
    training, mask = split.training(data.adata)
    expected = sorted([*split.train.tolist(), *split.validation.tolist()])
    assert training.obs_names.tolist() == data.adata.obs_names[expected].tolist()
    assert training.obs_names[mask].tolist() == data.adata.obs_names[split.validation].tolist()
    assert mask.dtype == bool
    with pytest.raises(ValueError, match="was drawn from 99 cells of 'toy', not 98"):
        split.training(data.adata[:98])


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["leave-context-out", "random"]),
    sizes=st.lists(st.integers(2, 9), min_size=4, max_size=8),
    seed=st.integers(0, 2**31),
    fraction=st.floats(0, 0.95),
    target_controls=st.sampled_from(["train+input", "input-only"]),
    controls=st.sampled_from(["shared", "disjoint"]),
)
def test_parts_stay_apart_whatever_the_data(
    make_data: Callable[..., PerturbationData],
    name: str,
    sizes: list[int],
    seed: int,
    fraction: float,
    target_controls: str,
    controls: str,
) -> None:
    groups = {(f"c{i // 2}", "control" if i % 2 else "drug"): n for i, n in enumerate(sizes[: len(sizes) // 2 * 2])}
    data = make_data(groups, n_genes=2)
    options = {
        "held_out": "c0",
        "seed": seed,
        "validation_fraction": fraction,
        "target_controls": target_controls,
        "controls": controls,
    }
    split = make_split(name, data, **options)
    found = parts(split)
    fitted = found["train"] | found["validation"]
    assert not found["train"] & found["validation"]
    assert not found["truth"] & (fitted | found["input_control"] | found["reference_control"])
    assert found["truth"] <= rows(data, "c0", control=False)
    assert found["input_control"] | found["reference_control"] <= rows(data, "c0", control=True)
    if controls == "disjoint":
        assert not found["reference_control"] & (fitted | found["input_control"])
    assert make_split(name, data, **options).hash == split.hash


def test_the_seed_decides(make_data: Callable[..., PerturbationData]) -> None:
    data = make_data()
    one, same, other = (make_split("leave-context-out", data, held_out="B", seed=seed) for seed in (1, 1, 2))
    assert one.hash == same.hash != other.hash
    assert one.validation.tolist() != other.validation.tolist()


def test_the_hash_follows_everything(make_data: Callable[..., PerturbationData]) -> None:
    data = make_data()
    changed = [
        data,
        data._replace(source={**data.source, "sha256": "1" * 64}),
        data._replace(source={**data.source, "options": {"singlets": False}}),
        data._replace(name="other"),
    ]
    hashes = {make_split("leave-context-out", d, held_out="B").hash for d in changed}
    hashes |= {make_split("leave-context-out", data, held_out=name).hash for name in "AC"}
    assert len(hashes) == 6
    moved = data._replace(source={**data.source, "path": "/elsewhere/toy.h5ad"})
    assert make_split("leave-context-out", moved, held_out="B").hash in hashes


def test_a_known_split_has_its_known_hash() -> None:
    split = Split(
        name="leave-context-out",
        dataset="toy",
        held_out="β cells",
        claim="none",
        parameters={"seed": 1, "validation_fraction": 0.1},
        source={"sha256": "0"},
        train=np.array([0, 3]),
        validation=np.array([], dtype=np.int32),
        input_control=np.array([3]),
        reference_control=np.array([3]),
        truth=np.array([4, 5], dtype=np.int16),
    )
    text = (
        '{"claim":"none","dataset":"toy","held_out":"β cells","input_control":[3],"name":"leave-context-out",'
        '"parameters":{"seed":1,"validation_fraction":0.1},"reference_control":[3],"source":{"sha256":"0"},'
        '"train":[0,3],"truth":[4,5],"validation":[]}'
    )
    import hashlib

    assert split.hash == hashlib.sha256(text.encode()).hexdigest()
    assert {getattr(split, part).dtype for part in PARTS} == {np.dtype(np.int64)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"validation": [1, 2]}, "2 cells are in both train and validation"),
        ({"truth": [2, 9]}, "1 cells are in both train and truth"),
        ({"truth": [5, 9]}, "1 cells are in both input_control and truth"),
        ({"truth": [6, 9], "reference_control": [6]}, "1 cells are in both reference_control and truth"),
        ({"reference_control": [5, 6]}, "in both input_control and reference_control"),
        ({"reference_control": [2]}, "in both train and reference_control"),
        ({"train": [2, 1]}, "rows of train have to be sorted, unique"),
        ({"truth": [9, 9]}, "rows of truth have to be sorted, unique"),
        ({"train": [-1, 1]}, "rows of train have to be sorted, unique and not negative"),
        ({"truth": []}, "has no truth cells"),
        ({"train": []}, "has no train cells"),
    ],
)
def test_a_split_that_leaks_cannot_be_built(change: dict[str, list[int]], message: str) -> None:
    cells = {
        "train": [1, 2],
        "validation": [3],
        "input_control": [5],
        "reference_control": [6],
        "truth": [8, 9],
    } | change
    with pytest.raises(ValueError, match=message):
        Split("x", "toy", "B", "claim", {"controls": "disjoint"}, {}, **{k: np.array(v, int) for k, v in cells.items()})


def test_the_arrays_cannot_be_changed(make_data: Callable[..., PerturbationData]) -> None:
    split = make_split("leave-context-out", make_data(), held_out="B")
    with pytest.raises(ValueError, match="read-only"):
        split.truth[0] = 0


@pytest.mark.parametrize("name", split_names())
def test_every_split_says_what_it_supports(name: str) -> None:
    first = get_split(name).summary
    assert first.startswith("Hold out")
    assert ":" in first


def test_misspelt_names_are_answered_with_the_nearest(make_data: Callable[..., PerturbationData]) -> None:
    data = make_data()
    with pytest.raises(ValueError, match=r"no split 'leave-contxt-out'; did you mean 'leave-context-out'"):
        make_split("leave-contxt-out", data, held_out="B")
    with pytest.raises(ValueError, match="target_controls is 'train'; did you mean 'train\\+input'"):
        make_split("random", data, held_out="B", target_controls="train")
    with pytest.raises(ValueError, match=r"controls is 'both' \(choose from: shared, disjoint"):
        make_split("random", data, held_out="B", controls="both")
    with pytest.raises(ValueError, match="validation_fraction is 1"):
        make_split("random", data, held_out="B", validation_fraction=1)
    with pytest.raises(ValueError, match=r"no context 'nk cell'; did you mean 'NK cells'"):
        resolve_context(load("pbmc"), "nk cell")


def test_contexts_by_name_and_index(make_data: Callable[..., PerturbationData]) -> None:
    data = make_data(
        {
            ("B", "control"): 3,
            ("B", "drug"): 3,
            ("A", "drug"): 3,
            ("C", "control"): 3,
            ("1", "control"): 2,
            ("1", "drug"): 2,
        }
    )
    assert contexts(data) == ["1", "B"]
    assert resolve_context(data, "1") == "1"
    assert resolve_context(data, 0) == "1"
    assert resolve_context(data, 1) == "1"  # a name comes before an index
    for name, side in (("A", "control"), ("C", "perturbed")):
        with pytest.raises(ValueError, match=f"context '{name}' of 'toy' has no {side} cells"):
            resolve_context(data, name)
    with pytest.raises(ValueError, match=r"no context '7' \(contexts: 0 1, 1 B\)"):
        resolve_context(data, 7)


def test_extreme_contexts(make_data: Callable[..., PerturbationData]) -> None:
    lonely = make_data({("A", "control"): 5, ("A", "drug"): 5, ("B", "control"): 4})
    with pytest.raises(ValueError, match="'A' is the only context of 'toy' with control and perturbed cells"):
        make_split("leave-context-out", lonely, held_out="A")
    assert make_split("random", lonely, held_out="A").truth.size == 3
    single = make_data({("A", "control"): 1, ("A", "drug"): 1, ("B", "control"): 5, ("B", "drug"): 5})
    split = make_split("leave-context-out", single, held_out="A")
    assert split.counts | {"train": 0, "validation": 0} == dict.fromkeys(PARTS, 1) | {"train": 0, "validation": 0}
    with pytest.raises(ValueError, match="'A' has 1 control cell; disjoint"):
        make_split("leave-context-out", single, held_out="A", controls="disjoint")
    with pytest.raises(ValueError, match="'A' has 1 perturbed cell; halving"):
        make_split("random", single, held_out="A")
    with pytest.raises(ValueError, match="no context"):
        make_split("random", make_data({("A", "control"): 3}), held_out="Z")


def test_all_doses_and_perturbations_of_the_context_are_held_out(make_data: Callable[..., PerturbationData]) -> None:
    groups = {(context, label): 4 for context in "AB" for label in ("control", "x", "y")}
    data = make_data(groups, keys=Keys("cell_type", "condition", "control", "counts", dose="dose"))
    dose = {"control": 0.0, "x": 1.0, "y": 5.0}
    data.adata.obs["dose"] = [dose[label] for label in data.adata.obs["condition"]]
    split = make_split("leave-context-out", data, held_out="B")
    assert set(data.adata.obs["condition"].iloc[split.truth]) == {"x", "y"}
    assert split.truth.size == 8


def dosed(make_data: Callable[..., PerturbationData], groups: dict[tuple[str, str, float], int]) -> PerturbationData:
    """Draw cells by (context, perturbation, dose)."""
    data = make_data(
        {(context, f"{label} {dose}"): n for (context, label, dose), n in groups.items()},
        keys=Keys("cell_type", "condition", "control", "counts", dose="dose"),
    )
    split = data.adata.obs["condition"].str.rsplit(" ", n=1, expand=True)
    data.adata.obs["condition"], data.adata.obs["dose"] = split[0], split[1].astype(float)
    return data


def shown_by_loops(data: PerturbationData, split: Split) -> set[int]:
    """Truth rows whose condition a fitted cell has in a context where a fitted control is."""
    obs, keys = data.adata.obs, data.keys
    columns = [keys.perturbation] if keys.dose is None else [keys.perturbation, keys.dose]
    fitted = sorted(parts(split)["train"] | parts(split)["validation"])
    control = keys.is_control(obs)
    with_controls = {obs[keys.context].iloc[i] for i in fitted if control[i]}
    shown = {
        tuple(obs[columns].iloc[i]) for i in fitted if not control[i] and obs[keys.context].iloc[i] in with_controls
    }
    return {
        i
        for i in range(len(obs))
        if obs[keys.context].iloc[i] == split.held_out and not control[i] and tuple(obs[columns].iloc[i]) in shown
    }


@pytest.mark.parametrize("options", [{}, {"target_controls": "input-only"}, {"controls": "disjoint"}])
def test_conditions_that_no_training_context_shows_are_left_out(
    make_data: Callable[..., PerturbationData], options: dict[str, str]
) -> None:
    groups = {(context, "control"): 6 for context in "AB"} | {("A", "x"): 5, ("B", "x"): 7, ("B", "y"): 4}
    groups |= {("B", "z"): 3, ("C", "z"): 8}  # z was measured elsewhere, but without controls
    data = make_data(groups)
    split = make_split("leave-context-out", data, held_out="B", **options)
    assert split.parameters["dropped_conditions"] == ["y", "z"]
    assert split.claim.endswith("; left out, since no training context with control cells shows them: 'y', 'z'")
    assert set(split.truth.tolist()) == shown_by_loops(data, split)
    assert set(data.adata.obs["condition"].iloc[split.truth]) == {"x"}
    used = set.union(*parts(split).values())
    left_out = set(np.flatnonzero((data.adata.obs["cell_type"] == "B") & data.adata.obs["condition"].isin(["y", "z"])))
    assert len(left_out) == 7
    assert not used & left_out
    assert "dropped_conditions" not in make_split("leave-context-out", data, held_out="A", **options).parameters


def test_a_dose_that_no_training_context_shows_is_left_out(make_data: Callable[..., PerturbationData]) -> None:
    groups = {(context, "control", 0.0): 5 for context in "AB"} | {("A", "x", 1.0): 5, ("A", "w", 10.0): 2}
    groups |= {("B", "x", 1.0): 4, ("B", "x", 10.0): 3, ("B", "x", 2.5): 3}
    data = dosed(make_data, groups)
    split = make_split("leave-context-out", data, held_out="B")
    assert split.parameters["dropped_conditions"] == ["x at 2.5", "x at 10"]
    assert set(split.truth.tolist()) == shown_by_loops(data, split)
    assert split.truth.size == 4


def test_dropped_conditions_are_part_of_the_hash(make_data: Callable[..., PerturbationData], tmp_path: Path) -> None:
    groups = {(context, "control"): 6 for context in "AB"} | {("A", "x"): 5, ("B", "x"): 7, ("B", "y"): 4}
    split = make_split("leave-context-out", make_data(groups), held_out="B")
    content = split.to_dict()
    content["parameters"] = {**content["parameters"], "dropped_conditions": ["q"]}
    assert Split.from_dict(content).hash != split.hash
    write_manifest(split, tmp_path / "split.json")
    assert read_manifest(tmp_path / "split.json").parameters == split.parameters


def test_nothing_left_to_predict_is_refused(make_data: Callable[..., PerturbationData]) -> None:
    groups = {(context, "control"): 4 for context in "AB"} | {("A", "x"): 5, ("B", "y"): 6}
    with pytest.raises(
        ValueError, match=r"none of the perturbations of 'B' \('y'\) was measured in a training context"
    ):
        make_split("leave-context-out", make_data(groups), held_out="B")
    assert make_split("random", make_data(groups), held_out="B").truth.size == 3
    with pytest.raises(ValueError, match=r"none of the perturbations of 'B' .*; hold out another context"):
        make_split("random", make_data(groups), held_out="B", target_controls="input-only")


def test_manifest_round_trip(make_data: Callable[..., PerturbationData], tmp_path: Path) -> None:
    split = make_split("random", make_data(), held_out="B", seed=5)
    write_manifest(split, tmp_path / "split.json")
    again = read_manifest(tmp_path / "split.json")
    assert again.hash == split.hash
    assert again.to_dict() == split.to_dict()
    assert [path.name for path in tmp_path.iterdir()] == ["split.json"]


def test_a_changed_manifest_is_refused(make_data: Callable[..., PerturbationData], tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    write_manifest(make_split("random", make_data(), held_out="B"), path)
    content = json.loads(path.read_text())
    moved = content["split"]["train"].pop()
    path.write_text(json.dumps(content))
    assert moved not in content["split"]["truth"]
    with pytest.raises(ValueError, match="was changed after it was written"):
        read_manifest(path)
    path.write_text(json.dumps({**content, "manifest_version": 99}))
    with pytest.raises(ValueError, match="manifest version 99"):
        read_manifest(path)
    for text, problem in (("{", "not JSON"), ("[]", "it needs manifest_version")):
        path.write_text(text)
        with pytest.raises(ValueError, match=f"no split manifest.*{problem}"):
            read_manifest(path)


def test_pbmc_counts_of_each_held_out_type() -> None:
    data = load("pbmc")
    cells = data.adata.obs.groupby(["cell_type", "condition"], observed=True).size()
    for name in contexts(data):
        split = make_split("leave-context-out", data, held_out=name)
        assert split.truth.size == cells[name, "stimulated"]
        assert split.input_control.size == cells[name, "control"]
        assert split.train.size + split.validation.size == data.adata.n_obs - split.truth.size
        assert "dropped_conditions" not in split.parameters


@pytest.mark.parametrize(
    ("name", "options", "known"),
    [
        ("leave-context-out", {}, "e56b44657c907b3d1ce2bccfa505cf2c63eece333b099d791d576c0547db888b"),
        ("leave-context-out", OTHER, "44c79f2da1baf26ea3f3b0002ca5c27b17a59a919c2989efcfc5a0ec323076dc"),
        ("random", {}, "cf29ecb020fb74ef020e14bc213c8558eb563735f77136c524a1533c5e636cf5"),
        ("random", OTHER, "41a1b435fd118b6b65870bf201026be5c820e4b2f4a88a0498074677e8430f38"),
    ],
)
def test_pbmc_splits_have_their_known_hashes(name: str, options: dict[str, object], known: str) -> None:
    assert make_split(name, load("pbmc"), held_out="B cells", **options).hash == known


@pytest.mark.parametrize("name", split_names())
def test_every_split_says_what_it_can_hold_out(name: str) -> None:
    rule = get_split(name)
    assert rule.unseen in ("context", "dose", "perturbation", "nothing")
    if rule.unseen in ("context", "nothing"):
        assert split_units(name, load("pbmc")) == contexts(load("pbmc"))
        assert resolve_unit(name, load("pbmc"), 4) == "Dendritic cells"
        with pytest.raises(ValueError, match="no context 'nk cell'; did you mean 'NK cells'"):
            resolve_unit(name, load("pbmc"), "nk cell")


def test_long_lists_of_units_are_cut() -> None:
    listed = listing([f"drug{i}" for i in range(32)])
    assert listed.startswith("0 drug0, 1 drug1, ")
    assert listed.endswith(", 29 drug29 and 2 more")
