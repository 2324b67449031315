"""Base models for a node that reaches no hub: made on the spot, a second each, and put into the images of trainer and predictor."""

from collections.abc import Mapping
from pathlib import Path

from tests.cluster.gobuild import cache_folder
from tests.trainer.tiny import make_encoder

__all__ = ["ENCODER", "base_models"]

ENCODER = "/models/encoder"
"""Place in the images of a BERT of two layers with random weights, for classification."""


def base_models() -> Mapping[str, Path]:
    """Return folders by their place in the images, made at the first use and kept, so that the images stay the same."""
    folder = cache_folder() / "models" / "encoder"
    if not folder.is_dir():
        making = folder.with_name("encoder.part")
        making.mkdir(parents=True, exist_ok=True)
        make_encoder(making)
        for file in making.iterdir():
            file.chmod(0o644)  # pods are nobody
        making.rename(folder)
    return {ENCODER: folder}
