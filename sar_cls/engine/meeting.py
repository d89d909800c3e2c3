"""Where the processes of one run find each other: a part of torchrun's store of their own, also after it has started them again.

torchrun keeps its store when it starts processes again, and with it what the ones before have said. The number of the start that it
gives a process (``TORCHELASTIC_RESTART_COUNT``) does not tell them apart: it is counted on each machine, and only where a process
has failed. So each process names itself anew, and the first one says which names it has heard of.
"""

from __future__ import annotations

import json
import time
import uuid
from datetime import timedelta

from torch import distributed


def torchrun_store(rank: int, size: int, seconds: float) -> distributed.Store:
    """The store that all processes of torchrun reach, whenever they were started.

    Raises:
        DistError: it cannot be reached within ``seconds``.
    """
    store, _, _ = next(distributed.rendezvous("env://", rank, size, timeout=timedelta(seconds=seconds)))
    return distributed.PrefixStore("sar_cls", store)


def meet(store: distributed.Store, rank: int, size: int, seconds: float) -> distributed.Store:
    """A part of the store that is empty, and the same for all processes that are there now.

    The first process's name is that of the part. It says again and again whose names it sees; another process comes in once its
    own is among them, so that what is left of earlier processes leads nobody astray; and the first one waits for all to come in.
    That no earlier process is still meeting others is torchrun's part: it ends all before it starts any again.

    Args:
        store: one that may hold what earlier processes have said to each other.
        rank: of this process.
        size: number of processes.
        seconds: how long to wait for the others.

    Raises:
        DistStoreError: they have not come.
    """
    name, begin, pause = uuid.uuid4().hex, time.monotonic(), 0.002
    others, said = range(1, size), [""]
    if rank:
        store.set(f"name/{rank}", name)
    while True:
        if rank == 0:
            names = [name, *(_value(store, f"name/{other}") for other in others)]
            if names != said:
                store.set("names", json.dumps(names))
                said = names
            met = distributed.PrefixStore(name, store)
            if all(met.check([f"here/{other}"]) for other in others):
                return met
        else:
            names = json.loads(_value(store, "names") or "[]")
            if names[rank : rank + 1] == [name]:
                met = distributed.PrefixStore(names[0], store)
                met.set(f"here/{rank}", "-")
                return met
        if time.monotonic() - begin >= seconds:
            raise distributed.DistStoreError(f"the other processes have not come within {seconds:g} s")
        time.sleep(pause)
        pause = min(2 * pause, 0.1)


def _value(store: distributed.Store, key: str) -> str:
    return store.get(key).decode() if store.check([key]) else ""
