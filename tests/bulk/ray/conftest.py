"""A Ray cluster on this machine."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def cluster(cache):
    """A Ray cluster's address: three nodes of one CPU each. This process is connected to it.

    For one file of tests: where a process that is connected forks, as other tests do, disconnecting may hang.
    """
    from c2llm_lite.benchmarks.lab.ray_cluster import cluster

    with cluster(nodes=3) as address:
        yield address
