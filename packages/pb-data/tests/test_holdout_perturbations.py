"""Leaving perturbations and combinations out: exact parts, what is removed with them, and what the data must have."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pb_data import PerturbationData, Split, make_split, resolve_unit, split_names, split_units

Make = Callable[..., PerturbationData]
Describe = Callable[[PerturbationData, Split], dict[str, set[tuple[object, ...]]]]

LABELS = ("control", "A", "B", "C", "A+B", "B+C", "C+D", "E+F")
SCREEN = {("k562", label): 4 for label in LABELS}
GOLDEN = {
    "leave-combination-out": "5f8a6d4d208d7fa6f5bf51019a08e8458f03f41b5b8563b898a50775f00f05f0",
    "leave-combination-out-0": "297a9a84207af731f73a6ec02c0c59060a75d632b021cce61d73308ebddc2c5a",
    "leave-combination-out-1": "3dd3e6d1d06cb1155d3f0c856be9b982215f5d76cad619466795c47e34f88584",
    "leave-perturbation-out": "ba92a3416fdb19c33ff89db766dcd90716420d00068c61529fa274555f6652bc",
}
FAMILY = [name for name in split_names() if name.startswith("leave-combination")]


def of_screen(*labels: str) -> set[tuple[object, ...]]:
    return {("k562", label) for label in labels}


@pytest.mark.parametrize(
    ("name", "units"),
    [
        ("leave-perturbation-out", ["A", "B", "C"]),
        ("leave-combination-out", ["A+B", "B+C"]),
        ("leave-combination-out-1", ["A+B", "B+C", "C+D"]),
        ("leave-combination-out-0", ["A+B", "B+C", "C+D", "E+F"]),
    ],
)
def test_units(make_labelled: Make, name: str, units: list[str]) -> None:
    data = make_labelled(SCREEN, separator="+")
    assert split_units(name, data) == units
    assert [resolve_unit(name, data, index) for index in range(len(units))] == units


def test_a_perturbation_leaves_with_its_combinations(make_labelled: Make, described: Describe) -> None:
    data = make_labelled(SCREEN, separator="+")
    split = make_split("leave-perturbation-out", data, held_out="B")
    found = described(data, split)
    assert found["truth"] == of_screen("B")
    assert found["fitted"] == of_screen("control", "A", "C", "C+D", "E+F")
    assert found["input"] == found["reference"] == of_screen("control")
    assert split.parameters["removed_perturbations"] == ["A+B", "B+C"]
    assert split.claim == (
        "unseen perturbation, seen context: the cells of 'B' were held out in 'k562'; its combinations ('A+B', 'B+C') "
        "are in no part"
    )


def test_a_perturbation_without_separator_is_its_label(make_labelled: Make, described: Describe) -> None:
    data = make_labelled(SCREEN)
    assert split_units("leave-perturbation-out", data) == sorted(set(LABELS) - {"control"})
    split = make_split("leave-perturbation-out", data, held_out="B")
    assert described(data, split)["fitted"] == of_screen(*LABELS) - of_screen("B")
    assert split.parameters["removed_perturbations"] == []


def test_a_single_written_as_a_pair_with_the_control_is_that_single(make_labelled: Make, described: Describe) -> None:
    data = make_labelled({("k562", label): 3 for label in ("control", "A+control", "control+B", "B")}, separator="+")
    assert split_units("leave-perturbation-out", data) == ["A", "B"]
    assert described(data, make_split("leave-perturbation-out", data, held_out="B"))["truth"] == of_screen(
        "control+B", "B"
    )


def test_a_combination_leaves_its_parts(make_labelled: Make, described: Describe) -> None:
    data = make_labelled(SCREEN, separator="+")
    split = make_split("leave-combination-out", data, held_out="A+B")
    found = described(data, split)
    assert found["truth"] == of_screen("A+B")
    assert found["fitted"] == of_screen(*LABELS) - of_screen("A+B")
    assert split.parameters["seen_parts"] == ["A", "B"]
    assert split.claim == (
        "unseen combination, 2 of its 2 parts seen singly, seen context: the cells of 'A+B' were held out in 'k562'"
    )


def test_one_part_stays_and_the_seed_draws_it(make_labelled: Make, described: Describe) -> None:
    data = make_labelled(SCREEN, separator="+")
    fitted = {
        "A": of_screen("control", "A", "C", "C+D", "E+F"),  # without B, A+B and B+C
        "B": of_screen("control", "B", "C", "B+C", "C+D", "E+F"),
    }
    drawn = set()
    for seed in range(8):
        split = make_split("leave-combination-out-1", data, held_out="A+B", seed=seed)
        (seen,), (unseen,) = split.parameters["seen_parts"], split.parameters["unseen_parts"]
        found = described(data, split)
        assert {seen, unseen} == {"A", "B"}
        assert found["truth"] == of_screen("A+B")
        assert found["fitted"] == fitted[seen]
        assert f"1 of its 2 parts seen singly ({unseen!r} in no training cell), seen context" in split.claim
        drawn.add(seen)
    assert drawn == {"A", "B"}


def test_the_part_measured_singly_is_the_one_that_stays(make_labelled: Make) -> None:
    data = make_labelled(SCREEN, separator="+")
    for seed in range(4):
        split = make_split("leave-combination-out-1", data, held_out="C+D", seed=seed)
        assert (split.parameters["seen_parts"], split.parameters["unseen_parts"]) == (["C"], ["D"])


def test_no_part_stays(make_labelled: Make, described: Describe) -> None:
    data = make_labelled(SCREEN, separator="+")
    split = make_split("leave-combination-out-0", data, held_out="A+B")
    found = described(data, split)
    assert found["truth"] == of_screen("A+B")
    assert found["fitted"] == of_screen("control", "C", "C+D", "E+F")
    assert split.parameters["removed_perturbations"] == ["A", "B", "B+C"]
    assert (
        "unseen combination, 0 of its 2 parts seen singly ('A', 'B' in no training cell), seen context" in split.claim
    )


def test_of_three_parts_one_stays(make_labelled: Make, described: Describe) -> None:
    data = make_labelled(
        {("k562", label): 3 for label in ("control", "A", "B", "C", "A+B+C", "A+B", "Z")}, separator="+"
    )
    split = make_split("leave-combination-out-1", data, held_out="A+B+C", seed=1)
    (seen,) = split.parameters["seen_parts"]
    assert described(data, split)["fitted"] == of_screen("control", "Z", seen)
    whole = make_split("leave-combination-out", data, held_out="A+B+C")
    assert ("k562", "A+B") in described(data, whole)["fitted"]
    assert "3 of its 3 parts seen singly" in whole.claim


def test_the_order_of_parts_does_not_matter(make_labelled: Make, described: Describe) -> None:
    data = make_labelled(SCREEN | {("rpe1", label): 3 for label in ("control", "A", "B+A")}, separator="+")
    for name in FAMILY:
        assert resolve_unit(name, data, "B+A") == "A+B"
        split = make_split(name, data, held_out="B+A")
        assert described(data, split)["truth"] == {("k562", "A+B"), ("rpe1", "B+A")}
        assert "in 'k562', 'rpe1'" in split.claim


def test_only_contexts_with_controls_count(make_labelled: Make, described: Describe) -> None:
    data = make_labelled(SCREEN | {("rpe1", label): 3 for label in ("D", "A+B", "A", "G")}, separator="+")
    assert "C+D" not in split_units("leave-combination-out", data)  # D was measured, but without controls
    assert "G" not in split_units("leave-perturbation-out", data)
    found = described(data, make_split("leave-combination-out", data, held_out="A+B"))
    assert found["truth"] == of_screen("A+B")
    assert ("rpe1", "A+B") not in set.union(*found.values())
    assert ("rpe1", "A") in found["fitted"]


def test_input_only_controls_of_the_truths_contexts_do_not_train(make_labelled: Make, described: Describe) -> None:
    screen = make_labelled(SCREEN, separator="+")
    with pytest.raises(ValueError, match="'A' was measured in every context of 'toy', so target_controls 'input-only'"):
        make_split("leave-perturbation-out", screen, held_out="A", target_controls="input-only")
    data = make_labelled(SCREEN | {("rpe1", label): 3 for label in ("control", "A", "C")}, separator="+")
    split = make_split("leave-combination-out-1", data, held_out="C+D", target_controls="input-only")
    found = described(data, split)
    assert ("k562", "control") not in found["fitted"]
    assert ("rpe1", "control") in found["fitted"]
    assert split.claim.endswith("in 'k562', whose control cells were only predicted from")
    with pytest.raises(
        ValueError, match=r"'B' was measured only in contexts of the combination 'A\+B', whose controls"
    ):
        make_split("leave-combination-out", data, held_out="A+B", target_controls="input-only")


def test_a_context_seen_by_its_controls_only_is_no_seen_context(make_labelled: Make) -> None:
    groups = SCREEN | {("rpe1", "control"): 3, ("rpe1", "A"): 3}
    alone = make_labelled(groups, separator="+")
    claim = make_split("leave-perturbation-out", alone, held_out="A").claim
    assert claim.startswith("unseen perturbation, seen contexts (but no perturbed cell of 'rpe1' was): ")
    groups = {("k562", "control"): 3, ("k562", "A"): 3, ("rpe1", "control"): 3, ("rpe1", "B"): 3}
    claim = make_split("leave-perturbation-out", make_labelled(groups), held_out="B").claim
    assert claim.startswith("unseen perturbation, unseen context: ")


@pytest.mark.parametrize("name", FAMILY)
def test_data_that_cannot_have_a_combination_split_say_why(make_labelled: Make, name: str) -> None:
    with pytest.raises(ValueError, match="data set 'toy' declares no separator between the parts"):
        split_units(name, make_labelled(SCREEN))
    singles = make_labelled({("k562", "control"): 3, ("k562", "A"): 3}, separator="+")
    with pytest.raises(ValueError, match=r"no perturbation of 'toy' is a combination \(a label with '\+' between"):
        make_split(name, singles, held_out="A+B")


@pytest.mark.parametrize(("name", "wanted"), [("", "all of its parts"), ("-1", "1 of its parts")])
def test_combinations_of_parts_never_measured_say_so(make_labelled: Make, name: str, wanted: str) -> None:
    data = make_labelled({("k562", label): 3 for label in ("control", "A", "E+F")}, separator="+")
    with pytest.raises(ValueError, match=rf"no combination of 'toy' \('E\+F'\) has {wanted} measured singly"):
        split_units(f"leave-combination-out{name}", data)


def test_misspelt_units_are_answered_with_the_nearest(make_labelled: Make) -> None:
    data = make_labelled({("k562", label): 3 for label in ("control", "KLF1", "MAP2K6", "KLF1+MAP2K6")}, separator="+")
    with pytest.raises(ValueError, match=r"no unit 'klf'; did you mean 'KLF1'\? \(units: 0 KLF1, 1 MAP2K6\)"):
        make_split("leave-perturbation-out", data, held_out="klf")
    assert resolve_unit("leave-combination-out", data, "MAP2K6+KLF1") == "KLF1+MAP2K6"
    with pytest.raises(ValueError, match=r"no unit 'KLF1' .*\(units: 0 KLF1\+MAP2K6\)"):
        resolve_unit("leave-combination-out", data, "KLF1")


def test_the_only_perturbation_cannot_be_left_out(make_labelled: Make) -> None:
    data = make_labelled({("k562", label): 3 for label in ("control", "A")})
    with pytest.raises(ValueError, match="holding 'A' out of 'toy' leaves no perturbed cell in a context with control"):
        make_split("leave-perturbation-out", data, held_out="A")


@pytest.mark.parametrize("name", sorted({*FAMILY, "leave-perturbation-out"}))
def test_known_screens_have_known_hashes(make_labelled: Make, name: str) -> None:
    data = make_labelled(SCREEN, separator="+")
    assert make_split(name, data, held_out="0", seed=7, controls="disjoint").hash == GOLDEN[name]


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from([*FAMILY, "leave-perturbation-out"]),
    extra=st.sets(st.sampled_from(["A+C", "B+C", "A+B+C", "D", "B+D", "C+D"])),
    seed=st.integers(0, 2**31),
    index=st.integers(0, 20),
    fraction=st.floats(0, 0.9),
    controls=st.sampled_from(["shared", "disjoint"]),
)
def test_parts_stay_apart_and_nothing_unseen_is_fitted(
    make_labelled: Make, name: str, extra: set[str], seed: int, index: int, fraction: float, controls: str
) -> None:
    labels = ["control", "A", "B", "C", "Z", "A+B", *sorted(extra)]
    data = make_labelled({(context, label): 3 for context in ("k562", "rpe1") for label in labels}, separator="+")
    units = split_units(name, data)
    options = {"held_out": units[index % len(units)], "seed": seed, "validation_fraction": fraction}
    split = make_split(name, data, controls=controls, **options)
    fitted = {*split.train.tolist(), *split.validation.tolist()}
    others = {*split.input_control.tolist(), *split.reference_control.tolist()}
    assert not set(split.truth.tolist()) & (fitted | others)
    parts = [set(label.split("+")) for label in data.adata.obs["condition"]]
    unseen = set(split.parameters.get("unseen_parts", [split.held_out]))
    unit = set(split.held_out.split("+"))
    for row, own in enumerate(parts):
        assert (row in split.truth) == (own == unit)
        kept = row in fitted or (controls == "disjoint" and row in split.reference_control)
        assert kept == (own != unit and not own & unseen)
    assert make_split(name, data, controls=controls, **options).hash == split.hash
