"""The checks of health, by what they are about. Each limit stands beside its check.

A check takes the lines of metrics.jsonl so far and the recipe's `health:`. It gives an alarm, or
None. It is pure, and lines may lack any key or value.
"""
