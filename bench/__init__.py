"""What Gavotte costs, as ratios to QEMU without it, measured side by side. Run as `python -m bench`.

Knows: the numbers that SPEC.md promises, and a guest booted by hand to compare with.
Doesn't know: how anything inside Gavotte works; it uses what `gavotte` promises.
"""
