"""Evaluation: benchmarks, running them, statistics, and the report."""
