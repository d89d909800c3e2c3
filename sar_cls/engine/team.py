"""Several processes that train one run, started by torchrun: the first one leads, the others follow.

The first process is the whole program: it reads the command line, plans, locks, prints and writes, and runs alone what trains
nothing. Only for a run's training it calls the others (:meth:`Team.train`), which until then wait (:meth:`Team.follow`). What they
tell each other beside tensors goes through the store by which torchrun's processes find each other: the planned run, that its
images are there and the same, how it ended. Each run has a process group of its own.

A failure that all processes share (a checkpoint that does not fit, say) fails the run as in one process, and the next run begins.
One of a single process cannot be mended, since the others wait for it inside a step: it ends them all, with one sentence.
"""

from __future__ import annotations

import json
import pickle
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import NamedTuple, TypeVar

import torch
from torch import distributed

from sar_cls import messages, ranks
from sar_cls.engine.meeting import meet, torchrun_store
from sar_cls.engine.planned import PlannedRun
from sar_cls.engine.team_errors import is_gone, sentence
from sar_cls.errors import InputError, ProcessLost, RunFailed
from sar_cls.runs.folder import write_error_log

Result = TypeVar("Result")

# Seconds that a process waits for the others: at one operation between them, where all are at the same step or at most a checkpoint
# apart; for their images, which may have to be decoded first; and after an error, until it counts as one of this process alone.
STEP, IMAGES, GRACE = 600.0, 3600.0, 10.0
_GONE_WORDS = (
    "another process of the run is gone (killed, or out of memory?); the same command goes on from the last whole epoch"
)
# What "over" is set to: all go on to the next run, or all end and the first process says why.
_ON, _SAID = b"-", b"said"


class Ready(NamedTuple):
    """A follower that has prepared a run.

    Attributes:
        fingerprints: of its images.
        device: of this process.
        train: trains its part.
    """

    fingerprints: dict[str, str]
    device: str
    train: Callable[[], object]


class Team:
    """The processes of this run, seen from one of them.

    Args:
        rank: of this process.
        size: their number.
        store: what they share; None connects to that of torchrun, and waits until all have.
        grace: see ``GRACE``.
    """

    def __init__(
        self, rank: int, size: int, store: distributed.Store | None = None, grace: float | None = None
    ) -> None:
        if store is None:
            store = meet(torchrun_store(rank, size, STEP), rank, size, STEP)
        self.rank, self.size, self.store = rank, size, store
        self.grace = GRACE if grace is None else grace
        self.number = 0  # of the runs so far
        self.is_whole = True  # until one is lost

    # The first process.

    def train(
        self, planned: PlannedRun, fingerprints: dict[str, str], train: Callable[[], Result], device: torch.device
    ) -> Result:
        """Has all processes train a run; returns what ``train`` returns here.

        Args:
            planned: the run, for the others.
            fingerprints: of the images here.
            train: trains this process's part.
            device: of this process.

        Raises:
            InputError: another process cannot begin; none has.
            RunFailed, ProcessLost: see :meth:`_settle`; after a ``ProcessLost`` nothing can be trained any more.
            Exception: what ``train`` raises here and in the others.
        """
        self.number += 1
        self._set("run", pickle.dumps(planned))
        refused = ""
        for rank in range(1, self.size):
            answer = json.loads(self._get("ready", rank, seconds=IMAGES))
            refused = refused or answer["refused"]
            if not refused and answer["fingerprints"] != fingerprints:
                refused = (
                    f"{planned.title}: process {rank} has other images than process 0: give all the same --data-root"
                )
        self._set("go", refused.encode() or b"-")
        if refused:
            raise InputError(refused)
        try:
            result = self._in_group(train, device)
        except BaseException as error:
            self._settle(planned, error)
            raise
        self._settle(planned, None)
        return result

    def dismiss(self, code: int) -> None:
        """Tells the others that all is done, and with which exit code; waits until they have heard it."""
        self.number += 1
        with suppress(distributed.DistError, RuntimeError):  # there may be nobody left
            self._set("run", pickle.dumps(code))
            for rank in range(1, self.size if self.is_whole else 1):
                self._get("heard", rank, seconds=5.0)

    def _settle(self, planned: PlannedRun, error: BaseException | None) -> None:
        """Waits until the others have ended the run as well, and lets them go on to the next; ``error`` is what ended it here.

        Raises:
            RunFailed: another process has failed at the very end.
            ProcessLost: another process has failed alone, is gone, or waits for this one inside a step.
        """
        if error is not None and not isinstance(error, Exception):
            return  # Ctrl-C ends all
        lost = error is not None and is_gone(error)
        # Where one is gone the others have said what they had to before (see _in_group), and torchrun ends this process soon.
        patience = STEP if error is None else 0.0 if lost else self.grace
        others = []
        for rank in range(1, self.size):
            with suppress(distributed.DistError, RuntimeError):
                others.append(json.loads(self._get("end", rank, seconds=patience)))
        failed = next((other for other in others if other["words"]), None)
        self.is_whole = len(others) == self.size - 1 and not lost
        if lost and failed is not None:
            if not self._speaks():
                raise ProcessLost("") from error
            where = write_error_log(planned.run_dir, failed["trace"])
            with suppress(distributed.DistError, RuntimeError):
                self._set("over", _SAID)
                self._get("heard", failed["rank"], seconds=2.0)
            raise ProcessLost(f"{planned.title}: {failed['words']} ({where})") from error
        if lost:
            raise ProcessLost(_GONE_WORDS) from error
        if not self.is_whole and error is None:
            raise ProcessLost(_GONE_WORDS)
        if not self.is_whole and error is not None:
            where = write_error_log(planned.run_dir, traceback.format_exc())
            raise ProcessLost(f"{planned.title}: process 0 of {self.size}: {sentence(error)} ({where})") from error
        self._set("over", _ON)
        if error is None and failed is not None:
            raise RunFailed(failed["words"]) from RuntimeError(failed["trace"])

    # The others.

    def follow(self, prepare: Callable[[PlannedRun], Ready]) -> int:
        """Trains what the first process asks for until it is done; returns the exit code.

        Args:
            prepare: reads the images of a run.
        """
        while True:
            self.number += 1
            asked = pickle.loads(self._get("run", seconds=None))
            if isinstance(asked, int):
                self._set("heard", b"-", rank=self.rank)
                if asked:
                    time.sleep(1.0)  # torchrun reports the process that ends first, and kills the others
                return asked
            try:
                ready = prepare(asked)
                answer = {"refused": "", "fingerprints": ready.fingerprints}
            except Exception as error:
                answer = {"refused": f"process {self.rank} of {self.size}: {sentence(error)}", "fingerprints": {}}
            self._set("ready", json.dumps(answer).encode(), rank=self.rank)
            if self._get("go", seconds=None) != b"-":
                continue
            try:
                self._in_group(ready.train, torch.device(ready.device), failing=self._tell)
            except Exception as error:
                if not self._goes_on(asked, error):
                    return 1
            else:
                self._end()
                self._get("over", seconds=None)

    def _tell(self, error: Exception) -> None:
        """Says what has ended the run here, to the first process alone."""
        words = "" if is_gone(error) else f"process {self.rank} of {self.size}: {sentence(error)}"
        with suppress(distributed.DistError, RuntimeError):  # it may be gone, and the store with it
            self._end(words, "".join(traceback.format_exception(error)))

    def _goes_on(self, planned: PlannedRun, error: Exception) -> bool:
        """Whether the first process has ended the run too, so that there can be a next; else one of the two says why all end."""
        try:
            answer = self._get("over", seconds=self.grace)
        except (distributed.DistError, RuntimeError):  # the first process waits for this one inside a step, or is gone
            if not is_gone(error) and self._speaks():
                where = write_error_log(planned.run_dir, "".join(traceback.format_exception(error)))
                messages.last_words(f"{planned.title}: process {self.rank} of {self.size}: {sentence(error)} ({where})")
            return False
        if answer == _ON:
            return True
        self._set("heard", b"-", rank=self.rank)
        time.sleep(1.0)  # torchrun reports the process that ends first, and kills the others
        return False

    def _end(self, words: str = "", trace: str = "") -> None:
        self._set("end", json.dumps({"rank": self.rank, "words": words, "trace": trace}).encode(), rank=self.rank)
        self.store.check([self._key("end", self.rank)])  # comes back when it is set, and not only sent

    # Both.

    def _in_group(
        self, work: Callable[[], Result], device: torch.device, failing: Callable[[Exception], None] | None = None
    ) -> Result:
        """Does the work inside a new process group.

        Args:
            work: what to do.
            device: of this process.
            failing: is called with an error before the group ends: on gloo the others hear of it by that end, and look for its
                words. Where the error's frames hold the wrapped net the group ends with them, which is later.
        """
        is_cuda = device.type == "cuda"
        if is_cuda:
            torch.cuda.set_device(device)
        if distributed.is_initialized():
            distributed.destroy_process_group()
        try:
            distributed.init_process_group(
                "nccl" if is_cuda else "gloo",
                store=distributed.PrefixStore(f"group{self.number}", self.store),
                rank=self.rank,
                world_size=self.size,
                timeout=timedelta(seconds=STEP),
            )
            result = work()
        except BaseException as error:
            if failing is not None and isinstance(error, Exception):
                failing(error)
            # Others may still be inside a step, and NCCL would wait for them.
            if not is_cuda and distributed.is_initialized():
                distributed.destroy_process_group()
            raise
        distributed.destroy_process_group()
        return result

    def _speaks(self) -> bool:
        """Whether it is this process that says why one of them has failed, and keeps the error: the first that asks."""
        try:
            return self.store.add(self._key("speaker", None), 1) == 1
        except (distributed.DistError, RuntimeError):
            return True

    def _key(self, what: str, rank: int | None) -> str:
        return f"{self.number}/{what}" + ("" if rank is None else f"/{rank}")

    def _set(self, what: str, value: bytes, rank: int | None = None) -> None:
        self.store.set(self._key(what, rank), value)  # type: ignore[arg-type]

    def _get(self, what: str, rank: int | None = None, *, seconds: float | None) -> bytes:
        """What a key is set to, as soon as it is; without ``seconds`` there is no end to the waiting but that of the store."""
        key, begin, pause = self._key(what, rank), time.monotonic(), 0.002
        while not self.store.check([key]):  # its own wait() prints a warning whenever it ends in vain
            if seconds is not None and time.monotonic() - begin >= seconds:
                raise distributed.DistStoreError(f"nobody has set {key} within {seconds:g} s")
            time.sleep(pause)
            pause = min(2 * pause, 0.1)
        return self.store.get(key)


_team: Team | None = None


def team() -> Team | None:
    """The processes that torchrun has started this one with; None for a single process."""
    global _team
    if _team is None and ranks.processes() > 1:
        _team = Team(ranks.rank(), ranks.processes())
    return _team
