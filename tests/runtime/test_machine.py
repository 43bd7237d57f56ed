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
    monkeypatch.setattr(machine, "_OWN_GROUPS", tmp_path / "self")
    return tmp_path


def _cpus(folder, siblings):
    for cpu, text in enumerate(siblings):
        topology = folder / f"cpus/cpu{cpu}/topology"
        topology.mkdir(parents=True)
        (topology / "thread_siblings_list").write_text(f"{text}\n")


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only Linux reports which CPUs a process may use")
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

    def test_the_quota_of_the_own_group_and_of_every_parent_counts(self, cgroup, monkeypatch):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
        monkeypatch.setattr(os, "cpu_count", lambda: 4)
        (cgroup / "a/b").mkdir(parents=True)
        (cgroup / "self").write_text("0::/a/b\n")
        (cgroup / "a/cpu.max").write_text("300000 100000")
        assert machine.cores() == 3
        (cgroup / "a/b/cpu.max").write_text("200000 100000")
        assert machine.cores() == 2

    def test_a_quota_of_version_1(self, cgroup, monkeypatch):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
        monkeypatch.setattr(os, "cpu_count", lambda: 4)
        (cgroup / "cpu/a").mkdir(parents=True)
        (cgroup / "self").write_text("4:memory:/\n3:cpuacct,cpu:/a\n0::/\n")
        (cgroup / "cpu/a/cpu.cfs_quota_us").write_text("200000")
        (cgroup / "cpu/a/cpu.cfs_period_us").write_text("100000")
        assert machine.cores() == 2


class TestMemory:
    def test_the_limit_of_the_own_group_counts(self, cgroup):
        (cgroup / "memory/a/b").mkdir(parents=True)
        (cgroup / "self").write_text("4:memory:/a/b\n0::/\n")
        (cgroup / "memory/a/memory.limit_in_bytes").write_text("5000")
        (cgroup / "memory/a/memory.usage_in_bytes").write_text("2000")
        assert machine.free_memory() == 3000

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
