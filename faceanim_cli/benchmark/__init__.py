"""How fast animation is, stage by stage, and how far that is from what the machine can do."""
