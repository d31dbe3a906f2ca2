"""Perturbation data for pb: data sets, schema, preprocessing fitted on training cells, and honest splits.

Names are imported on first use, so that listing data sets and splits costs no import of anndata or scanpy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pb_data.conditions import restrict
    from pb_data.datasets.cards import Dataset, DatasetCard, PerturbationData
    from pb_data.datasets.own import load_h5ad, write_h5ad
    from pb_data.datasets.registry import DATASETS, card, dataset_names, get_dataset, load, load_source
    from pb_data.keys import Keys, Scale, label_array
    from pb_data.manifest import read_manifest, write_manifest
    from pb_data.preprocess import Preprocessor, PreprocessSettings, filter_cells, fit_preprocessor
    from pb_data.problems import DataFileError
    from pb_data.schema import Problem, SchemaError, check, notes, validate
    from pb_data.splits import SPLITS, Split, SplitRule, get_split, make_split, split_names
    from pb_data.units import contexts, resolve_context, resolve_unit, split_units

_HOMES = {
    "DATASETS": "datasets.registry",
    "SPLITS": "splits",
    "DataFileError": "problems",
    "Dataset": "datasets.cards",
    "DatasetCard": "datasets.cards",
    "Keys": "keys",
    "PerturbationData": "datasets.cards",
    "PreprocessSettings": "preprocess",
    "Preprocessor": "preprocess",
    "Problem": "schema",
    "Scale": "keys",
    "SchemaError": "schema",
    "Split": "splits",
    "SplitRule": "splits",
    "card": "datasets.registry",
    "check": "schema",
    "contexts": "units",
    "dataset_names": "datasets.registry",
    "filter_cells": "preprocess",
    "fit_preprocessor": "preprocess",
    "get_dataset": "datasets.registry",
    "get_split": "splits",
    "label_array": "keys",
    "load": "datasets.registry",
    "load_h5ad": "datasets.own",
    "load_source": "datasets.registry",
    "make_split": "splits",
    "notes": "schema",
    "read_manifest": "manifest",
    "resolve_context": "units",
    "resolve_unit": "units",
    "restrict": "conditions",
    "split_names": "splits",
    "split_units": "units",
    "validate": "schema",
    "write_h5ad": "datasets.own",
    "write_manifest": "manifest",
}

__all__ = [
    "DATASETS",
    "SPLITS",
    "DataFileError",
    "Dataset",
    "DatasetCard",
    "Keys",
    "PerturbationData",
    "PreprocessSettings",
    "Preprocessor",
    "Problem",
    "Scale",
    "SchemaError",
    "Split",
    "SplitRule",
    "card",
    "check",
    "contexts",
    "dataset_names",
    "filter_cells",
    "fit_preprocessor",
    "get_dataset",
    "get_split",
    "label_array",
    "load",
    "load_h5ad",
    "load_source",
    "make_split",
    "notes",
    "read_manifest",
    "resolve_context",
    "resolve_unit",
    "restrict",
    "split_names",
    "split_units",
    "validate",
    "write_h5ad",
    "write_manifest",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        msg = f"module 'pb_data' has no attribute {name!r}; it has {', '.join(__all__)}"
        raise AttributeError(msg)
    return getattr(import_module(f"pb_data.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
