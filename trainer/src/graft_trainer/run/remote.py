"""What must outlive a pod, in object storage below `<output prefix>runs/<uid>/<role>/`.

    checkpoints/checkpoint-N/…   files, then complete.json: without that it is not there
    trained/…                    the same, once training is done
    state.json                   seconds of all attempts, and how the newest ended
    report.json                  the whole report, once there is one

A checkpoint that can't be stored costs nothing but itself: training goes on, the next one may reach the store. One that can't be read
back whole is passed over for an older one. A finished run takes its checkpoints away; those of a run that never ends are left to the
bucket's lifecycle rule for `runs/`, since the operator has no credentials to remove them with.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from graft_core.contracts.pod import REPORT_FILE, run_prefix
from graft_core.contracts.train_report import TrainReport
from graft_core.contracts.train_request import TrainRequest
from graft_core.errors import Corrupt, GraftError, InvalidInput
from graft_core.storage.base import ObjectStore, sha256_of_file
from graft_core.storage.objects import open_store
from graft_core.telemetry.logs import get_log
from graft_trainer.data.credentials import output_env
from graft_trainer.methods.checkpoints import MARKER, SAVING
from graft_trainer.modeling.durable import publish_folder

__all__ = ["RemoteState"]

STATE_FILE: Final = "state.json"
CHECKPOINTS: Final = "checkpoints"
TRAINED: Final = "trained"

_log = get_log(__name__)


class RemoteState:
    """One child's folder in object storage; opened anew for each use, so that renewed credentials count."""

    def __init__(self, request: TrainRequest, role: str) -> None:
        self._uri = run_prefix(request.output_prefix, request.job.uid, role)

    def _open(self) -> tuple[ObjectStore, str]:
        return open_store(self._uri, output_env())

    def push_checkpoint(self, checkpoint: Path) -> None:
        """Store a complete checkpoint, then drop the stored ones that are no longer kept here; a store out of reach is only told."""
        try:
            store, key = self._open()
            folder = f"{key}/{CHECKPOINTS}"
            _push(store, f"{folder}/{checkpoint.name}", checkpoint)
            kept = {path.name for path in checkpoint.parent.iterdir()}
            for name in sorted(_names(store, folder) - kept):
                _drop(store, f"{folder}/{name}")
        except GraftError as err:
            _log.warning("checkpoint_not_stored", checkpoint=checkpoint.name, reason=str(err))

    def push_trained(self, trained: Path) -> None:
        """Store the finished adapter: an attempt on another node evaluates it instead of training again."""
        try:
            store, key = self._open()
            _push(store, f"{key}/{TRAINED}", trained)
        except GraftError as err:
            _log.warning("adapter_not_stored", reason=str(err))

    def pull(self, checkpoints: Path, trained: Path) -> None:
        """Bring back what an attempt on another node left; what is here already stays.

        A store out of reach is Unavailable: to begin anew would throw the work away that it holds.
        """
        store, key = self._open()
        if not trained.exists():
            _pull(store, f"{key}/{TRAINED}", trained)
        if trained.exists():
            return
        folder = f"{key}/{CHECKPOINTS}"
        for name in sorted(_names(store, folder)):
            if not (checkpoints / name).exists():
                _pull(store, f"{folder}/{name}", checkpoints / name)

    def read_state(self) -> dict[str, Any]:
        """Read what the attempts before noted; empty where there was none."""
        store, key = self._open()
        try:
            found: dict[str, Any] = json.loads(store.read(f"{key}/{STATE_FILE}"))
        except (InvalidInput, ValueError):
            return {}
        return found

    def write_state(self, train_seconds: int, end: str = "") -> None:
        """Note how long all attempts took so far, and how this one ended."""
        self._write(STATE_FILE, json.dumps({"train_seconds": train_seconds, "end": end}))

    def write_report(self, report: TrainReport) -> None:
        """Store the whole report."""
        self._write(REPORT_FILE, report.to_json())

    def drop_work(self) -> None:
        """Remove what only an unfinished run needs."""
        try:
            store, key = self._open()
            for part in (CHECKPOINTS, TRAINED):
                _drop(store, f"{key}/{part}")
        except GraftError as err:
            _log.warning("checkpoints_left", reason=str(err))

    def _write(self, name: str, text: str) -> None:
        try:
            store, key = self._open()
            store.put(f"{key}/{name}", text.encode())
        except GraftError as err:
            _log.warning("not_stored", file=name, reason=str(err))


def _push(store: ObjectStore, key: str, folder: Path) -> None:
    marker = f"{key}/{MARKER}"
    if store.stat(marker) is not None:
        return
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MARKER)
    files = {path.relative_to(folder).as_posix(): sha256_of_file(path) for path in paths}
    for name in files:
        store.put(f"{key}/{name}", folder / name)
    store.put(marker, json.dumps({"files": files}, sort_keys=True).encode())


def _pull(store: ObjectStore, key: str, target: Path) -> None:
    """Fetch a stored folder; one that is not whole is told and passed over."""
    made = target.with_name(f"{SAVING}{target.name}")
    shutil.rmtree(made, ignore_errors=True)
    try:
        for name, digest in _files(store, key).items():
            path = made / name
            path.parent.mkdir(parents=True, exist_ok=True)
            store.fetch(f"{key}/{name}", path, sha256=digest)
    except (Corrupt, InvalidInput, ValueError, KeyError) as err:
        if not isinstance(err, InvalidInput) or err.reason != "NotFound":
            _log.warning("stored_folder_passed_over", folder=target.name, reason=str(err))
        shutil.rmtree(made, ignore_errors=True)
        return
    sizes = {str(p.relative_to(made)): p.stat().st_size for p in sorted(made.rglob("*")) if p.is_file()}
    (made / MARKER).write_text(json.dumps({"files": sizes}, sort_keys=True), encoding="utf-8")
    publish_folder(made, target)


def _files(store: ObjectStore, key: str) -> dict[str, str]:
    marker = json.loads(store.read(f"{key}/{MARKER}"))
    files: dict[str, str] = marker["files"]
    if any(name.startswith("/") or ".." in name.split("/") for name in files):
        raise Corrupt(f"{store.uri_of(key)}/{MARKER} names a file outside of its folder")
    return files


def _names(store: ObjectStore, folder: str) -> set[str]:
    return set(_first_parts(store, folder))


def _first_parts(store: ObjectStore, folder: str) -> Iterator[str]:
    for found in store.list(folder):
        rest = found.key.removeprefix(f"{folder}/")
        if "/" in rest:
            yield rest.partition("/")[0]


def _drop(store: ObjectStore, key: str) -> None:
    # The marker first: what is being removed is not complete any more.
    store.delete(f"{key}/{MARKER}")
    for found in list(store.list(key)):
        store.delete(found.key)
