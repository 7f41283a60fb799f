"""What a run keeps, and how it comes back: its folder, journal, checkpoints, random states."""
