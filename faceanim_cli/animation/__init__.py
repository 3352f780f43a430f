"""Animation: a photo set once, then any number of driving frames; and the streaming job on files."""
