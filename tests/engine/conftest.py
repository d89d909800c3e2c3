"""What runs of segmentation nets start from."""

from __future__ import annotations

import pytest
from tiny_scenes import write_camvid

from sar_cls.engine.options import Options


@pytest.fixture(scope="session")
def options(tmp_path_factory: pytest.TempPathFactory) -> Options:
    """Those of a run on a tiny CamVid."""
    root = tmp_path_factory.mktemp("data")
    write_camvid(root, size=(40, 48))
    return Options(data_root=str(root))
