"""Rewards that have a process, a socket or weights."""
