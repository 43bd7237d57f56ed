"""A Ray cluster on this machine."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def cluster(cache):
    """A Ray cluster's address: three nodes of one CPU each. This process is connected to it."""
    from c2llm_lite.benchmarks.lab.ray_cluster import cluster

    with cluster(nodes=3) as address:
        yield address
