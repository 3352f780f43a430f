"""Benchmarks: the time of each stage, and its share of what the machine can do."""
