"""Engines that are servers beside the predictor: TGI and vLLM. What they share is here once; each has one file of its own ways."""
