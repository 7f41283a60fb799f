"""The kinds of gold answers: what one looks like, and when a declared answer equals it."""
