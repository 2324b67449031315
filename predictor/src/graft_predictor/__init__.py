"""A KServe model server with an OpenAI-compatible endpoint for fine-tuned models."""
