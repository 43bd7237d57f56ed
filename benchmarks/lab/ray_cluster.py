"""A cluster of several nodes on this machine, made with ray.cluster_utils as in Ray's own tests, and kills in it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

OBJECT_STORE = 10**8  # bytes, of each node
_SELF = Path("/proc") / str(os.getpid())


@contextlib.contextmanager
def cluster(nodes: int) -> Iterator[str]:
    """The address of a cluster of so many nodes, each with one CPU; this process is connected to it."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_DATA_DISABLE_PROGRESS_BARS"] = "1"
    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": OBJECT_STORE}
    opened = Cluster(initialize_head=True, head_node_args={"include_dashboard": False} | node)
    try:
        for _ in range(nodes - 1):
            opened.add_node(**node)
        ray.init(opened.address, log_to_driver=False)
        yield opened.address
    finally:
        ray.shutdown()
        opened.shutdown()


def kill_worker() -> bool:
    """SIGKILL one process of cluster()'s in which an actor of Ray Data is at work on a task; False if none is.

    Ray sets its processes' titles: ray::MapWorker(…).submit while a task runs. Each is its node's child, and the nodes
    are this process's: another cluster on this machine is left alone.
    """
    for process in Path("/proc").glob("[0-9]*"):
        try:
            title = (process / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended
        if title.startswith(b"ray::MapWorker") and b".submit" in title and _parent(_parent(process)) == _SELF:
            os.kill(int(process.name), signal.SIGKILL)
            return True
    return False


def _parent(process: Path) -> Path:
    try:
        status = (process / "status").read_text().splitlines()
    except OSError:
        return process
    return process.with_name(next(line.split()[1] for line in status if line.startswith("PPid:")))
