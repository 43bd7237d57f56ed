"""Cores and memory as the operating system and cgroups grant them."""

from __future__ import annotations

import os

import pytest

from c2llm_lite import machine


@pytest.fixture
def cgroup(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    monkeypatch.setattr(machine, "_CGROUP_V1_MEMORY", tmp_path / "memory")
    monkeypatch.setattr(machine, "_CPUS", tmp_path / "cpus")
    monkeypatch.setattr(machine, "_MEMINFO", tmp_path / "meminfo")
    return tmp_path


def _cpus(folder, siblings):
    for cpu, text in enumerate(siblings):
        topology = folder / f"cpus/cpu{cpu}/topology"
        topology.mkdir(parents=True)
        (topology / "thread_siblings_list").write_text(f"{text}\n")


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only Linux tells which CPUs a process may use")
class TestCores:
    def test_two_threads_of_a_core_count_once(self, cgroup, monkeypatch):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
        _cpus(cgroup, ["0,2", "1,3", "0,2", "1,3"])
        assert machine.cores() == 2

    def test_cpus_without_topology_count_each(self, cgroup, monkeypatch):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2})
        assert machine.cores() == min(3, os.cpu_count() or 1)

    @pytest.mark.parametrize(("quota", "cores"), [("300000 100000", 3), ("50000 100000", 1), ("max 100000", 4)])
    def test_a_cgroup_quota_is_respected(self, cgroup, monkeypatch, quota, cores):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
        monkeypatch.setattr(os, "cpu_count", lambda: 4)
        (cgroup / "cpu.max").write_text(quota)
        assert machine.cores() == cores


class TestMemory:
    def test_the_smaller_of_system_and_cgroup_counts(self, cgroup):
        (cgroup / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 4000 kB\n")
        assert machine.free_memory() == 4000 * 1024
        (cgroup / "memory.max").write_text("3000000")
        (cgroup / "memory.current").write_text("2500000")
        (cgroup / "memory.stat").write_text("anon 1\ninactive_file 100\nactive_file 20\n")
        assert machine.free_memory() == 500120

    def test_no_limit_is_no_limit(self, cgroup):
        (cgroup / "memory.max").write_text("max")
        (cgroup / "memory.current").write_text("5")
        assert machine.free_memory() is None
