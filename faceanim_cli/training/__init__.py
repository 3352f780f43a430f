"""Training of the networks: losses and loops."""
