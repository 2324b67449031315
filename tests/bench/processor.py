"""Processor time of processes, for benches."""

import psutil

__all__ = ["cpu_s"]


def cpu_s(*processes: psutil.Process) -> float:
    """Processor seconds that processes have taken."""
    return sum(float(times.user + times.system) for times in (each.cpu_times() for each in processes))
