"""Names of the obs columns that make an AnnData a perturbation experiment, and the declared scale of X."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from pb_data.nearest import nearest

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["Keys", "Scale", "label_array"]

Scale = Literal["counts", "log1p"]


@dataclass(frozen=True)
class Keys:
    """What the obs columns of a data set are called and on which scale X is.

    Parameters
    ----------
    context
        Column of the cell type, species, patient or cell line.
    perturbation
        Column of the perturbation label.
    control
        The label of unperturbed cells in that column.
    scale
        `counts` (raw counts) or `log1p` (log of 1 + normalised counts). Declared, never guessed.
    dose
        Column of the dose, a number in the unit of the data set.
    control_dose
        The dose of unperturbed cells.
    batch
        Column of the donor or batch.
    library_size
        Column of the full library size in counts, where X holds fewer genes than were sequenced.
    separator
        What stands between the parts of a combined perturbation's label, such as `+` in `KLF1+MAP2K6`.

    Raises
    ------
    ValueError
        Where the scale is unknown or one column has two meanings.

    Examples
    --------
    >>> keys = Keys(context="cell_type", perturbation="condition", control="control", scale="counts")
    >>> Keys.from_dict(keys.to_dict()) == keys
    True
    """

    context: str
    perturbation: str
    control: str
    scale: Scale
    dose: str | None = None
    control_dose: float = 0.0
    batch: str | None = None
    library_size: str | None = None
    separator: str | None = None

    def __post_init__(self) -> None:
        if self.scale not in get_args(Scale):
            msg = f"scale is {self.scale!r}; declare 'counts' (raw counts) or 'log1p' (of normalised counts)"
            raise ValueError(msg)
        if self.separator is not None and not self.separator.strip():
            msg = "separator is blank; give the text between the parts of a combination, such as '+', or None"
            raise ValueError(msg)
        columns = list(self.columns.values())
        if repeated := sorted({column for column in columns if columns.count(column) > 1}):
            msg = f"obs column {repeated[0]!r} is named for two meanings in {self.columns}; name a column for each"
            raise ValueError(msg)

    @property
    def columns(self) -> dict[str, str]:
        """The obs columns that are named, by their meaning."""
        meanings = ("context", "perturbation", "dose", "batch", "library_size")
        return {meaning: column for meaning in meanings if (column := getattr(self, meaning)) is not None}

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-able values; a separator only where there is one."""
        return {name: value for name, value in asdict(self).items() if name != "separator" or value is not None}

    def parts(self, perturbation: str) -> tuple[str, ...]:
        """Return the single perturbations a label stands for, sorted: itself where it is no combination.

        Examples
        --------
        >>> keys = Keys(context="line", perturbation="gene", control="control", scale="log1p", separator="+")
        >>> keys.parts("MAP2K6+KLF1"), keys.parts("KLF1"), keys.parts("KLF1+control")
        (('KLF1', 'MAP2K6'), ('KLF1',), ('KLF1',))
        """
        labels = [perturbation] if self.separator is None else perturbation.split(self.separator)
        return tuple(sorted({label.strip() for label in labels} - {self.control}))

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> Keys:
        """Rebuild keys from `to_dict`.

        Raises
        ------
        ValueError
            Where a field is unknown or a needed one is missing.
        """
        known = [field.name for field in fields(cls)]
        for name in d:
            if name not in known:
                msg = f"keys have no field {name!r}{nearest(name, known)} (fields: {', '.join(known)})"
                raise ValueError(msg)
        if missing := [name for name in known[:4] if name not in d]:
            msg = f"keys need {', '.join(missing)}; given: {', '.join(d) or 'nothing'}"
            raise ValueError(msg)
        return cls(**d)

    def is_control(self, obs: pd.DataFrame) -> NDArray[np.bool_]:
        """Mark the control cells, (cells,).

        A cell is a control where its perturbation label is the control label or, in data with doses, where its dose is
        the control dose (a vehicle labelled with the drug's name).

        Examples
        --------
        >>> import pandas as pd
        >>> keys = Keys(context="cell_type", perturbation="drug", control="DMSO", scale="counts", dose="dose")
        >>> obs = pd.DataFrame({"cell_type": "B", "drug": ["DMSO", "TCDD", "TCDD"], "dose": [0.0, 0.0, 30.0]})
        >>> keys.is_control(obs).tolist()
        [True, True, False]
        """
        control: NDArray[np.bool_] = label_array(obs, self.perturbation) == self.control
        if self.dose is not None:
            control |= obs[self.dose].to_numpy(dtype=np.float64) == self.control_dose
        return control


def label_array(obs: pd.DataFrame, column: str) -> NDArray[np.str_]:
    """Return a column's labels as text, (cells,); a missing label becomes `nan`.

    Raises
    ------
    KeyError
        Where obs has no such column.

    Examples
    --------
    >>> import pandas as pd
    >>> label_array(pd.DataFrame({"plate": [2, 1, 2]}), "plate").tolist()
    ['2', '1', '2']
    """
    if column not in obs:
        present = [str(name) for name in obs.columns]
        msg = f"obs has no column {column!r}{nearest(column, present)} (columns: {', '.join(present) or 'none'})"
        raise KeyError(msg)
    values = obs[column].astype("category").cat
    names = np.array([*values.categories.astype(str), "nan"])
    labels: NDArray[np.str_] = names[values.codes.to_numpy()]  # code -1, a missing label, takes the last name
    return labels
