"""Templates: a guest that has booted once, of which each sandbox is a copy.

Knows: what may differ between copies of one guest, and what makes each copy one of its own.
Doesn't know: what becomes of a sandbox once it runs.
"""
