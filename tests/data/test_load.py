"""The one door to every image set: what it refuses, whatever the set."""

from __future__ import annotations

import pytest

from sar_cls.data import load_image_set
from sar_cls.errors import InputError


@pytest.mark.parametrize("name", ["digits", "folder"])
def test_other_sets_come_with_all_their_classes(tmp_path, name):
    with pytest.raises(InputError, match="leave num_classes out, it is for CIFAR and cub200"):
        load_image_set(name, "test", tmp_path, num_classes=3)
