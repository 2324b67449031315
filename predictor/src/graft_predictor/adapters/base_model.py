"""The base model that an adapter's manifest pins: found on this machine, or fetched from the hub by commit."""

import os
from pathlib import Path

from graft_core.api.v1alpha1.finetunejob import ModelSpec
from graft_core.basemodel.folders import HUB_PATTERNS, ModelFolder, resolve_base
from graft_core.contracts.adapter_manifest import BaseModelPin
from graft_core.errors import Corrupt, InvalidInput, Unavailable
from graft_predictor.adapters.verify import check_base

__all__ = ["find_base"]


def find_base(pin: BaseModelPin, *, cache_dir: Path, hub_dir: Path | None) -> Path:
    """Find the folder, and prove that it is the one the adapter was trained on.

    Raises InvalidInput where there is no such model or it may not be used, Unavailable where the hub is out of reach.

    Args:
        pin: manifest.baseModel.
        cache_dir: Digests of large files are remembered here.
        hub_dir: Where hub models are kept; None: the hub client's own cache.

    Returns:
        The folder.

    Raises:
        Corrupt: Its revision is another.
    """
    is_hub = "://" not in pin.id
    if is_hub and len(pin.revision) != 40:
        raise Corrupt(f"manifest.baseModel.revision: {pin.revision[:80]!r} is not a 40-hex commit of {pin.id!r}")
    spec = ModelSpec(id=pin.id, revision=pin.revision if is_hub else None)
    found: ModelFolder = resolve_base(spec, cache_dir=cache_dir, download=lambda name, at: _download(name, at, hub_dir))
    check_base(pin, revision=found.revision)
    return found.folder


def _download(model_id: str, revision: str, hub_dir: Path | None) -> Path:
    from huggingface_hub import errors, snapshot_download

    try:
        found = snapshot_download(
            model_id,
            revision=revision,
            cache_dir=hub_dir,
            allow_patterns=list(HUB_PATTERNS),
            token=os.environ.get("HF_TOKEN") or False,
        )
    except (errors.GatedRepoError, errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as err:
        raise InvalidInput(
            f"baseModel: the hub has no {model_id!r} at {revision} for this token ({type(err).__name__})",
            path="baseModel.id",
        ) from err
    except (errors.LocalEntryNotFoundError, errors.HfHubHTTPError, errors.OfflineModeIsEnabled, OSError) as err:
        raise Unavailable(
            f"baseModel: {model_id!r} at {revision} is not on this machine and the hub cannot be reached ({type(err).__name__})"
        ) from err
    return Path(found)
