"""Live animation: a photo moves as the person before a camera does."""
