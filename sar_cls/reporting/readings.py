"""What regularizers say of themselves and is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sar_cls.regularizers.base import Reading


def drawn_readings() -> list[Reading]:
    """The readings with a title, of all regularizers that are entered; what is entered need not be a class and may have none."""
    from sar_cls.regularizers import REGULARIZERS  # imports torch

    return [reading for kind in REGULARIZERS.values() for reading in getattr(kind, "readings", ()) if reading.title]
