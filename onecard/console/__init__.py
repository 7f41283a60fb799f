"""What a person sees and types: progress, how a command ends, signals, text safe to show."""
