"""Base models: where they come from, their hash, their tokenizer, and the small one that the demo makes itself."""
