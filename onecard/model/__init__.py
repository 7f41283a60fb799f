"""The model: loaded, with its adapter, asked for completions. `load.py` alone imports unsloth."""
