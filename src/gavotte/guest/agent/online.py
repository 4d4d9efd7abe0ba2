"""Processors and memory that were plugged in: brought online, and given to the commands.

Interfaces: Linux, Documentation/admin-guide/cputopology.rst and mm/memory-hotplug.rst; s390x has `rescan` and
`configure` besides.
"""

from __future__ import annotations

import glob
import os

from gavotte.guest.agent import PAGE
from gavotte.guest.agent.system import log, read_file, write_file

TYPE_CHECKING = False  # as `typing` has it, whose import costs the guest's start 50 ms under emulation
if TYPE_CHECKING:
    from gavotte.guest.agent import Json

CPUS, MEMORY = "/sys/devices/system/cpu", "/sys/devices/system/memory"


def bring_online(cpus: int | None = None) -> Json:
    """Bring all processors and memory blocks online that are there; gives what is online then, in bytes.

    With `cpus` just so many processors, the lowest, and the others offline; 0 leaves them as they are. The first stays.
    What can't be is left as it is and said on the console: the numbers show it.
    """
    if os.path.exists(f"{CPUS}/rescan"):  # s390x
        write_file(f"{CPUS}/rescan", "1")
    for switch in glob.glob(f"{CPUS}/cpu[0-9]*/configure") + glob.glob(f"{MEMORY}/memory[0-9]*/config*"):
        turn(switch, "0", "1")
    if cpus != 0:
        turn_processors(cpus)
    for switch in glob.glob(f"{MEMORY}/memory[0-9]*/state"):
        turn(switch, "offline", "online_movable", "online")
    return {"cpus": os.sysconf("SC_NPROCESSORS_ONLN"), "memory": total_memory()}


def turn_processors(wanted: int | None) -> None:
    """Have the lowest `wanted` online and the others not; all if that is None. The first may have no switch."""
    found = sorted(glob.glob(f"{CPUS}/cpu[0-9]*"), key=lambda path: int(path.rpartition("cpu")[2]))
    for path in found[:wanted]:
        turn(f"{path}/online", "0", "1")
    for path in found[wanted:] if wanted else []:
        turn(f"{path}/online", "1", "0")


def turn(switch: str, now: str, *wanted: str) -> None:
    """Write the first of `wanted` that is taken, if `switch` says `now`."""
    why = ""
    try:
        if read_file(switch).strip() != now:
            return
    except OSError:
        return  # it went meanwhile
    for word in wanted:
        try:
            write_file(switch, word)
            return
        except OSError as error:
            why = str(error)
    log(f"{switch} stays {now}: {why}")


def total_memory() -> int:
    """MemTotal of /proc/meminfo, in bytes (sysinfo(2))."""
    return os.sysconf("SC_PHYS_PAGES") * PAGE
