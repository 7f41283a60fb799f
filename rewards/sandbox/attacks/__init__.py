"""What a program may try to get out, or to be paid for nothing."""
