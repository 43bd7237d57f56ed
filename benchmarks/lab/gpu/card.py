"""The card: everything that only CUDA can answer, so that a dry run on a CPU replaces one thing."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

# Dense bf16 products with fp32 sums, 10^12 operations a second, from NVIDIA's data sheets (without sparsity).
PEAK = {"H200": 989, "H100 PCIe": 756, "H100": 989, "A100": 312, "L40S": 362, "L4": 121, "A10": 125, "RTX 4090": 165}
PRODUCT = 8192  # rows and columns of the product that measures what the card itself reaches


class Card:
    """One device. On a CPU everything is answered, memory with None."""

    def __init__(self, name: str) -> None:
        self.device = torch.device(name)
        self.cuda = self.device.type == "cuda"

    def describe(self) -> dict[str, Any]:
        """What a results file says of the machine."""
        found: dict[str, Any] = {"torch": torch.__version__, "python": platform.python_version()}
        if not self.cuda:
            return {"name": "CPU, a dry run on tiny shapes: the figures mean nothing"} | found
        there = torch.cuda.get_device_properties(self.device)
        name = torch.cuda.get_device_name(self.device)
        peak = next((peak for part, peak in PEAK.items() if part in name), None)
        return {
            "name": name,
            "memory": there.total_memory,
            "capability": f"{there.major}.{there.minor}",
            "cuda": torch.version.cuda,
            "bf16_peak_tflops": peak,
            "bf16_measured_tflops": round(self._product()),
        } | found

    def wait(self) -> None:
        """Until all that was launched is done."""
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def seconds(self, run: Callable[[], object], limit: float = 1.0) -> float:
        """The median of runs for `limit` seconds, three at least, after one that warms up; a dry run's first."""
        started = time.perf_counter()
        run()
        self.wait()
        if not self.cuda:
            return time.perf_counter() - started
        taken: list[float] = []
        until = time.perf_counter() + limit
        while len(taken) < 3 or time.perf_counter() < until:
            started = time.perf_counter()
            run()
            self.wait()
            taken.append(time.perf_counter() - started)
        return statistics.median(taken)

    def captured(self, run: Callable[[], object]) -> Callable[[], object]:
        """`run` as a CUDA graph, whose kernels one call launches; unchanged on a CPU."""
        if not self.cuda:
            return run
        beside = torch.cuda.Stream(self.device)
        with torch.cuda.stream(beside):
            for _ in range(3):  # what is allocated or chosen on the first runs is not part of the graph
                run()
        torch.cuda.current_stream(self.device).wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        replay: Callable[[], object] = graph.replay
        return replay

    def forget(self) -> None:
        """Give free memory back; peaks count from here."""
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak(self) -> int | None:
        """The most bytes that PyTorch held since forget()."""
        return torch.cuda.max_memory_allocated(self.device) if self.cuda else None

    def held(self) -> int | None:
        """Bytes that PyTorch holds."""
        return torch.cuda.memory_allocated(self.device) if self.cuda else None

    def _product(self) -> float:
        a, b = (torch.randn(PRODUCT, PRODUCT, device=self.device, dtype=torch.bfloat16) for _ in range(2))
        return 2 * PRODUCT**3 / self.seconds(lambda: a @ b, 0.3) / 1e12
