"""scVIDR for all doses: a latent shift that depends on the context and grows with the logarithm of the dose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pb_models.doses import dose_coefficient
from pb_models.scvidr import REFERENCE, ScVidr, ScVidrSettings, warn_left_out

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from anndata import AnnData

    from pb_models.cells import TrainingData
    from pb_models.settings import Settings

__all__ = ["ScVidrMulti", "ScVidrMultiSettings"]


@dataclass(frozen=True, kw_only=True)
class ScVidrMultiSettings(ScVidrSettings):
    """Settings of scVIDR for all doses.

    `reference_dose` is the one whose shift is learned (None: every perturbation's highest); `dose_unit` the dose around
    which the logarithm sets in, see `dose_coefficient`.
    """

    reference_dose: float | None = None
    dose_unit: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least("dose_unit", 0, strictly=True)


class ScVidrMulti(ScVidr):
    """scVIDR (Kana et al., Patterns 2023) for all doses: one model, and a shift that grows with the logarithm of dose.

    The autoencoder is trained on the cells of every dose, the regression of `ScVidr` on the reference dose alone (the
    highest, unless the settings name another). At dose d the shift is delta * l(d) / l(reference dose), l(d) =
    log(1 + d / dose_unit), counted from the control dose of the keys: see `dose_coefficient`. Any dose from the control
    dose up can be asked for, one at a time or by `predict_doses`; beyond the reference dose a warning says so. Data
    without doses, or with one, are predicted as by `scvidr`.

    The profiles are those of `scvidr`. Both take the reference dose from the training cells, not from the list of doses
    asked for: in the published code that list's highest dose rescaled all others, and its lowest one was dropped.
    Published predictions that start from cells at the highest dose and move back are not offered.

    Examples
    --------
    >>> ScVidrMulti().settings.dose_unit
    1.0
    """

    name: ClassVar[str] = "scvidr-multi"
    summary: ClassVar[str] = (
        "scVIDR with one model for all doses: the highest dose's latent shift, scaled by the logarithm of the dose."
    )
    multi_dose: ClassVar[bool] = True
    unseen_doses: ClassVar[bool] = True
    profiles: ClassVar[Mapping[str, Settings]] = {
        "fixed": ScVidrMultiSettings(),
        "reference": ScVidrMultiSettings(**REFERENCE),
    }
    settings: ScVidrMultiSettings

    def predict_doses(self, control: AnnData, *, perturbation: str, doses: Iterable[float]) -> dict[float, AnnData]:
        """Predict several doses from the same control cells; no dose's prediction depends on which others are asked."""
        return {dose: self.predict(control, perturbation=perturbation, dose=dose) for dose in doses}

    def reference_dose(self, perturbation: str) -> float | None:
        """Return the dose whose shift is learned (None where the training data have no doses).

        Raises
        ------
        ValueError
            Where the settings name a dose that the perturbation was not seen at.
        """
        seen, chosen = self.doses[perturbation], self.settings.reference_dose
        if not seen:
            return None
        if chosen is not None and chosen not in seen:
            msg = f"reference_dose is {chosen:g}, but {perturbation!r} was seen at the doses {seen}; choose one of them"
            raise ValueError(msg)
        return max(seen) if chosen is None else chosen

    def _at_reference_dose(self, data: TrainingData, perturbation: str) -> TrainingData:
        reference = self.reference_dose(perturbation)
        if reference is None or data.doses is None:
            return data
        treated = ~data.control & (data.perturbations == perturbation)
        other = treated & (data.doses != reference)
        if without := sorted({str(name) for name in set(data.contexts[other]) - set(data.contexts[treated & ~other])}):
            warn_left_out(f"no cells at the reference dose {reference:g} in {', '.join(without)}", perturbation)
        return replace(data, perturbations=np.where(other, "", data.perturbations))

    def _coefficient(self, perturbation: str, dose: float | None) -> float:
        reference = self.reference_dose(perturbation)
        if reference is None and dose is not None:
            msg = f"{self.name} was fitted on data without doses and cannot predict dose {dose:g}; leave the dose out"
            raise ValueError(msg)
        if reference is None or dose is None:
            return 1.0
        unit, start = self.settings.dose_unit, self.keys.control_dose
        return dose_coefficient(dose, reference_dose=reference, control_dose=start, unit=unit)
