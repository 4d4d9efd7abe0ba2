"""Whether the very binary takes a machine file: it is started, stopped at once, without effects on anything else.

Knows: what of a machine file reaches beyond the machine.
Doesn't know: why an option is right or wrong; QEMU says that.
"""

from gavotte.qemu.trial.start import Trial, try_start

__all__ = ["Trial", "try_start"]
