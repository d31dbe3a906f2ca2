"""Data sets: a registry of cards and readers."""

from pb_data.datasets.cards import Dataset, DatasetCard, PerturbationData
from pb_data.datasets.registry import DATASETS, card, dataset_names, get_dataset, load, load_h5ad, load_source

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
]
