"""Random numbers that depend on (seed, epoch) alone, so that a resumed run sees what an uninterrupted one would."""

from __future__ import annotations

import numpy as np
import torch

# One stream of random numbers per purpose: changing how one is drawn leaves the others as they were.
STREAMS = {"order": 0, "augment": 1, "step": 2}


def epoch_seed(seed: int, epoch: int, stream: str, rank: int = 0) -> int:
    """A 63-bit seed made of the run's ``seed``, the ``epoch`` (from 0), the name of the ``stream`` and the process of the run.

    The first process, ``rank`` 0, draws what a single one would.
    """
    parts = [seed, epoch, STREAMS[stream], *([rank] if rank else [])]
    state = np.random.SeedSequence(parts).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def epoch_generator(seed: int, epoch: int, stream: str) -> torch.Generator:
    """A CPU generator for one epoch: drawn on the CPU, so that every device sees the same order and the same crops."""
    return torch.Generator().manual_seed(epoch_seed(seed, epoch, stream))
