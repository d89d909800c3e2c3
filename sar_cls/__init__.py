"""Class-anchor regularizers for image classifiers.

Names are imported on first use, so that the light parts (reading suites, printing tables) start without torch.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "SAR": "sar_cls.regularizers",
    "CAR": "sar_cls.regularizers",
    "FixedAnchors": "sar_cls.regularizers",
    "CenterLoss": "sar_cls.regularizers",
    "INC": "sar_cls.regularizers",
    "SupCon": "sar_cls.regularizers",
    "Regularizer": "sar_cls.regularizers",
    "REGULARIZERS": "sar_cls.regularizers",
    "attach": "sar_cls.models.attached_model",
    "load_model": "sar_cls.engine.trained",
    "InputError": "sar_cls.errors",
}

__all__ = ["REGULARIZERS", "__version__", *sorted(set(_HOMES) - {"REGULARIZERS"})]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
