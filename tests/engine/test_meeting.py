"""Processes find those that were started with them, whatever earlier ones have left in the store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import pytest
import torch.distributed
from torch.distributed import Store

from sar_cls.engine.meeting import meet

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="needs torch.distributed")
SIZE = 3


def at_once(works: Sequence[Callable[[], object]]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def started(store: Store, delays: Sequence[float] = (0.0,) * SIZE) -> list[Store]:
    """What the processes of one start get, each of which comes after its delay, in seconds."""
    met: dict[int, Store] = {}

    def come(rank: int) -> None:
        time.sleep(delays[rank])
        met[rank] = meet(store, rank, SIZE, seconds=20.0)

    at_once([lambda rank=rank: come(rank) for rank in range(SIZE)])  # type: ignore[misc]
    return [met[rank] for rank in range(SIZE)]


@pytest.mark.parametrize("delays", [(0.0, 0.0, 0.0), (0.3, 0.0, 0.1), (0.0, 0.3, 0.0), (0.0, 0.1, 0.3)])
def test_each_start_has_a_part_of_its_own(delays: Sequence[float]) -> None:
    """Whoever comes first sees all names of the start before."""
    store = torch.distributed.HashStore()
    for start in ("first", "second", "third"):
        met = started(store, delays)
        assert not any(part.check(["what"]) for part in met)
        met[0].set("what", start)
        assert [part.get("what").decode() for part in met] == [start] * SIZE


@pytest.mark.parametrize("present", [[0], [1], [1, 2]])
def test_nobody_goes_on_alone(present: list[int]) -> None:
    """Also where an earlier start has left its names."""
    store, raised = torch.distributed.HashStore(), []
    started(store)

    def wait(rank: int) -> None:
        with pytest.raises(torch.distributed.DistStoreError, match=r"have not come within 0\.2 s"):
            meet(store, rank, SIZE, seconds=0.2)
        raised.append(rank)

    at_once([lambda rank=rank: wait(rank) for rank in present])  # type: ignore[misc]
    assert sorted(raised) == present
