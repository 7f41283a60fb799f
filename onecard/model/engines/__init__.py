"""What answers prompts: a transformers model, or vLLM; alone, or in the process that trains."""
