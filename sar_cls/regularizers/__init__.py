"""Class-anchor and prototype regularizers in pure torch, one a file.

``REGULARIZERS`` is the one place where a method is added: write a subclass of :class:`Regularizer`, enter it here.
"""

from sar_cls.regularizers.base import Reading, Regularizer
from sar_cls.regularizers.car import CAR
from sar_cls.regularizers.center import CenterLoss
from sar_cls.regularizers.fixed import FixedAnchors
from sar_cls.regularizers.inc import INC
from sar_cls.regularizers.sar import SAR
from sar_cls.regularizers.supcon import SupCon

REGULARIZERS: dict[str, type[Regularizer]] = {
    "SAR": SAR,
    "CAR": CAR,
    "FixedAnchors": FixedAnchors,
    "CenterLoss": CenterLoss,
    "INC": INC,
    "SupCon": SupCon,
}

__all__ = ["CAR", "INC", "REGULARIZERS", "SAR", "CenterLoss", "FixedAnchors", "Reading", "Regularizer", "SupCon"]
