"""Column names and the declared scale."""

import json

import numpy as np
import pandas as pd
import pytest
from pb_data import Keys, label_array

DOSED = Keys("cell_type", "drug", "DMSO", "counts", dose="dose", control_dose=0.5, batch="plate", library_size="total")


def test_round_trip_through_json() -> None:
    assert Keys.from_dict(json.loads(json.dumps(DOSED.to_dict()))) == DOSED


def test_a_separator_is_written_only_where_there_is_one() -> None:
    combined = Keys("line", "gene", "ctrl", "log1p", separator="+")
    assert "separator" not in DOSED.to_dict()
    assert Keys.from_dict(combined.to_dict()) == combined
    assert combined.parts("B + A+ctrl") == ("A", "B")
    assert DOSED.parts("A+B") == ("A+B",)


def test_columns_name_only_what_is_given() -> None:
    assert Keys("a", "b", "c", "log1p").columns == {"context": "a", "perturbation": "b"}
    assert list(DOSED.columns.values()) == ["cell_type", "drug", "dose", "plate", "total"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": "raw"}, "scale is 'raw'; declare 'counts'"),
        ({"perturbation": "cell_type"}, "obs column 'cell_type' is named for two meanings"),
        ({"separator": " "}, "separator is blank; give the text between"),
    ],
)
def test_wrong_keys_say_what_to_do(change: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Keys.from_dict({**DOSED.to_dict(), **change})


def test_unknown_and_missing_fields_are_named() -> None:
    with pytest.raises(ValueError, match="no field 'contxt'; did you mean 'context'"):
        Keys.from_dict({"contxt": "cell_type"})
    with pytest.raises(ValueError, match="keys need control, scale; given: context, perturbation"):
        Keys.from_dict({"context": "a", "perturbation": "b"})


@pytest.mark.parametrize("kind", ["object", "category"])
def test_controls_by_label_or_by_dose(kind: str) -> None:
    obs = pd.DataFrame({"drug": ["DMSO", "X", "X", "Y"], "dose": [np.nan, 0.5, 1.0, 2.0]})
    obs["drug"] = obs["drug"].astype(kind)
    assert DOSED.is_control(obs).tolist() == [True, True, False, False]
    assert Keys("c", "drug", "DMSO", "counts").is_control(obs).tolist() == [True, False, False, False]


def test_labels_of_numbers_and_missing_values() -> None:
    obs = pd.DataFrame({"a": pd.Categorical([3, None, 1]), "b": ["x", None, "y"]})
    assert label_array(obs, "a").tolist() == ["3", "nan", "1"]
    assert label_array(obs, "b").tolist() == ["x", "nan", "y"]


def test_a_missing_column_suggests_the_nearest() -> None:
    with pytest.raises(KeyError, match="no column 'celltype'; did you mean 'cell_type'"):
        label_array(pd.DataFrame({"cell_type": ["B"]}), "celltype")
