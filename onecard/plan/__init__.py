"""What a recipe will do and take, in numbers, before anything heavy is imported."""
