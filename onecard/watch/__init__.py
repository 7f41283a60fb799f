"""Is it learning? The measures of a step, what health makes of them, and the pilot before it."""
