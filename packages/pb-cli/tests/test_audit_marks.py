"""What the registry declares of its metrics equals what the audit finds, on embedded and on simulated cells."""

import pytest
from pb_cli.commands.audit import find_unit
from pb_data import write_h5ad
from pb_data.simulate import SimulationSettings, simulate
from pb_eval import METRICS
from pb_eval.audit import audit
from pb_eval.audit.verdicts import FAULTS

ASKED = {"data": None, "options": (), "split": "leave-context-out", "perturbation": None, "n_genes": 1000}
TYPES = ("B cells", "CD14+ Monocytes", "CD4 T cells", "CD8 T cells", "Dendritic cells", "FCGR3A+ Monocytes", "NK cells")
UNITS = (*({"dataset": "pbmc", "hold_out": name} for name in TYPES), {"dataset": "mcfaline", "hold_out": "A172"})
SIMULATED = SimulationSettings(
    n_perturbations=1, n_combinations=0, n_interacting=0, doses=(10.0,), n_cells=140, n_controls=140, n_genes=300,
    n_responding=60,
)  # fmt: skip


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    made = simulate(SIMULATED)
    path = tmp_path_factory.mktemp("simulated") / "simulated.h5ad"
    write_h5ad(path, made.adata, made.keys)
    return {"dataset": None, "hold_out": "0", "data": path}


def worst(verdicts):
    """The gravest of some verdicts; a metric that rewards a case may be blind to it on other cells."""
    return min(verdicts, key=FAULTS.index)


def test_the_marks_equal_what_is_found_in_both_directions(simulated):
    names = list(METRICS)
    found: dict[tuple[str, str], list[str]] = {}
    for unit in (*UNITS, simulated):
        rows = audit(find_unit(ASKED | unit)[1], names)
        for row in rows[rows["verdict"].isin(FAULTS)].itertuples():
            found.setdefault((row.metric, row.case), []).append(row.verdict)
    declared = {(name, case): verdict for name in names for case, verdict in METRICS[name].faults.items()}
    assert {key: worst(verdicts) for key, verdicts in found.items()} == declared
