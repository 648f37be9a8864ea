"""Measuring restorations: one command for a row of a table, of our models and of any other method's pictures."""

from ucdir.evaluation.run import Settings, evaluate

__all__ = ["Settings", "evaluate"]
