"""What later Pythons have in their standard library, and 3.11 doesn't."""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["override"]

if TYPE_CHECKING:
    from typing_extensions import override
else:

    def override(method: object) -> object:
        """As `typing.override` (PEP 698): the method replaces one of a base class. Type checkers hold it to that, and
        mypy's explicit-override demands it, so that no override outlives the method that it was to replace."""
        return method
