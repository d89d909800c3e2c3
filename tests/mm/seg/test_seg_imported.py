"""What importing sar_cls.mm.seg says: nothing, or one sentence where mmsegmentation is not there or not usable."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("mmpretrain", reason="mmpretrain is not installed: pip install 'sar-cls[bench]'")

# Imports mmsegmentations that refuse it, and then the one that is installed, in one process, which imports all else once.
PROGRAM = """
import importlib.util, os, sys
from pathlib import Path
import sar_cls.mm
from sar_cls.errors import InputError

def fresh():
    importlib.invalidate_caches()
    for name in [name for name in sys.modules if name.startswith(("mmseg", "sar_cls.mm.seg"))]:
        del sys.modules[name]

for number, text in enumerate(sys.argv[2:], 1):
    path = Path(sys.argv[1], "mmseg", "__init__.py")
    path.write_text(text)
    os.utime(path, (number, number))  # what was compiled of an earlier one is no longer it
    fresh()
    try:
        import sar_cls.mm.seg
    except InputError as error:
        print(error)
sys.path.remove(sys.argv[1])
fresh()
print("the installed one")
if importlib.util.find_spec("mmseg"):
    import sar_cls.mm.seg, mmseg.datasets.transforms
"""
# Text of an mmsegmentation -> what is said of it.
FAULTS = {
    "assert False, 'MMCV==1.0.0 is used but incompatible.\\nPlease install mmcv>=2.0.0.'": "MMCV==1.0.0 is used but incompatible",
    "from mmcv import no_such_name": "cannot import name 'no_such_name' from 'mmcv'",
    "import no_such_package": "No module named 'no_such_package'",
    "assert False": "AssertionError",
    "": "install it with pip install 'sar-cls[seg]'",  # there are no models in it
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The lines that the program prints to stdout."""
    folder = tmp_path_factory.mktemp("refusing")
    (folder / "mmseg").mkdir()
    places = [str(folder), os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    command = [sys.executable, "-c", PROGRAM, str(folder), *FAULTS]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=True).stdout.splitlines()


def test_an_mmsegmentation_that_cannot_be_imported_is_one_sentence(said: list[str]) -> None:
    sentences = said[: said.index("the installed one")]
    for sentence, reason in zip(sentences, FAULTS.values(), strict=True):
        assert reason in sentence
        assert sentence.endswith("with pip install 'sar-cls[seg]'")
        assert "onedl-mmsegmentation" in sentence or sentence.startswith("segmentation needs mmsegmentation")


def test_the_import_of_the_installed_one_says_nothing(said: list[str]) -> None:
    """Not even that a client of data sets elsewhere is missing, which mmseg's data sets print twice."""
    pytest.importorskip("mmseg", reason="mmsegmentation is not installed: pip install 'sar-cls[seg]'")
    assert said[said.index("the installed one") + 1 :] == []
