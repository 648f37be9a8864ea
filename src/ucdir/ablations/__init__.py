"""Ablation studies (Sec. 4.7, Table 4): the same training with one design choice changed at a time."""

from ucdir.ablations.rows import ROWS, ablated, study

__all__ = ["ROWS", "ablated", "study"]
