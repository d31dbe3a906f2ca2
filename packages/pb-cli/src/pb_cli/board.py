"""The leaderboard as a rich table: scores, then gains over the best baseline."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from pb_eval import Leaderboard

__all__ = ["board_of", "show_board"]


def board_of(results: "pd.DataFrame") -> "Leaderboard":
    """Rank the models of a results table; the registry says which of them are baselines."""
    from pb_eval import leaderboard
    from pb_models import get_model

    baselines = [name for name in results["model"].unique() if get_model(name).is_baseline]
    return leaderboard(results, baselines)
