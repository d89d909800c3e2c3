"""Segmentation nets of mmsegmentation: their decode heads with a regularizer, and what trains them on the device.

Importing it registers everything by name, so that an mmseg config needs no more than
``custom_imports = dict(imports=["sar_cls.mm.seg"])``. mmsegmentation comes with the extra ``sar-cls[seg]``.
"""

import contextlib
import io
import warnings

import sar_cls.mm  # noqa: F401  (makes torchvision and mmcv importable first)
from sar_cls.errors import InputError

try:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Fail to import ``MultiScaleDeformableAttention``")
        import mmseg.models  # registers the nets
    # Its data sets, which mmengine would import when it builds a part, print twice that a client is missing which nothing needs.
    with contextlib.redirect_stdout(io.StringIO()):
        import mmseg.datasets  # noqa: F401
except (ImportError, AssertionError) as error:  # the second where its version and that of mmcv do not go together
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == "mmseg":
        raise InputError("segmentation needs mmsegmentation: install it with pip install 'sar-cls[seg]'") from error
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    raise InputError(
        f"the installed mmsegmentation cannot be imported ({reason}): replace it by the maintained one, onedl-mmsegmentation, with "
        "pip install 'sar-cls[seg]'"
    ) from error

from sar_cls.mm.seg import backbones, loops, losses, preprocessor, second_stage
from sar_cls.mm.seg.classifiers import build_classifier, check_entries
from sar_cls.mm.seg.heads import HEADS, RegularizedDecodeHead

__all__ = [
    "HEADS",
    "RegularizedDecodeHead",
    "backbones",
    "build_classifier",
    "check_entries",
    "loops",
    "losses",
    "preprocessor",
    "second_stage",
]
