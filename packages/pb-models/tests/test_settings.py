from dataclasses import dataclass
from typing import Literal

import pytest
from pb_models.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Example(Settings):
    rate: float = 0.5
    count: int = 3
    patience: int | None = None
    mode: Literal["fast", "exact"] = "fast"
    sizes: tuple[int, ...] = (1, 2)
    flag: bool = False

    def __post_init__(self):
        super().__post_init__()
        self.at_least("rate", 0, strictly=True)


def test_values_from_files_are_fitted_to_their_annotation():
    example = Example(rate=1, sizes=[4, 5])
    assert (example.rate, type(example.rate), example.sizes) == (1.0, float, (4, 5))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"count": 1.5}, "count is 1.5; it has to be int"),
        ({"count": True}, "count is True; it has to be int"),
        ({"count": "3"}, "count is '3'; it has to be int"),
        ({"patience": "no"}, "int | None"),
        ({"mode": "slow"}, "one of 'fast', 'exact'"),
        ({"sizes": [1, "x"]}, "sizes"),
        ({"sizes": 3}, "sizes"),
        ({"flag": 1}, "flag is 1; it has to be bool"),
        ({"rate": 0}, "rate is 0.0; it has to be greater than 0"),
        ({"cuont": 1}, "did you mean 'count'"),
        ({"zzz": 1}, "choose from: rate, count"),
    ],
)
def test_misfits_say_what_was_expected(changes, words):
    with pytest.raises(ValueError) as caught:
        Example().replace(**changes)
    assert words in str(caught.value)


def test_settings_survive_json():
    example = Example(sizes=(7,), patience=2)
    assert Example().replace(**example.to_dict()) == example


def test_a_model_without_choices_says_so():
    with pytest.raises(ValueError, match=r"no setting 'x'.*choose from: none"):
        Settings().replace(x=1)
