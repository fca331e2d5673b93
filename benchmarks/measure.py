"""Stopwatch and scales."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable


def fastest(call: Callable[[], object], repeats: int = 7) -> float:
    """Seconds of the fastest of several runs: what the work takes when nothing interferes."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def cpu_seconds(call: Callable[[], object], repeats: int = 2) -> float:
    """Processor seconds of the cheapest of several runs, whoever else uses the processor."""
    seconds = []
    for _ in range(repeats):
        started = time.process_time()
        call()
        seconds.append(time.process_time() - started)
    return min(seconds)


def peak_memory(call: Callable[[], object]) -> int:
    """Most bytes that were allocated at once during a call, above what was there before."""
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak
