"""What a run does to the model, in order. `table.py` lists the stages."""
