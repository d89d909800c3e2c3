"""The process of a run that follows: it trains what it is asked to and ends with the first one's exit code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from sar_cls.engine import members
from sar_cls.engine.options import Options
from sar_cls.engine.planned import plan
from sar_cls.engine.run import DataCache, Job


class OneRun:
    """A team whose first process asks for one run."""

    def __init__(self, asked: Any) -> None:
        self.asked = asked
        self.ready: Any = None
        self.code: int | None = None

    def follow(self, prepare: Callable[[Any], Any]) -> int:
        self.ready = prepare(self.asked)
        self.ready.train()
        return 3

    def dismiss(self, code: int) -> None:
        self.code = code


def test_it_prepares_and_trains_what_is_asked_for(
    make_job: Callable[..., Job], cache: DataCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []
    team = OneRun(plan(make_job(), Options(threads=1)))
    monkeypatch.setattr(members, "team", lambda: team)
    monkeypatch.setattr(members, "DataCache", lambda: cache)
    monkeypatch.setattr(
        members.training, "execute", lambda planned, splits: trained.append((planned, splits, torch.get_num_threads()))
    )
    assert members.follow() == 3
    ((planned, splits, threads),) = trained
    assert threads == 1
    assert planned.config.model.head.num_classes == len(splits.train.classes) == 10
    assert team.ready.fingerprints == splits.fingerprints
    assert team.ready.device == "cpu"
    assert not planned.run_dir.exists()  # the first process alone writes


def test_it_is_dismissed(monkeypatch: pytest.MonkeyPatch) -> None:
    team = OneRun(None)
    monkeypatch.setattr(members, "team", lambda: team)
    members.dismiss(2)
    assert team.code == 2
