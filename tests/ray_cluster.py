"""A cluster of several nodes on this machine, as ray.cluster_utils makes them for Ray's own tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

STORE = 10**8  # bytes, of each node's objects


def started(nodes: int) -> Iterator[str]:
    """The address of a cluster of so many nodes, each with one CPU; this process is connected to it."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_DATA_DISABLE_PROGRESS_BARS"] = "1"
    node = {"object_store_memory": STORE}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False} | node)
    try:
        for _ in range(nodes - 1):
            cluster.add_node(num_cpus=1, **node)
        ray.init(cluster.address, log_to_driver=False)
        yield cluster.address
    finally:
        ray.shutdown()
        cluster.shutdown()


def kill_worker() -> bool:
    """SIGKILL one process that runs an actor of Ray Data's; False where none is running a call."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            title = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if title.startswith(b"ray::MapWorker") and b".submit" in title:
            os.kill(int(process.name), signal.SIGKILL)
            return True
    return False
