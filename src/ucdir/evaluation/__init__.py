"""Measuring restorations: a row of a table for each of our models and for any other method's images."""

from ucdir.evaluation.run import Settings, evaluate

__all__ = ["Settings", "evaluate"]
