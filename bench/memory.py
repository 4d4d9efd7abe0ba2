"""What memory processes take, and what the machine has left, in bytes."""

from __future__ import annotations

from pathlib import Path

__all__ = ["available", "private", "proportional"]


def proportional(pid: int) -> int:
    """What a process has, with what it shares divided by how many share it (proc_pid_smaps(5))."""
    return _fields(Path(f"/proc/{pid}/smaps_rollup"))["Pss"]


def private(pid: int) -> int:
    """What a process shares with no other."""
    fields = _fields(Path(f"/proc/{pid}/smaps_rollup"))
    return fields["Private_Clean"] + fields["Private_Dirty"]


def available() -> int:
    """What the machine could still give (proc_meminfo(5))."""
    return _fields(Path("/proc/meminfo"))["MemAvailable"]


def _fields(path: Path) -> dict[str, int]:
    lines = [line.split() for line in path.read_text().splitlines()]
    return {words[0].rstrip(":"): int(words[1]) << 10 for words in lines if words[-1] == "kB"}
