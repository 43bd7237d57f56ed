"""Cores and memory as the operating system and cgroups grant them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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

    def test_the_limit_of_every_parent_counts(self, cgroup):
        (cgroup / "a/b/c").mkdir(parents=True)
        (cgroup / "self").write_text("0::/a/b/c\n")
        for group, limit in (("a", 9000), ("a/b", 4000), ("a/b/c", 5000)):
            (cgroup / group / "memory.max").write_text(str(limit))
            (cgroup / group / "memory.current").write_text("1000")
        assert machine.free_memory() == 3000

    def test_a_container_that_is_told_its_host_s_path_reads_what_is_mounted(self, cgroup):
        (cgroup / "self").write_text("0::/docker/0123\n")
        (cgroup / "memory.max").write_text("7000")
        (cgroup / "memory.current").write_text("1000")
        assert machine.free_memory() == 6000

    def test_of_version_1_the_page_cache_of_the_groups_below_counts(self, cgroup):
        (cgroup / "memory").mkdir()
        (cgroup / "memory/memory.limit_in_bytes").write_text("5000")
        (cgroup / "memory/memory.usage_in_bytes").write_text("4000")
        (cgroup / "memory/memory.stat").write_text(
            "inactive_file 1\nactive_file 2\ntotal_inactive_file 300\ntotal_active_file 20\n"
        )
        assert machine.free_memory() == 1320

    def test_no_limit_is_no_limit(self, cgroup):
        (cgroup / "memory.max").write_text("max")
        (cgroup / "memory.current").write_text("5")
        assert machine.free_memory() is None


def _made_group(controller: str) -> Path:
    """A group of cgroup v1 with one below it, as this machine has it. Skips where they cannot be made."""
    above = Path("/sys/fs/cgroup") / controller / f"c2llm-lite-test-{os.getpid()}"
    try:
        (above / "below").mkdir(parents=True)
    except OSError as error:
        pytest.skip(f"no group of cgroup v1 can be made here: {error}")
    return above


@pytest.fixture(params=["memory", "cpu"])
def real_group(request):
    above = _made_group(request.param)
    yield above
    (above / "below").rmdir()
    above.rmdir()


def test_a_real_limit_of_version_1_on_the_group_above_counts(real_group):
    """A process joins the group below; the limit is on the one above."""
    if real_group.parent.name == "memory":
        (real_group / "memory.limit_in_bytes").write_text(str(512 << 20))
    else:
        (real_group / "cpu.cfs_quota_us").write_text("100000")
    tasks = real_group / "below/cgroup.procs"
    if not tasks.exists():
        pytest.skip("this is not cgroup v1")
    code = (
        f"open({str(tasks)!r}, 'w').write('0'); from c2llm_lite import machine; "
        "print(machine.free_memory(), machine.cores())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    free, cores = map(int, done.stdout.split())
    assert free < 512 << 20 if real_group.parent.name == "memory" else cores == 1
