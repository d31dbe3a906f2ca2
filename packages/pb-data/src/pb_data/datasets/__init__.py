"""Data sets: a registry of cards and readers."""

from pb_data.datasets.cards import Dataset, DatasetCard, PerturbationData
from pb_data.datasets.own import load_h5ad, write_h5ad
from pb_data.datasets.registry import DATASETS, card, dataset_names, get_dataset, load, load_source

__all__ = [
    "DATASETS",
    "Dataset",
    "DatasetCard",
    "PerturbationData",
    "card",
    "dataset_names",
    "get_dataset",
    "load",
    "load_h5ad",
    "load_source",
    "write_h5ad",
]
