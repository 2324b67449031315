"""One cluster of one node on this machine.

    prepare()   tools, programs, definitions: all that needs the outside world
    start()     to be called in the network namespace; returns when the node is Ready and the gateway answers
    down()      finds all that was started by what was recorded, also after a crash

Everything is started detached: the cluster stays when the starter ends.
"""

import fcntl
import json
import secrets
import shutil
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import yaml

from tests.cluster import arguments, graft_images
from tests.cluster.api import Access, Api, write_kubeconfig
from tests.cluster.certificates import Authority, write_key
from tests.cluster.crds import GATEWAY_API, KSERVE, install
from tests.cluster.errors import BedError
from tests.cluster.graft_images import GraftImages
from tests.cluster.images import write_image
from tests.cluster.node import cgroups, cleanup, services
from tests.cluster.node.machine import NODE_IP, cni_plugins, hide, make_network, run, see_to_tools
from tests.cluster.node.models import base_models
from tests.cluster.node.places import FOLDER, HIDDEN, KUBECONFIG, LOCK, LOGS, READY, RUN, SOCKET, STORE
from tests.cluster.processes import HOST, Processes, all_alive, end_recorded, is_ready, until
from tests.cluster.programs import HELM, KUBE, SMALL_IMAGES

__all__ = ["NODE", "alone", "crash", "down", "keep_logs", "prepare", "set_gpus", "start"]

NODE = "node0"
API_PORT = 6443
ETCD_PORT = 2379
PEER_PORT = 2380
READY_S = 120
PAUSE_IMAGE = "localhost/pause:1"
IMAGES = {PAUSE_IMAGE: "pause", "localhost/answer:1": "answer"}
"""Program by image."""
SERVER = arguments.Server(ETCD_PORT, API_PORT, bind="0.0.0.0", node=NODE_IP)
"""It listens everywhere, in a namespace that has only this cluster in it."""
HOSTS = (HOST, "localhost", NODE_IP, "10.96.0.1", NODE)
NAMES = tuple(f"kubernetes{rest}" for rest in ("", ".default", ".default.svc", ".default.svc.cluster.local"))


@contextmanager
def alone() -> Generator[None, None, None]:
    """Keep others from starting or stopping a cluster meanwhile.

    Raises:
        BedError: Somebody is at it.
    """
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as busy:
            raise BedError("somebody else starts or stops the cluster at the moment; wait for it, or end it") from busy
        yield


def prepare(*, is_bare: bool = False) -> GraftImages | None:
    """Fetch, build and clear, and make the network.

    Args:
        is_bare: Leave Graft's own images out.

    Returns:
        The images, unless it is bare.

    Raises:
        BedError: There is a cluster already, and it runs.
    """
    see_to_tools()
    if READY.exists() and all_alive(FOLDER.glob("*.pid.json")):
        raise BedError(f"a cluster runs here already, its KUBECONFIG is {KUBECONFIG}; `make cluster-down` ends it")
    # Helm as well: the tests run it where nothing can be fetched any more.
    for module in (KUBE, SMALL_IMAGES, *(() if is_bare else (HELM,))):
        module.build()
    services.prepare()
    for crds in (GATEWAY_API, KSERVE):
        crds.crds()
    images = None if is_bare else graft_images.prepare(STORE, base_models())
    down()
    make_network()
    return images


def start(images: GraftImages | None = None) -> None:
    """Start the cluster in this namespace, and wait until it can be used.

    Args:
        images: Those of Graft that it is to have.
    """
    started = monotonic()
    FOLDER.mkdir(parents=True)
    hide(HIDDEN, FOLDER / "hidden")
    cgroups.make()
    access = _write_files()
    processes = Processes(FOLDER)
    kube = KUBE.build()
    _start_containerd(processes)
    processes.start("etcd", kube / "etcd", *arguments.etcd(SERVER, PEER_PORT))
    processes.start("kube-apiserver", kube / "kube-apiserver", *arguments.apiserver(SERVER))
    with Api(access) as api:
        until(lambda: is_ready(api.http), READY_S, "the API server", processes)
        _start_node(processes, kube)
        install(api, [*GATEWAY_API.crds(), *KSERVE.crds()])
        until(lambda: _is_node_ready(api), READY_S, "the node to be Ready", processes)
        services.start(processes, api, FOLDER, NODE)
    if images is not None:
        graft_images.load(images, SOCKET, STORE)
    processes.check()
    READY.touch()
    sys.stderr.write(f"cluster: {NODE} is ready after {monotonic() - started:.0f} s\n")


def down() -> None:
    """Stop everything and remove what it left on the machine; images stay for the next start."""
    cleanup.clear()


def crash() -> None:
    """`kill -9` the kubelet and containerd: what they started lives on without them."""
    end_recorded(FOLDER / f"{name}.pid.json" for name in ("kubelet", "containerd"))


def keep_logs() -> None:
    """Keep what was said in a run that failed, for whoever looks why."""
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir(parents=True)
    for log in FOLDER.glob("*.log"):
        shutil.copy(log, LOGS)
    sys.stderr.write(f"cluster: logs of what failed are in {LOGS}\n")


def set_gpus(api: Api, count: int) -> None:
    """Say that the node has so many GPUs: the scheduler believes it, and nothing is behind it."""
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
    amount = {"nvidia.com/gpu": str(count)}
    api.patch(node, {"status": {"capacity": amount, "allocatable": amount}}, subresource="status")


def _write_files() -> Access:
    authority = Authority.create(FOLDER)
    authority.issue("server", "kube-apiserver", hosts=HOSTS + NAMES)
    authority.issue("kubelet-client", "apiserver-kubelet", group="system:masters")
    write_key(FOLDER / "sa.key")
    admin, node = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    tokens = FOLDER / "tokens.csv"
    tokens.touch(mode=0o600)
    tokens.write_text(f"{admin},admin,admin,system:masters\n{node},system:node:{NODE},{NODE},system:nodes\n")
    access = Access(f"https://{HOST}:{API_PORT}", FOLDER / "ca.crt", admin)
    write_kubeconfig(KUBECONFIG, access)
    write_kubeconfig(FOLDER / "node.kubeconfig", Access(access.server, access.ca, node))
    (FOLDER / "kubelet.yaml").write_text(yaml.safe_dump(arguments.kubelet(FOLDER, SOCKET, cgroups.CGROUP)))
    (FOLDER / "proxy.yaml").write_text(yaml.safe_dump(arguments.kube_proxy(KUBECONFIG, NODE)))
    (FOLDER / "cni").mkdir()
    (FOLDER / "cni" / "10-pods.conflist").write_text(json.dumps(arguments.cni(FOLDER)))
    return access


def _start_containerd(processes: Processes) -> None:
    plugins, containerd = cni_plugins(), shutil.which("containerd")
    if plugins is None or containerd is None:
        raise BedError("containerd or the CNI plugins are gone; make cluster-up looks for them first")
    config = FOLDER / "containerd.toml"
    config.write_text(arguments.containerd(STORE, RUN, FOLDER / "cni", PAUSE_IMAGE, plugins))
    processes.start("containerd", containerd, "--config", str(config))
    until(SOCKET.exists, READY_S, str(SOCKET), processes)
    for image, program in IMAGES.items():
        archive = FOLDER / f"{program}.tar"
        write_image(archive, image, {program: SMALL_IMAGES.build() / program}, [f"/{program}"])
        run("ctr", "--address", str(SOCKET), "-n", "k8s.io", "images", "import", str(archive))


def _start_node(processes: Processes, kube: Path) -> None:
    manager = [*arguments.controller_manager(KUBECONFIG, "*"), "--use-service-account-credentials"]
    processes.start("kube-controller-manager", kube / "kube-controller-manager", *manager)
    scheduler = ["--kubeconfig", str(KUBECONFIG), "--leader-elect=false"]
    processes.start("kube-scheduler", kube / "kube-scheduler", *scheduler)
    kubelet = ["--config", "kubelet.yaml", "--kubeconfig", "node.kubeconfig", "--root-dir", str(FOLDER / "kubelet")]
    processes.start("kubelet", kube / "kubelet", *kubelet, "--hostname-override", NODE, "--node-ip", NODE_IP)
    processes.start("kube-proxy", kube / "kube-proxy", "--config", "proxy.yaml")


def _is_node_ready(api: Api) -> bool:
    node = api.find("v1", "Node", "", NODE) or {}
    conditions = node.get("status", {}).get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
