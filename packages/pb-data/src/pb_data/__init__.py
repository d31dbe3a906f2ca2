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
    from pb_data.labelled.cards import LabelledCard, LabelledData, Task
    from pb_data.labelled.folds import FOLDS, FoldRule, Folds, fold_names, get_fold_rule, inner_folds, make_folds
    from pb_data.labelled.labels import classes_of
    from pb_data.labelled.noise import confusable_classes, corrupt_labels
    from pb_data.labelled.own import load_labelled_file
    from pb_data.labelled.registry import LABELLED, labelled_card, labelled_names, load_labelled, load_labelled_source
    from pb_data.labelled.screen import Screen, prepare_screen, write_screen
    from pb_data.labelled.screen_simulation import ScreenSettings, simulate_screen
    from pb_data.labelled.standardise import Standardise, Standardiser, fit_standardiser
    from pb_data.manifest import read_manifest, write_manifest
    from pb_data.preprocess import Preprocessor, PreprocessSettings, filter_cells, fit_preprocessor
    from pb_data.problems import DataFileError
    from pb_data.schema import Problem, SchemaError, check, notes, validate
    from pb_data.splits import SPLITS, Split, SplitRule, get_split, make_split, split_names
    from pb_data.units import contexts, resolve_context, resolve_unit, split_units

_HOMES = {
    "DATASETS": "datasets.registry",
    "FOLDS": "labelled.folds",
    "LABELLED": "labelled.registry",
    "SPLITS": "splits",
    "DataFileError": "problems",
    "Dataset": "datasets.cards",
    "DatasetCard": "datasets.cards",
    "FoldRule": "labelled.folds",
    "Folds": "labelled.folds",
    "Keys": "keys",
    "LabelledCard": "labelled.cards",
    "LabelledData": "labelled.cards",
    "PerturbationData": "datasets.cards",
    "PreprocessSettings": "preprocess",
    "Preprocessor": "preprocess",
    "Problem": "schema",
    "Scale": "keys",
    "SchemaError": "schema",
    "Screen": "labelled.screen",
    "ScreenSettings": "labelled.screen_simulation",
    "Split": "splits",
    "SplitRule": "splits",
    "Standardise": "labelled.standardise",
    "Standardiser": "labelled.standardise",
    "Task": "labelled.cards",
    "card": "datasets.registry",
    "check": "schema",
    "classes_of": "labelled.labels",
    "confusable_classes": "labelled.noise",
    "contexts": "units",
    "corrupt_labels": "labelled.noise",
    "dataset_names": "datasets.registry",
    "filter_cells": "preprocess",
    "fit_preprocessor": "preprocess",
    "fit_standardiser": "labelled.standardise",
    "fold_names": "labelled.folds",
    "get_dataset": "datasets.registry",
    "get_fold_rule": "labelled.folds",
    "get_split": "splits",
    "inner_folds": "labelled.folds",
    "label_array": "keys",
    "labelled_card": "labelled.registry",
    "labelled_names": "labelled.registry",
    "load": "datasets.registry",
    "load_h5ad": "datasets.own",
    "load_labelled": "labelled.registry",
    "load_labelled_file": "labelled.own",
    "load_labelled_source": "labelled.registry",
    "load_source": "datasets.registry",
    "make_folds": "labelled.folds",
    "make_split": "splits",
    "notes": "schema",
    "prepare_screen": "labelled.screen",
    "read_manifest": "manifest",
    "resolve_context": "units",
    "resolve_unit": "units",
    "restrict": "conditions",
    "simulate_screen": "labelled.screen_simulation",
    "split_names": "splits",
    "split_units": "units",
    "validate": "schema",
    "write_h5ad": "datasets.own",
    "write_manifest": "manifest",
    "write_screen": "labelled.screen",
}

__all__ = [
    "DATASETS",
    "FOLDS",
    "LABELLED",
    "SPLITS",
    "DataFileError",
    "Dataset",
    "DatasetCard",
    "FoldRule",
    "Folds",
    "Keys",
    "LabelledCard",
    "LabelledData",
    "PerturbationData",
    "PreprocessSettings",
    "Preprocessor",
    "Problem",
    "Scale",
    "SchemaError",
    "Screen",
    "ScreenSettings",
    "Split",
    "SplitRule",
    "Standardise",
    "Standardiser",
    "Task",
    "card",
    "check",
    "classes_of",
    "confusable_classes",
    "contexts",
    "corrupt_labels",
    "dataset_names",
    "filter_cells",
    "fit_preprocessor",
    "fit_standardiser",
    "fold_names",
    "get_dataset",
    "get_fold_rule",
    "get_split",
    "inner_folds",
    "label_array",
    "labelled_card",
    "labelled_names",
    "load",
    "load_h5ad",
    "load_labelled",
    "load_labelled_file",
    "load_labelled_source",
    "load_source",
    "make_folds",
    "make_split",
    "notes",
    "prepare_screen",
    "read_manifest",
    "resolve_context",
    "resolve_unit",
    "restrict",
    "simulate_screen",
    "split_names",
    "split_units",
    "validate",
    "write_h5ad",
    "write_manifest",
    "write_screen",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        msg = f"module 'pb_data' has no attribute {name!r}; it has {', '.join(__all__)}"
        raise AttributeError(msg)
    return getattr(import_module(f"pb_data.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
