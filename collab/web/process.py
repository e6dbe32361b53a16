"""What Prometheus wants to know of every process, under the names that all of them have.

prometheus-client's own collector counts open files by listing them, which takes 20 ms and more where there are 20,000.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from collab.clock import unix
from collab.stats import resident

FILES: Final = "/proc/self/fd"


class ProcessCollector(Collector):
    """CPU, memory and files of this process, which is taken to begin with this."""

    def __init__(self) -> None:
        self._started = unix()

    def describe(self) -> list[Family]:
        """Nothing: collecting costs little, but the names are checked by tests."""
        return []

    def collect(self) -> Iterator[Family]:
        """As the standard names them; what the system does not tell is left out."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        cpu = used.ru_utime + used.ru_stime
        yield CounterMetricFamily("process_cpu_seconds", "seconds of CPU time, user and system", value=cpu)
        yield GaugeMetricFamily("process_start_time_seconds", "when it began, in seconds since 1970", self._started)
        yield GaugeMetricFamily("process_max_fds", "files that may be open", _limit())
        for name, text, value in (
            ("process_resident_memory_bytes", "bytes of memory", resident()),
            ("process_open_fds", "files that are open, sockets included", open_files()),
        ):
            if value is not None:
                yield GaugeMetricFamily(name, text, value)


def _limit() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def open_files() -> int | None:
    """How many files are open; None where the system does not tell."""
    try:
        # From Linux 6.2 on that is the folder's size; before, it is 0.
        return os.stat(FILES).st_size or len(os.listdir(FILES)) - 1
    except OSError:
        return None
