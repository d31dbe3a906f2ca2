"""A model, a loss and a metric of another package, found by pb through entry points."""
