"""Which cells of other tools' files are predicted, measured and control."""

from contextlib import ExitStack

import anndata
import numpy as np
import pandas as pd
import pytest
from pb_eval.artefact import ArtefactError
from pb_eval.cellfile import open_cells
from pb_eval.columns import Columns
from pb_eval.conditions import Condition
from pb_eval.layouts import arrange

N = 3


def write(folder, name, columns, uns=None):
    """Write a file whose cells are numbered in its one gene, one row for each entry of the columns."""
    obs = pd.DataFrame({key: list(values) for key, values in columns.items()})
    obs.index = [f"c{i}" for i in range(len(obs))]
    X = np.arange(len(obs), dtype=np.float32)[:, None]
    adata = anndata.AnnData(X, obs=obs, var=pd.DataFrame(index=["g"]), uns=uns or {})
    adata.write_h5ad(folder / f"{name}.h5ad")
    return folder / f"{name}.h5ad"


def layout(prediction, truth=None, base=None, **columns):
    """Arrange files; give rows by condition and role, and the notes."""
    with ExitStack() as stack:
        files = [None if path is None else stack.enter_context(open_cells(path)) for path in (prediction, truth, base)]
        found = arrange(*files, Columns(**columns))
        rows = {
            group.condition: {
                role: (part.file.path.stem, part.rows.tolist())
                for role, part in zip(("predicted", "truth", "control"), group[1:], strict=True)
            }
            for group in found.groups
        }
        return rows, found.notes


def cells(*labels):
    """Repeat each label for a few cells, the cells of all labels interleaved."""
    return list(labels) * N


def rows(place, of):
    return list(range(place, of * N, of))


@pytest.mark.parametrize("word", ["imputed", "predicted", "Pred"])
def test_one_file_by_the_words_for_its_groups(word, tmp_path):
    path = write(tmp_path, "one", {"condition": cells("control", word, "stimulated")})
    found, notes = layout(path)
    assert found == {
        Condition("all", "stimulated", None): {
            "predicted": ("one", rows(1, 3)),
            "truth": ("one", rows(2, 3)),
            "control": ("one", rows(0, 3)),
        }
    }
    assert notes == [
        "Predicted and measured cells are told apart by obs['condition'] (--group-key names another).",
        f"In 'condition', {word!r} is predicted, 'stimulated' measured, 'control' control.",
    ]


def test_the_label_that_is_left_over_is_measured(tmp_path):
    path = write(tmp_path, "one", {"condition": cells("ctrl", "imputed", "IFN-b")})
    [(condition, groups)] = layout(path)[0].items()
    assert condition.perturbation == "IFN-b"
    assert groups["truth"] == ("one", rows(2, 3))


def test_one_file_with_named_labels_several_contexts_and_doses(tmp_path):
    path = write(
        tmp_path,
        "one",
        {
            "set": cells("a", "b", "c", "d") * 2,
            "cell_type": ["T"] * 4 * N + ["B"] * 4 * N,
            "dose": np.tile([0.0, 0.1, np.float32(0.1), 9.0], 2 * N),
        },
    )
    found, notes = layout(path, group="set", predicted="b", measured="c", control="a")
    assert list(found) == [Condition("B", "c", 0.1), Condition("T", "c", 0.1)]
    assert found[Condition("B", "c", 0.1)]["predicted"] == ("one", [4 * N + row for row in rows(1, 4)])
    assert "Cells with other labels in 'set' are not used: 'd'." in notes
    assert "The context column is 'cell_type' (--context-key names another)." in notes


@pytest.fixture
def measured(tmp_path):
    return write(tmp_path, "measured", {"condition": cells("ctrl", "A", "B"), "cell_type": cells("T", "T", "T")})


def test_two_files_and_the_controls_of_the_measured_one(measured, tmp_path):
    predicted = write(tmp_path, "cpa", {"condition": cells("ctrl", "A"), "cell_type": cells("T", "T")})
    found, notes = layout(predicted, measured)
    assert found == {
        Condition("T", "A", None): {
            "predicted": ("cpa", rows(1, 2)),
            "truth": ("measured", rows(1, 3)),
            "control": ("measured", rows(0, 3)),
        }
    }
    assert notes[1:] == [
        "Control cells are those with condition 'ctrl' (--control names another label).",
        f"3 control cells of {predicted} are not used: the reference is measured control.",
        "The context column is 'cell_type' (--context-key names another).",
        "Not scored, having no predicted cells: 'B' in 'T'.",
    ]


def test_controls_in_a_file_of_their_own(tmp_path):
    truth = write(tmp_path, "truth", {"condition": cells("A", "B")})
    predicted = write(tmp_path, "cpa", {"condition": cells("A", "B")})
    control = write(tmp_path, "control", {"condition": cells("ctrl", "X")})
    found, _ = layout(predicted, truth, control)
    assert found[Condition("all", "B", None)] == {
        "predicted": ("cpa", rows(1, 2)),
        "truth": ("truth", rows(1, 2)),
        "control": ("control", rows(0, 2)),
    }


def test_three_files_without_any_column(tmp_path):
    paths = [write(tmp_path, name, {"n": range(N)}) for name in ("cpa", "stimulated", "control")]
    found, _ = layout(*paths)
    assert list(found) == [Condition("all", "stimulated", None)]


def test_a_prediction_without_the_column_is_of_the_only_perturbation(tmp_path):
    truth = write(tmp_path, "truth", {"condition": cells("ctrl", "A")})
    predicted = write(tmp_path, "cpa", {"n": range(N)})
    found, notes = layout(predicted, truth)
    assert found[Condition("all", "A", None)]["predicted"] == ("cpa", list(range(N)))
    assert any("all its cells are taken to predict 'A'" in note for note in notes)


def test_what_a_file_declares_goes_before_what_is_usual(measured, tmp_path):
    columns = {"condition": cells("x", "y"), "drug": cells("A", "B"), "kind": cells("T", "T")}
    declared = {"pb": {"perturbation_key": "drug", "context_key": "kind"}}
    predicted = write(tmp_path, "cpa", columns, declared)
    truth = write(
        tmp_path, "truth", {"drug": cells("A", "B", "DMSO"), "kind": cells("T", "T", "T"), "condition": cells(1, 2, 3)}
    )
    found, notes = layout(predicted, truth)
    assert list(found) == [Condition("T", "A", None), Condition("T", "B", None)]
    assert notes[0] == "Declared in the files: context 'kind', perturbation 'drug'."


def test_a_control_dose_makes_a_control(tmp_path):
    truth = write(tmp_path, "truth", {"drug": cells("D", "D"), "dose": cells(0.0, 3.0)})
    predicted = write(tmp_path, "cpa", {"drug": cells("D"), "dose": cells(3.0)})
    found, _ = layout(predicted, truth, dose="dose")
    assert found[Condition("all", "D", 3.0)]["control"] == ("truth", rows(0, 2))


ONE = {"condition": cells("control", "imputed", "stimulated")}
TWO = {"condition": cells("ctrl", "A")}


@pytest.mark.parametrize(
    ("first", "second", "columns", "words"),
    [
        ({"kind": cells("a", "b")}, None, {}, "none of its obs columns ('kind') tells predicted from measured cells"),
        (ONE, None, {"group": "conditon"}, "has no column 'conditon' (did you mean 'condition'?)"),
        (ONE, None, {"control": "ctrl"}, "no cell has the label 'ctrl'"),
        ({"g": cells("control", "imputed", "x", "y")}, None, {}, "name it with --measured-label"),
        (ONE | {"again": ONE["condition"]}, None, {}, "'condition', 'again' could each tell predicted"),
        ({"g": [*cells("control", "imputed", "real"), None]}, None, {"group": "g"}, "has 1 missing values"),
        (
            {"g": ["control", "control", "imputed", "real", "real"]},
            None,
            {},
            "has 1 predicted cell and cannot be scored",
        ),
        (TWO, TWO, {"group": "condition"}, "leave one of --group-key and --truth out"),
        (TWO, {"condition": cells("x", "A")}, {}, "none of 'A', 'x' is known as control in obs['condition']"),
        (TWO, {"condition": cells("ctrl", "DMSO", "A")}, {}, "'DMSO', 'ctrl' could each be control"),
        (TWO, {"condition": cells("x", "A")}, {"control": "ctrl"}, "no cell has the control label 'ctrl'"),
        (
            TWO,
            {"condition": cells("ctrl", "B")},
            {},
            "'A' has no measured cells and cannot be scored, nor can any other",
        ),
        (TWO, TWO | {"drug": cells("ctrl", "A")}, {}, "'condition', 'drug' could each be the perturbation column"),
        (TWO, {"kind": cells("a", "b")}, {}, "name it with --perturbation-key, or give --control FILE"),
        ({"condition": cells("ctrl", "ctrl")}, TWO, {}, "holds no predicted cells"),
        (TWO, {"condition": cells("ctrl", "ctrl")}, {}, "holds no measured cells"),
        (
            {"n": range(3)},
            {"condition": cells("ctrl", "A", "B")},
            {},
            "holds 2 perturbations ('A', 'B'): add the column",
        ),
        (
            TWO | {"dose": cells("low", "high")},
            TWO | {"dose": cells(0, 1)},
            {},
            "should hold doses, but not all are numbers",
        ),
    ],
)
def test_what_cannot_be_told_is_one_sentence(first, second, columns, words, tmp_path):
    predicted = write(tmp_path, "predicted", first)
    truth = None if second is None else write(tmp_path, "truth", second)
    with pytest.raises(ArtefactError) as caught:
        layout(predicted, truth, **columns)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
