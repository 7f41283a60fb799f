"""The machine and what runs on it: the GPU, the shapes of models, installed packages, precision."""
