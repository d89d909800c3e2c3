"""Where the suites that come along are: beside the package in a clone, inside it where it is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sar_cls.suites import places
from sar_cls.suites.places import SUITE_FILE


def test_they_are_there() -> None:
    assert (places.CONFIGS / "digits" / SUITE_FILE).is_file()


@pytest.mark.parametrize("inside", [True, False])
def test_inside_the_package_before_beside_it(tmp_path: Path, inside: bool) -> None:
    package = tmp_path / "sar_cls" / "suites"
    package.mkdir(parents=True)
    shutil.copy(places.__file__, package / "places.py")
    (tmp_path / "configs").mkdir()
    if inside:
        (tmp_path / "sar_cls" / "configs").mkdir()
    code = "import places; print(places.CONFIGS)"
    done = subprocess.run([sys.executable, "-c", code], cwd=package, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()) == (tmp_path / "sar_cls" if inside else tmp_path) / "configs"


def test_a_suite_that_is_not_among_ones_own_is_one_that_comes_along(tmp_path: Path) -> None:
    assert places.home_of("digits", tmp_path) == places.CONFIGS
    assert places.home_of("none", tmp_path) == tmp_path
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / SUITE_FILE).touch()
    assert places.home_of("digits", tmp_path) == tmp_path
