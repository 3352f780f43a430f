"""Weights on disk: our checkpoints, and the ones that ship in the package."""
