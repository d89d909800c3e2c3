"""The page on images and suites of one's own, followed to the letter."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "own-data.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven classes of random 32x32 images with a tail of their own."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for number in range(7):
            place = tmp_path / "images" / split / f"class{number}"
            place.mkdir(parents=True)
            for index in range(3 if split == "test" else 40 - 3 * number):
                Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(place / f"{index}.png")
    return tmp_path


def call(folder: Path, *arguments: str) -> str:
    places = os.pathsep.join([str(ROOT), str(folder / "mine")])
    environment = {**os.environ, "PYTHONPATH": places, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "sar_cls", *arguments],
        capture_output=True, text=True, cwd=folder, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_suite_kept_elsewhere(folder: Path) -> None:
    suite = re.search(r"```toml\n# (\S+)\n(.*?)```", PAGE, flags=re.DOTALL)
    assert suite is not None
    path = folder / suite.group(1)
    path.parent.mkdir(parents=True)
    loss = re.search(r"```python\n# (mine/my_losses.py)\n(.*?)```\n\n```toml\n(.*?)```", PAGE, flags=re.DOTALL)
    assert loss is not None
    path.write_text(suite.group(2) + loss.group(3), encoding="utf-8")
    (folder / loss.group(1)).write_text(loss.group(2), encoding="utf-8")
    listed = call(folder, "run", "--configs", "mine", "--suite", "tails", "--list")
    assert "a grid of 2: sar_0_5, sar_0_9" in listed
    short = ("--seeds", "1", "--epochs", "1", "--device", "cpu", "--only", "plain", "prior", "sar_0_9")
    table = call(folder, "run", "--configs", "mine", "--suite", "tails", *short)
    assert "MixUp+SAR, tau = 0.9" in table
    records = [json.loads(file.read_text()) for file in sorted(folder.glob("work_dirs/tails/*/*/record.json"))]
    assert [record["row"] for record in records] == ["plain", "prior", "sar_0_9"]
    assert records[0]["train_counts"] == [40, 37, 34, 31, 28, 25, 22]
    assert "MixUp+SAR, tau = 0.9" in call(folder, "report", "--configs", "mine")


def test_both_stages_on_a_folder(folder: Path) -> None:
    common = ("--data-root", "images", "--epochs", "1", "--device", "cpu")
    said = call(folder, "stage1", "--dataset", "folder", "--method", "mixup", *common)
    run = re.search(r"checkpoint: (.*)/last\.pth", said)
    assert run is not None, said
    assert "217 of 217 found" in said
    said = call(folder, "stage2", "--stage1", run.group(1), *common)
    record = json.loads(next(folder.glob("work_dirs/folder_lt/*mislas/*/record.json")).read_text())
    assert record["train_counts"] == [40, 37, 34, 31, 28, 25, 22]
    assert record["overrides"]["imbalance"] == "none"


def test_a_method_beside_the_rows_that_come_along(folder: Path) -> None:
    suite = re.search(r"```toml\n# (mine/long_tail/suite.toml)\n(.*?)```", PAGE, flags=re.DOTALL)
    module = re.search(r"```python\n# (\S+)\n(.*?)```", PAGE, flags=re.DOTALL)
    assert suite is not None
    assert module is not None
    for found in (suite, module):
        path = folder / found.group(1)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found.group(2), encoding="utf-8")
    shutil.copytree(ROOT / "results" / "cifar100_lt_16", folder / "work_dirs")
    (folder / "data" / "cifar-100-python").mkdir(parents=True)
    only = ("--only", "mixup", "mixup_sar", "norm", "--seeds", "3", "--threads", "1")
    planned = call(folder, "run", "--configs", "mine", "--suite", "long_tail", *only, "--dry-run").splitlines()
    assert [line.split(": ")[1].split(",")[0] for line in planned[:3]] == ["finished", "finished", "to run"]
    assert planned[-1].startswith("9 runs: 6 finished, 0 at work, 3 to run")
    assert "| MixUp+SAR | 30.55" in re.sub(
        " +", " ", call(folder, "report", "--configs", "mine", "--suite", "long_tail")
    )
