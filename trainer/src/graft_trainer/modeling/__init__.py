"""Base models and tokenizers: where they come from, what is in them, how records become token ids."""
