"""Legacy options of a machine file, rewritten as maps.

Each change is named, and so is each option that stays as it was. The guest gets the same devices; where one moves to
another address, the change says so. The rules are simple on purpose: what they don't know for sure they keep.

Knows: what legacy options stand for, on the machines whose default devices are known: x86's PCs, and Arm's `virt`.
Doesn't know: any binary, nor what is in a disk image.
"""

from __future__ import annotations

from gavotte.qemu.imports.lossless import adds_devices
from gavotte.qemu.imports.modern.chars import rewrite_chars
from gavotte.qemu.imports.modern.draft import Change, Draft
from gavotte.qemu.imports.modern.drives import rewrite_drives
from gavotte.qemu.imports.modern.extras import rewrite_devices, rewrite_rest, rewrite_sets
from gavotte.qemu.imports.modern.machine import rewrite_machine
from gavotte.qemu.imports.modern.nets import rewrite_nets
from gavotte.qemu.imports.syntax import Unreadable
from gavotte.qemu.props import Json
from gavotte.qemu.sections import Document

__all__ = ["Change", "modernise"]


def modernise(document: Document) -> tuple[dict[str, Json], list[Change]]:
    """Gives the machine file with its `options` turned into maps, and what was changed or kept, each with its reason.

    Raises UsageError as `import_argv` does, for options that are cut off.
    """
    try:
        draft = _rewritten(document)
    except Unreadable as e:
        draft = Draft(document)
        rewrite_machine(draft, devices=False)
        rewrite_chars(draft)
        draft.keep_all(
            f"{e}. An option that is a device comes before all that are maps, so they all stay where they are"
        )
    return draft.finished(), draft.changes


def _rewritten(document: Document) -> Draft:
    """All that can be a map. Raises Unreadable where that would put devices in another order."""
    draft = Draft(document)
    if draft.take("readconfig", remove=False):
        why = "what -readconfig reads from a file adds to the options in their order, and isn't known here"
        draft.keep_all(f"{why}; write it as options")
        return draft
    rewrite_sets(draft)
    rewrite_devices(draft)
    for rewrite in (rewrite_machine, rewrite_chars, rewrite_nets, rewrite_drives, rewrite_rest):
        rewrite(draft)
    for option in draft.options:
        if adds_devices(option, default_is_ide=draft.pc() is not None):
            reasons = [change.why for change in draft.changes if change.before == option.words and not change.after]
            raise Unreadable(
                f"{' '.join(option.words)} stays a device: {reasons[0] if reasons else 'it has no other form'}"
            )
    draft.keep_all("it has no other form, or none that is surely the same")
    return draft
