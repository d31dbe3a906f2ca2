"""Tables of the robust-loss papers, embedded: Concrete, Wine, Parkinsons Telemonitoring, Letter Recognition."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from pb_data.labelled.cards import LabelledCard, LabelledData, LabelledDataset

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from pb_data.labelled.cards import Task
    from pb_data.labelled.tables import Table

__all__ = ["CONCRETE", "LETTER", "PARKINSON_MOTOR", "PARKINSON_TOTAL", "WINE"]

CC_BY = "CC BY 4.0 (UCI Machine Learning Repository)"
ALL_ROWS = (
    "The features came standardised with the mean and standard deviation of all rows, test rows included; fitting a "
    "standardiser on training rows takes that back exactly, as both are shifts and scales of a column."
)
VOICE = (
    *("jitter %", "jitter abs", "jitter rap", "jitter ppq5", "jitter ddp", "shimmer", "shimmer dB", "shimmer apq3"),
    *("shimmer apq5", "shimmer apq11", "shimmer dda", "NHR", "HNR", "RPDE", "DFA", "PPE"),
)
FEATURES = {
    "concrete": ("cement", "slag", "fly ash", "water", "superplasticizer", "coarse aggregate", "fine aggregate", "age"),
    "wine": (
        *("fixed acidity", "volatile acidity", "citric acid", "residual sugar", "chlorides", "free sulfur dioxide"),
        *("total sulfur dioxide", "density", "pH", "sulphates", "alcohol"),
    ),
    "parkinson": ("age", "test time", *VOICE, "sex"),
    "letter": (
        *("x-box", "y-box", "width", "high", "onpix", "x-bar", "y-bar", "x2bar", "y2bar", "xybar", "x2ybr", "xy2br"),
        *("x-ege", "xegvy", "y-ege", "yegvx"),
    ),
}
LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
QUALITIES = tuple(str(quality) for quality in range(3, 10))


def read_tabular(
    table_name: str, card: LabelledCard, target: str, column: int, _files: list[Path], task: Task
) -> LabelledData:
    """Read one target of an embedded table; the last rows are the test rows."""
    from pb_data.labelled.tables import read_table

    table = read_table(table_name)
    values = table.y[:, [column]]
    y: Any = values.astype(np.float32)
    classes: tuple[tuple[str, ...], ...] = ()
    if task == "classification":
        classes = (LETTERS if table_name == "letter" else QUALITIES,)
        y = values.astype(np.int64) - (0 if table_name == "letter" else 3)
    group_name, numbers = groups_of(table_name, table)
    return LabelledData(
        X=table.X.astype(np.float32),
        y=y,
        targets=(target,),
        classes=classes,
        features=FEATURES[table_name],
        groups=None if numbers is None else np.array([f"{group_name} {n}" for n in numbers], dtype=object),
        test=np.arange(len(values)) >= len(values) - table.n_test,
        task=task,
        name=card.name,
        source={},
        unscaled=np.zeros(table.X.shape[1], dtype=np.bool_),
        group_name=group_name,
        thresholds=tuple(q + 0.5 for q in range(3, 9)) if table_name == "wine" else (),
    )


def groups_of(table_name: str, table: Table) -> tuple[str, NDArray[np.int64] | None]:
    """Return what a group is, and each row's: a patient, a mixture at all ages, wines equal in every test."""
    if table_name == "parkinson":
        return "patient", table.groups
    if table_name == "letter":
        return "row", None
    same = table.X[:, :-1] if table_name == "concrete" else table.X
    numbers: NDArray[np.int64] = np.unique(same, axis=0, return_inverse=True)[1].reshape(-1)
    return ("mixture" if table_name == "concrete" else "wine"), numbers


def dataset(table_name: str, card: LabelledCard, target: str, column: int = 0) -> LabelledDataset:
    """Join a card and the reader of its table."""
    return LabelledDataset(card, partial(read_tabular, table_name, card, target, column))


CONCRETE = dataset(
    "concrete",
    LabelledCard(
        name="concrete",
        title="Compressive strength of concrete from its mixture and age",
        tasks=("regression",),
        citation="Yeh, Modeling of strength of high-performance concrete using artificial neural networks, Cement and "
        "Concrete Research 28, 1797-1808 (1998), doi:10.1016/S0008-8846(98)00165-3; split of Zhu et al., "
        "arXiv:2402.06104",
        licence=CC_BY,
        origin="UCI Concrete Compressive Strength, parted into 824 and 206 rows by the authors of FAR/GAR",
        embedded=True,
        sha256="0b6a337fe75c1a68a12c79210ede09b3f838931a625fddd3203f4b1ff8950cff",
        n_samples=1030,
        n_features=8,
        groups="mixtures: rows that differ in age only",
        note=f"{ALL_ROWS} 160 of the 206 test rows are of a mixture that trains at another age.",
    ),
    "compressive strength (MPa)",
)

WINE = dataset(
    "wine",
    LabelledCard(
        name="wine",
        title="Quality of red and white Vinho Verde, marked 3 to 9, from physical and chemical tests",
        tasks=("regression", "classification"),
        citation="Cortez et al., Modeling wine preferences by data mining from physicochemical properties, Decision "
        "Support Systems 47, 547-553 (2009), doi:10.1016/j.dss.2009.05.016; split of Zhu et al., arXiv:2402.06104",
        licence=CC_BY,
        origin="UCI Wine Quality, parted into 5,198 and 1,299 rows by the authors of FAR/GAR",
        embedded=True,
        sha256="37833a42aad2cc6ba19fa69e42b6e9b4a4529be45e00cf94be0348943c4d2dfe",
        n_samples=6497,
        n_features=11,
        groups="wines: rows equal in all features",
        note=f"{ALL_ROWS} Rows repeat: the features of 359 of the 1,299 test rows are those of a training row, too. "
        "Five wines have the mark 9.",
    ),
    "quality",
)


def parkinson_card(score: str) -> LabelledCard:
    """Describe the set for one of the two scores."""
    return LabelledCard(
        name=f"parkinson-{score}",
        title=f"{score.capitalize()} UPDRS of patients with Parkinson's disease from 16 measures of their voice",
        tasks=("regression",),
        citation="Tsanas et al., Accurate telemonitoring of Parkinson's disease progression by noninvasive speech "
        "tests, IEEE Transactions on Biomedical Engineering 57, 884-893 (2010), doi:10.1109/TBME.2009.2036000; split "
        "of Zhu et al., arXiv:2402.06104",
        licence=CC_BY,
        origin="UCI Parkinsons Telemonitoring, in the order whose first 4,700 rows train for the authors of FAR/GAR",
        embedded=True,
        sha256="41b1e9ab66867f80a793d5f4909bde9fb9601130c9b3cb766d399f9df069ff08",
        n_samples=5875,
        n_features=19,
        groups="patients: recordings that follow each other with one age and sex (41 groups of 42 patients, as two "
        "neighbours agree in both)",
        note="The published split and folds over rows put recordings of one patient on both sides; folds over "
        "patients do not.",
    )


PARKINSON_MOTOR = dataset("parkinson", parkinson_card("motor"), "motor UPDRS", 0)
PARKINSON_TOTAL = dataset("parkinson", parkinson_card("total"), "total UPDRS", 1)

LETTER = dataset(
    "letter",
    LabelledCard(
        name="letter",
        title="26 capital letters in 20 fonts from 16 measures of their distorted pictures",
        tasks=("classification",),
        citation="Frey and Slate, Letter recognition using Holland-style adaptive classifiers, Machine Learning 6, "
        "161-182 (1991), doi:10.1007/BF00114162",
        licence=CC_BY,
        origin="UCI Letter Recognition, in the order of KEEL's file",
        embedded=True,
        sha256="bf0f41c254d4c9727aa4a5793f0eb7c597a84d8e73199b9d8a1192dbec7210fb",
        n_samples=20000,
        n_features=16,
        note="The test rows are the last 4,000 of the file, as many as the set's donors kept for testing; the file's "
        "order is another than theirs. 1,332 rows repeat another row's features.",
    ),
    "letter",
)
