"""A recipe: all sections together, what must hold between them, and the file they stand in."""
