"""Tasks: how an input becomes a prompt and what a right answer looks like, for training, evaluation and serving alike."""
