"""Rewards that are pure functions of one completion: one idea a file."""
