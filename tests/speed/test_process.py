"""Each contender runs under the settings of its own program."""

from __future__ import annotations

import pytest
import torch

from sar_cls.speed import process


def test_float32_is_exact_here_and_torch_s_own_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(process, "keep_freed_memory", lambda: said.append("keep"))
    monkeypatch.setattr(process, "default_memory", lambda: said.append("default"))
    before = torch.backends.cudnn.allow_tf32
    try:
        process.as_here()
        assert (torch.backends.cudnn.allow_tf32, said) == (False, ["keep"])
        process.as_elsewhere()
        assert (torch.backends.cudnn.allow_tf32, said) == (True, ["keep", "default"])
    finally:
        torch.backends.cudnn.allow_tf32 = before
