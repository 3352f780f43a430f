"""Batch animation: plan, workers, reports."""
