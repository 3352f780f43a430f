"""A photo that moves as somebody before a camera does, while they do."""
