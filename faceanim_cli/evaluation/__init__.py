"""Evaluation: metrics, protocols, baselines and the report."""
