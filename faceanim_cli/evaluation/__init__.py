"""Scores: metrics, protocols, baselines, and the report that says how they came about."""
