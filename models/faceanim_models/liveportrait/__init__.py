"""LivePortrait's networks for people (Guo et al. 2024), in the layout of its published weights."""
