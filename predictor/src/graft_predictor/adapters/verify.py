"""What an adapter's manifest promises, held against what is there; the first thing that differs refuses the adapter."""

from pathlib import Path

from pydantic import ValidationError

from graft_core.contracts.adapter_manifest import AdapterManifest, BaseModelPin, digest_of_files
from graft_core.errors import Corrupt
from graft_core.storage.base import sha256_of_file
from graft_core.tasks.template import check_task_template, template_sha256
from graft_predictor.adapters.config_files import check_config_files, check_file_names
from graft_predictor.adapters.weights import check_weights

__all__ = ["check_base", "check_files", "check_template", "parse_manifest"]


def parse_manifest(data: bytes, *, digest: str) -> AdapterManifest:
    """Read a manifest, and refuse one that is not the expected artifact's or must not be released.

    Args:
        data: manifest.json.
        digest: The digest that the release names.

    Returns:
        The manifest; its list of files has that digest.

    Raises:
        Corrupt: Not a manifest of this version, another artifact's, or with a gate that is not Pass.
    """
    try:
        manifest = AdapterManifest.model_validate_json(data)
    except ValidationError as err:
        fault = err.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"]) or "manifest.json"
        raise Corrupt(f"manifest.json: {where}: {fault['msg']}; publish the adapter again") from err
    actual = digest_of_files(manifest.files)
    if not manifest.digest == actual == digest:
        raise Corrupt(f"manifest.json: digest {manifest.digest!r} over files {actual!r}, the release names {digest!r}")
    check_file_names([file.path for file in manifest.files])
    for gate in manifest.gates:
        if gate.result != "Pass":
            raise Corrupt(f"gate {gate.metric!r} is {gate.result!r}; only an adapter whose gates all passed is served")
    check_task_template(manifest.task)
    if manifest.compatibility.model_class == "sequence-classification" and not manifest.task.labels:
        raise Corrupt("manifest.json: task.labels is missing; a classifier's outputs have no names without it")
    return manifest


def check_files(folder: Path, manifest: AdapterManifest) -> None:
    """Hash every file again, then look inside the configuration and the weights.

    Args:
        folder: Holds exactly the manifest's files.
        manifest: As parse_manifest returns it.

    Raises:
        Corrupt: A file is missing, differs, or must not be loaded.
    """
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
    extra = sorted(found - {file.path for file in manifest.files})
    if extra:
        # A chat template or tokenizer file that no digest covers would change every prompt.
        raise Corrupt(f"{extra[0][:120]!r} is in the copied adapter but not in the manifest")
    for file in manifest.files:
        path = folder / file.path
        if not path.is_file() or path.is_symlink():
            raise Corrupt(f"{file.path} is missing from the copied adapter")
        if path.stat().st_size != file.size_bytes or sha256_of_file(path) != file.sha256:
            raise Corrupt(f"{file.path} differs from the manifest; it was changed or damaged after it was published")
    check_config_files(folder, manifest)
    check_weights(folder / "adapter_model.safetensors", manifest)


def check_base(pin: BaseModelPin, *, revision: str) -> None:
    """Refuse another base than the adapter was trained on.

    Args:
        pin: manifest.baseModel.
        revision: Of the base that was found: a commit, or sha256:… over its files.

    Raises:
        Corrupt: They differ.
    """
    if pin.revision != revision:
        raise Corrupt(
            f"base model {pin.id!r} is {revision!r} here, the adapter was trained on {pin.revision!r};"
            " an adapter fits only its own base"
        )


def check_template(manifest: AdapterManifest, *, chat_template: str | None) -> None:
    """Refuse a prompt that would differ from the one in training.

    Args:
        manifest: Has the hash that training saw.
        chat_template: The loaded tokenizer's.

    Raises:
        Corrupt: They differ.
    """
    actual = template_sha256(manifest.task, chat_template)
    if actual != manifest.template_sha256:
        raise Corrupt(
            f"the prompt template has SHA-256 {actual}, the adapter was trained with {manifest.template_sha256};"
            " task, chat template or renderer changed since"
        )
