"""A run that is killed again and again, and the same run left alone: ``python killed_runs.py FOLDER RANDOM_SEED``.

torch and mmpretrain are imported once; each start of the run is a fork. Prints one line of JSON for each start.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

torch.set_num_threads(1)  # before anything is computed: a fork does not take a pool of threads along

from mmpretrain.registry import MODELS  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.optim.optimizer import register_optimizer_step_post_hook  # noqa: E402

from sar_cls.cli import CONFIGS  # noqa: E402
from sar_cls.engine import run as engine  # noqa: E402
from sar_cls.engine.config import load_config  # noqa: E402
from sar_cls.engine.options import Options  # noqa: E402
from sar_cls.suites.rows import Source  # noqa: E402

CONFIG = f"""
_base_ = "{CONFIGS}/digits_lt/mixup.py"
model = dict(head=dict(regularizer=dict(type="SAR")), neck=dict(type="DropoutNeck"))
train_cfg = dict(max_epochs=5)
param_scheduler = dict(T_max=5)
"""
STEPS = 9  # of an epoch, at least


@MODELS.register_module()
class DropoutNeck(nn.Module):
    """Makes the network itself draw random numbers."""

    def forward(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(nn.functional.dropout(feature, 0.3, self.training) for feature in features)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_step(number: int) -> None:
    """SIGKILL within an epoch, right after the n-th update of the weights."""
    seen = iter(range(1, 10**9))

    def count(*_: object) -> None:
        if next(seen) == number:
            die()

    register_optimizer_step_post_hook(count)


def die_at_rename(number: int, before: bool) -> None:
    """SIGKILL just before or just after the n-th file takes its name: history, best.pth, last.pth in turn, then the record."""
    replace, seen = os.replace, iter(range(1, 10**9))

    def counted(*args: object, **kwargs: object) -> None:
        last = next(seen) == number
        if last and before:
            die()
        replace(*args, **kwargs)  # type: ignore[arg-type]
        if last:
            die()

    os.replace = counted


def start(
    folder: Path, cache: engine.DataCache, prepare: Callable[[], None], kill_after: float | None = None
) -> tuple[int, float]:
    """Runs the job in a fork; returns its exit status (negative: the signal) and the seconds that it took."""
    begin = time.monotonic()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            prepare()
            config = folder.parent / "config.py"
            engine.run(engine.Job("tiny", "row", Source(config), 1024, folder, title=folder.name), Options(), cache)
            code = 0
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), time.monotonic() - begin


def main() -> None:
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    draw = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.py").write_text(CONFIG)

    cache = engine.DataCache()
    cache.get(load_config(folder / "config.py").train_dataloader.dataset.to_dict(), Options())
    code, seconds = start(folder / "whole", cache, lambda: None)
    print(json.dumps(dict(what="whole", code=code, seconds=seconds)), flush=True)
    first, later = draw.randint(1, STEPS), draw.randint(1, STEPS)
    # An epoch renames history.csv, best.pth where it is the best (the first one is), last.pth; a resumed run begins with
    # history.csv.
    starts: list[tuple[str, Callable[[], None], float | None]] = [
        (f"step {first}, from nothing", lambda: die_at_step(first), None),
        ("between best.pth and last.pth of epoch 1", lambda: die_at_rename(2, False), None),
        ("after last.pth of epoch 1", lambda: die_at_rename(3, False), None),
        (f"step {later} of epoch 2", lambda: die_at_step(later), None),
        ("between history and checkpoint of epoch 2", lambda: die_at_rename(3, True), None),
        ("step 9 and then some", lambda: die_at_step(STEPS + later), None),
    ]
    after = draw.uniform(0.1, 0.7) * seconds
    starts.append((f"{after:.2f} s", lambda: None, after))
    number, before = draw.randint(1, 8), draw.random() < 0.5
    starts.append((f"rename {number}, before: {before}", lambda: die_at_rename(number, before), None))
    starts.append(("to the end", lambda: None, None))
    for what, prepare, kill_after in starts:
        code, seconds = start(folder / "killed", cache, prepare, kill_after)
        print(json.dumps(dict(what=what, code=code, seconds=seconds)), flush=True)


if __name__ == "__main__":
    main()
