"""Code of one's own that a config or a row names in ``custom_imports``."""

from __future__ import annotations

from mmengine.config import Config
from mmengine.utils import import_modules_from_strings

from sar_cls.errors import InputError
from sar_cls.suites.rows import Source


def import_own_code(config: Config, source: Source) -> None:
    """Imports what ``custom_imports`` names: regularizers, nets and losses of one's own, which register themselves.

    Raises:
        InputError: it is no ``dict(imports=[MODULE, ...])``, or a module is not found.
    """
    named = config.get("custom_imports") or {"imports": None}
    try:
        import_modules_from_strings(**named)
    except ImportError as error:
        raise InputError(
            f"{source}: what custom_imports names is not found here ({' '.join(str(error).split())}): put its folder on the "
            "PYTHONPATH of every process"
        ) from error
    except TypeError as error:
        raise InputError(
            f'{source}: custom_imports is {named!r}: write {{ imports = ["MODULE"] }}, in a config dict(imports=["MODULE"])'
        ) from error
