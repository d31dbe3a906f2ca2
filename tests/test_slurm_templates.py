"""The templates of slurm/ are those that pb uses: a wheel has no repository around it."""

import pytest


@pytest.mark.parametrize("name", ["array.sbatch", "gpu.sbatch"])
def test_the_templates_that_are_shown_are_those_that_are_used(root, name):
    used = root / "packages" / "pb-cli" / "src" / "pb_cli" / "templates" / name
    assert (root / "slurm" / name).read_bytes() == used.read_bytes()
