"""The package's names, and what importing it costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pb_data
import pb_data.datasets
import pytest


def sort_key(name: str) -> tuple[int, str]:
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("package", [pb_data, pb_data.datasets])
def test_all_is_sorted_and_every_name_is_there(package) -> None:
    assert package.__all__ == sorted(package.__all__, key=sort_key)
    assert all(getattr(package, name) is not None for name in package.__all__)


def test_the_type_checker_sees_the_names_that_are_imported_lazily() -> None:
    tree = ast.parse(Path(pb_data.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {alias.name: f"{node.module}" for node in block.body for alias in node.names}
    assert typed == {name: f"pb_data.{home}" for name, home in pb_data._HOMES.items()}
    assert sorted(typed, key=sort_key) == pb_data.__all__
    assert dir(pb_data) == sorted(typed)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'lod'.*load_h5ad"):
        pb_data.lod  # noqa: B018


def test_listing_imports_nothing_heavy() -> None:
    program = (
        "import sys, pb_data, pb_data.datasets, pb_data.splits\n"
        "names = pb_data.dataset_names() + pb_data.split_names()\n"
        "cards = [pb_data.card(name).title for name in pb_data.dataset_names()]\n"
        "claims = [pb_data.get_split(name).summary for name in pb_data.split_names()]\n"
        "print(sorted({'anndata', 'scanpy', 'pandas', 'h5py', 'torch', 'numba'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
