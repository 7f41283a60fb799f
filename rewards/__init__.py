"""What a completion is worth. Importable without torch, safe on any text that a model can write."""
