"""The base model of a run: graft_core.basemodel's rules, with the hub's own client as downloader."""

import os
from pathlib import Path

from graft_core.api.v1alpha1.finetunejob import ModelSpec
from graft_core.basemodel.folders import HUB_PATTERNS, ModelFolder, ModelRefused, resolve_base
from graft_core.errors import Unavailable

__all__ = ["ModelFolder", "resolve_model"]

_FIELD = "spec.model.id"


def resolve_model(model: ModelSpec, work_dir: Path | None = None) -> ModelFolder:
    """Find the base model's folder, fetching it from the hub where that is where it is.

    ModelRefused is raised where there is no such model or it may not be used, Unavailable where the hub is out of reach.

    Args:
        model: spec.model. A hub token is read from HF_TOKEN.
        work_dir: Run folder; digests of large files are remembered there.

    Returns:
        Folder and revision.
    """
    return resolve_base(model, cache_dir=work_dir, download=_download)


def _download(model_id: str, revision: str) -> Path:
    # Imported here: most runs never see a hub.
    from huggingface_hub import errors, snapshot_download

    try:
        found = snapshot_download(
            model_id,
            revision=revision,
            allow_patterns=list(HUB_PATTERNS),
            token=os.environ.get("HF_TOKEN") or False,
        )
    except (errors.GatedRepoError, errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as err:
        raise ModelRefused(
            f"the hub has no {model_id!r} at {revision} for this token ({type(err).__name__}); check the name, the"
            " commit, and spec.model.tokenSecretRef"
        ) from err
    except (errors.LocalEntryNotFoundError, errors.HfHubHTTPError, errors.OfflineModeIsEnabled, OSError) as err:
        raise Unavailable(
            f"{_FIELD}: {model_id!r} at {revision} is not in the local cache and the hub cannot be reached"
            f" ({type(err).__name__}); go online, fill the cache, or name a folder with file:///"
        ) from err
    return Path(found)
