"""Many photos with many drivers: what is to be done, who does it, and what became of it."""
