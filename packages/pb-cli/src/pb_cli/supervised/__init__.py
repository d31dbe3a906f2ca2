"""The supervised arm: labels of cells or rows predicted with any loss, cross-validated."""
