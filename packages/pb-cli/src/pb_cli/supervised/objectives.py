"""A loss by name as what training calls: directly, for the features first, or added to mean absolute error."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pb_models.sweep import Objective

__all__ = ["make_objective"]


def make_objective(loss: str, settings: dict[str, Any], *, epochs: int, n_classes: tuple[int, ...] = ()) -> "Objective":
    """Make the objective of stacked runs.

    A representation loss (RNC) trains the features in the first half of the epochs, mean absolute error everything in
    the second. A regulariser (ConR, RankSim) is added, times `added_weight`, to mean absolute error.
    """
    from pb_losses import loss_info
    from pb_losses.members import member_loss

    own = {name: value for name, value in settings.items() if name != "added_weight"}
    use = loss_info(loss).stage
    if use == "direct":
        direct = member_loss(loss, n_classes=n_classes, **own)
        return lambda features, outputs, targets, _: direct(features, outputs, targets)
    of_features, mae = member_loss(loss, **own), member_loss("mae")
    if use == "representation":

        def in_two_stages(features: Any, outputs: Any, targets: Any, epoch: int) -> Any:
            return (of_features if epoch < epochs // 2 else mae)(features, outputs, targets)

        return in_two_stages
    weight = settings.get("added_weight", 1.0)

    def added(features: Any, outputs: Any, targets: Any, _: int) -> Any:
        return mae(features, outputs, targets) + weight * of_features(features, outputs.detach(), targets)

    return added
