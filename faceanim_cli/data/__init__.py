"""Training data: clips of faces with their landmarks, and pairs of frames drawn from them."""
