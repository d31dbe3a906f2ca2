"""Leaving a dose out: exact parts, what the claim says of the doses around it, and what the data must have."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pb_data import PerturbationData, Split, make_split, resolve_unit, split_units

Make = Callable[..., PerturbationData]
Describe = Callable[[PerturbationData, Split], dict[str, set[tuple[object, ...]]]]

ONE_DRUG = {
    (context, "drug" if dose else "control", dose): 4 for context in ("A", "B") for dose in (0.0, 0.1, 1.0, 10.0)
}
GOLDEN = "f94144269b1b31df4a3419f35b5c297a83755a158b1f7defe1f9b3265b8f7706"
TWO_DRUGS = {
    ("A", "control", 0.0): 5,
    ("A", "x", 1.0): 3,
    ("A", "x", 10.0): 3,
    ("A", "x", 100.0): 3,
    ("A", "y", 10.0): 3,
    ("A", "y", 100.0): 3,
    ("A", "z", 10.0): 3,
}


def test_units_are_the_doses_in_the_order_of_numbers(make_labelled: Make) -> None:
    data = make_labelled(ONE_DRUG)
    assert split_units("leave-dose-out", data) == ["0.1", "1", "10"]
    assert resolve_unit("leave-dose-out", data, "10") == "10"
    assert resolve_unit("leave-dose-out", data, 1) == resolve_unit("leave-dose-out", data, "1.0") == "1"
    for wrong in ("2", "high"):  # no index: a number that is no dose is a mistake
        with pytest.raises(ValueError, match=rf"of 'toy' has no dose '{wrong}' to hold out \(doses: 0.1, 1, 10\)"):
            resolve_unit("leave-dose-out", data, wrong)


def test_all_cells_at_the_dose_are_truth_and_everything_else_trains(make_labelled: Make, described: Describe) -> None:
    data = make_labelled(ONE_DRUG)
    split = make_split("leave-dose-out", data, held_out="1")
    found = described(data, split)
    assert found["truth"] == {("A", "drug", 1.0), ("B", "drug", 1.0)}
    assert found["fitted"] == set(ONE_DRUG) - found["truth"]
    assert found["input"] == found["reference"] == {("A", "control", 0.0), ("B", "control", 0.0)}
    assert split.counts["truth"] == 8
    assert split.counts["train"] + split.counts["validation"] == 24
    assert split.held_out == "1"
    assert split.parameters["nearest_doses"] == {"drug": [0.1, 10.0]}


@pytest.mark.parametrize(
    ("dose", "words"),
    [
        ("1", "interpolation: 0.1 and 10 were seen"),
        ("0.1", "extrapolation: the lowest seen is 1"),
        ("10", "extrapolation: the highest seen is 1"),
    ],
)
def test_the_claim_says_whether_the_dose_lies_between_seen_ones(make_labelled: Make, dose: str, words: str) -> None:
    claim = make_split("leave-dose-out", make_labelled(ONE_DRUG), held_out=dose).claim
    assert claim == f"unseen dose ({words}), seen contexts: the cells at dose {dose} were held out in 'A', 'B'"


def test_perturbations_with_other_doses_are_told_apart(make_labelled: Make) -> None:
    split = make_split("leave-dose-out", make_labelled(TWO_DRUGS), held_out="10")
    assert split.parameters["nearest_doses"] == {"x": [1.0, 100.0], "y": [None, 100.0], "z": [None, None]}
    assert split.claim.startswith(
        "unseen dose (for 'x' interpolation: 1 and 100 were seen; for 'y' extrapolation: the lowest seen is 100; "
        "for 'z' no other was seen), seen context: "
    )


def test_a_context_that_shows_no_other_dose_is_named(make_labelled: Make) -> None:
    data = make_labelled(ONE_DRUG | {("C", "control", 0.0): 3, ("C", "drug", 10.0): 3})
    claim = make_split("leave-dose-out", data, held_out="10").claim
    assert "seen contexts (but no perturbed cell of 'C' was): " in claim


def test_a_dose_without_controls_beside_it_is_in_no_part(make_labelled: Make, described: Describe) -> None:
    data = make_labelled(ONE_DRUG | {("C", "drug", 1.0): 3, ("C", "drug", 10.0): 3, ("C", "drug", 50.0): 2})
    assert "50" not in split_units("leave-dose-out", data)
    found = described(data, make_split("leave-dose-out", data, held_out="1"))
    assert ("C", "drug", 1.0) not in set.union(*found.values())
    assert ("C", "drug", 10.0) in found["fitted"]


def test_a_vehicle_labelled_with_the_drugs_name_stays_a_control(make_labelled: Make, described: Describe) -> None:
    data = make_labelled({("A", "drug", dose): 4 for dose in (0.0, 1.0, 2.0, 3.0)})
    found = described(data, make_split("leave-dose-out", data, held_out="2"))
    assert found["input"] == {("A", "drug", 0.0)} <= found["fitted"]
    assert split_units("leave-dose-out", data) == ["1", "2", "3"]


def test_doses_equal_to_fifteen_digits_are_one_unit(make_labelled: Make) -> None:
    groups = {("A", "control", 0.0): 4, ("A", "x", 0.3): 3, ("A", "x", 0.1 + 0.2): 2, ("A", "x", 1.0): 3}
    data = make_labelled(groups)
    assert make_split("leave-dose-out", data, held_out="0.3").truth.size == 5


def test_disjoint_controls_are_halved_in_each_context(make_labelled: Make) -> None:
    groups = {("A", "control", 0.0): 7, ("B", "control", 0.0): 4}
    groups |= {(context, "x", dose): 3 for context in "AB" for dose in (1.0, 2.0)}
    data = make_labelled(groups)
    split = make_split("leave-dose-out", data, held_out="2", controls="disjoint", seed=4)
    context = data.adata.obs["cell_type"].to_numpy()
    assert sorted(context[split.input_control]) == list("AAAABB")
    assert sorted(context[split.reference_control]) == list("AAABB")
    assert not set(split.reference_control) & {*split.input_control, *split.train, *split.validation}
    few = make_labelled({**groups, ("B", "control", 0.0): 1})
    with pytest.raises(ValueError, match="'B' has 1 control cell; disjoint"):
        make_split("leave-dose-out", few, held_out="2", controls="disjoint")


def test_input_only_needs_another_context(make_labelled: Make, described: Describe) -> None:
    with pytest.raises(
        ValueError, match=r"'1' was measured in every context of 'toy', so target_controls 'input-only' leaves no contr"
    ):
        make_split("leave-dose-out", make_labelled(ONE_DRUG), held_out="1", target_controls="input-only")
    data = make_labelled(ONE_DRUG | {("C", "control", 0.0): 3, ("C", "drug", 10.0): 3})
    split = make_split("leave-dose-out", data, held_out="1", target_controls="input-only")
    fitted = described(data, split)["fitted"]
    assert {label for label in fitted if label[1] == "control"} == {("C", "control", 0.0)}
    assert split.claim.endswith("in 'A', 'B', whose control cells were only predicted from")
    assert split.parameters["nearest_doses"] == {"drug": [None, 10.0]}  # 0.1 was seen beside no control that trained


def test_data_that_cannot_have_the_split_say_why(make_labelled: Make) -> None:
    plain = make_labelled({("A", "control"): 3, ("A", "x"): 3})
    with pytest.raises(ValueError, match="data set 'toy' names no dose column, so it has no dose to hold out"):
        split_units("leave-dose-out", plain)
    lone = make_labelled({("A", "control", 0.0): 3, ("A", "x", 1.0): 3})
    with pytest.raises(
        ValueError, match=r"holding '1' out of 'toy' leaves no perturbed cell .*; hold out another unit$"
    ):
        make_split("leave-dose-out", lone, held_out="1")


def test_known_doses_have_a_known_hash(make_labelled: Make) -> None:
    data = make_labelled(ONE_DRUG)
    assert make_split("leave-dose-out", data, held_out="1", seed=7, controls="disjoint").hash == GOLDEN


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(0, 5), min_size=9, max_size=9),
    seed=st.integers(0, 2**31),
    unit=st.integers(0, 2),
    controls=st.sampled_from(["shared", "disjoint"]),
)
def test_no_cell_at_the_dose_is_fitted_whatever_the_data(
    make_labelled: Make, sizes: list[int], seed: int, unit: int, controls: str
) -> None:
    drawn = zip([(c, d) for c in "ABC" for d in (1.0, 2.0, 3.0)], sizes, strict=True)
    groups = {(context, "x", dose): n for (context, dose), n in drawn} | {("A", "x", d): 2 for d in (1.0, 2.0, 3.0)}
    data = make_labelled(groups | {(context, "control", 0.0): 3 for context in "ABC"})
    options = {"held_out": split_units("leave-dose-out", data)[unit], "seed": seed, "controls": controls}
    split = make_split("leave-dose-out", data, **options)
    at_dose = np.flatnonzero(data.adata.obs["dose"] == float(split.held_out))
    assert split.truth.tolist() == at_dose.tolist()
    assert not set(at_dose) & {*split.train, *split.validation, *split.input_control, *split.reference_control}
    assert make_split("leave-dose-out", data, **options).hash == split.hash
