"""What is around a process that nobody trusts."""
