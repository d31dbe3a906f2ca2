"""Cells or rows with labels to predict: data sets, folds, label noise and standardisation."""
