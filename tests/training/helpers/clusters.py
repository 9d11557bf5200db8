"""Two processes in each kind of cluster that JAX supports, simulated on one machine; results as JSON.

Environments are as the launchers set them. Metadata of a TPU come over HTTP from a server on loopback; what Kubernetes
would answer comes from a stand-in for its package. It is a program of its own, which forks before JAX has started.
"""

import json
import os
import socket
import sys
import threading
import urllib.request
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import jax
from jax._src import clusters, distributed

from artifex.training.sharding.distributed import start

OTHERS = ("SLURM_", "OMPI_", "KUBERNETES_", "TPU_", "MEGASCALE_", "GCE_", "JAX_COORDINATOR", "JOB_COMPLETION")


class Case(NamedTuple):
    """A cluster: the environment of each process, and what is called in it first."""

    variables: Callable[[int], Mapping[str, str]]
    prepare: Callable[[], None] = lambda: None
    processes: int = 2


def open_mpi(process: int) -> dict[str, str]:
    return {
        "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://127.0.0.1,10.96.0.1:34911", "OMPI_COMM_WORLD_SIZE": "2",
        "OMPI_COMM_WORLD_RANK": str(process), "OMPI_COMM_WORLD_LOCAL_RANK": "0",
    }  # fmt: skip


def slurm(process: int) -> dict[str, str]:
    return {
        "SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "127.0.0.1,other", "SLURM_NTASKS": "2",
        "SLURM_PROCID": str(process), "SLURM_LOCALID": "0",
    }  # fmt: skip


def on_tpu() -> None:
    """As on a host of a TPU, with as much of the package ``requests`` as JAX calls."""
    for module in (clusters.cluster, clusters.cloud_tpu_cluster):
        module.running_in_cloud_tpu_vm = True  # type: ignore[attr-defined]

    def get(url: str, headers: Mapping[str, str], timeout: float) -> SimpleNamespace:
        with urllib.request.urlopen(urllib.request.Request(url, headers=dict(headers)), timeout=timeout) as answer:
            return SimpleNamespace(text=answer.read().decode(), status_code=answer.status)

    requests: Any = ModuleType("requests")
    requests.get = get
    sys.modules["requests"] = requests


def serve(known: Mapping[str, str]) -> int:
    """Serve the metadata of a TPU host; return the server's port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            value = known.get(self.path.removeprefix("/computeMetadata/v1/instance/attributes/"))
            self.send_response(404 if value is None or self.headers["Metadata-Flavor"] != "Google" else 200)
            self.end_headers()
            self.wfile.write((value or "").encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_address[1])


def cloud_tpu(process: int) -> dict[str, str]:
    value = {
        "agent-worker-number": str(process),
        "worker-network-endpoints": "a:0:127.0.0.1,b:1:10.0.0.2",
        "tpu-env": "",
    }
    return {"GCE_METADATA_IP": f"127.0.0.1:{serve(value)}"}


def tpu_slices(process: int) -> dict[str, str]:
    """Two slices of one host each, started by Kubernetes' JobSet."""
    return {
        "TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "127.0.0.1", "TPU_WORKER_ID": "0",
        "MEGASCALE_NUM_SLICES": "2", "MEGASCALE_SLICE_ID": str(process),
        "MEGASCALE_COORDINATOR_ADDRESS": "127.0.0.1:8080",
    }  # fmt: skip


def in_pod(subdomain: str | None = "pods") -> None:
    """As in a pod of an indexed job, whose first one's name leads here."""
    of = SimpleNamespace
    pod = of(
        metadata=of(name="pod", labels={"job-name": "run"}, owner_references=[of(controller=True, kind="Job")]),
        spec=of(subdomain=subdomain),
    )
    core = of(
        list_namespaced_pod=lambda namespace, field_selector: of(items=[pod]),
        list_namespaced_service=lambda namespace: of(items=[]),
    )
    job = of(metadata=of(name="run", labels={}), spec=of(parallelism=2))
    kubernetes: Any = ModuleType("kubernetes")
    kubernetes.config = of(load_incluster_config=lambda: None)
    kubernetes.client = of(
        CoreV1Api=lambda: core, BatchV1Api=lambda: of(read_namespaced_job=lambda name, namespace: job),
        exceptions=of(ApiException=ConnectionRefusedError),
    )  # fmt: skip
    sys.modules["kubernetes"] = kubernetes
    clusters.K8sCluster._namespace = lambda: "default"  # type: ignore[method-assign, assignment]
    runtime: Any = vars(distributed)["_jax"]
    found, connect = socket.gethostbyname, runtime.get_distributed_runtime_client
    socket.gethostbyname = lambda name: found(name.replace("run-0.pods", "127.0.0.1"))

    def here(address: str, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        return connect(address.replace("run-0.pods", "127.0.0.1"), *arguments, **options)

    runtime.get_distributed_runtime_client = here


def without_package() -> None:
    modules: dict[str, Any] = sys.modules
    modules["kubernetes"] = None


def kubernetes(process: int) -> dict[str, str]:
    return {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOSTNAME": "localhost", "JOB_COMPLETION_INDEX": str(process)}


def without(variables: Mapping[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in variables.items() if key != name}


CASES = {
    "slurm": Case(slurm),
    "open mpi": Case(open_mpi),
    "cloud tpu": Case(cloud_tpu, on_tpu),
    "tpu slices": Case(tpu_slices, on_tpu),
    "kubernetes": Case(kubernetes, in_pod),
    # What is wrong is found by each by itself.
    "no cluster": Case(lambda _: {}, processes=1),
    "open mpi 5": Case(lambda i: without(open_mpi(i), "OMPI_MCA_orte_hnp_uri"), processes=1),
    "open mpi, no rank": Case(lambda i: without(open_mpi(i), "OMPI_COMM_WORLD_RANK"), processes=1),
    "open mpi, rank 2 of 2": Case(lambda _: open_mpi(2), processes=1),
    "cloud tpu, no server": Case(lambda _: {"GCE_METADATA_IP": "127.0.0.1:1"}, on_tpu, processes=1),
    "kubernetes, no package": Case(kubernetes, without_package, processes=1),
    "kubernetes, no service": Case(kubernetes, lambda: in_pod(None), processes=1),
    "kubernetes, not indexed": Case(lambda i: without(kubernetes(i), "JOB_COMPLETION_INDEX"), in_pod, processes=1),
}


def run(case: Case, process: int, port: int) -> list[object]:
    """The process's number, how many there are, and where the first is; or what is wrong."""
    for name in [name for name in os.environ if name.startswith(OTHERS)]:
        del os.environ[name]
    os.environ |= {**case.variables(process), "JAX_COORDINATOR_PORT": str(port)}
    case.prepare()
    try:
        start("auto", timeout=30)
    except ValueError as error:
        return [str(error)]
    # All devices are known once all processes have reported theirs.
    return [jax.process_index(), len({device.process_index for device in jax.devices()}),
            str(distributed.global_state.coordinator_address).removesuffix(f":{port}")]  # fmt: skip


def main() -> None:
    running: list[tuple[str, int, int]] = []
    for name, case in CASES.items():
        with socket.socket() as free:
            free.bind(("", 0))
            port = free.getsockname()[1]
        for process in range(case.processes):
            read, write = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.write(write, json.dumps(run(case, process, port)).encode())
                jax.distributed.shutdown()  # type: ignore[no-untyped-call]
                os._exit(0)
            os.close(write)
            running.append((name, pid, read))
    found: dict[str, list[object]] = {name: [] for name in CASES}
    for name, pid, read in running:
        with os.fdopen(read) as pipe:
            value = pipe.read()
        os.waitpid(pid, 0)
        found[name].append(json.loads(value) if value else None)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
