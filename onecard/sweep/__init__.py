"""Several runs of one recipe."""
