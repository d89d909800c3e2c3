"""Errors of one of several processes."""

from __future__ import annotations

import pytest
import torch.distributed

from sar_cls.engine.team_errors import is_gone, sentence
from sar_cls.errors import InputError

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="needs torch.distributed")


def test_words_about_errors() -> None:
    assert is_gone(RuntimeError("[/x/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1"))
    assert is_gone(torch.distributed.DistStoreError("x"))
    assert not is_gone(RuntimeError("the network has diverged"))
    assert not is_gone(ValueError("Connection closed by peer"))
    assert sentence(InputError("no such file.")) == "no such file"
    assert sentence(KeyError()) == "failed, KeyError"
