"""Which precision a run has, and that its folder says so."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sar_cls.cli import CONFIGS
from sar_cls.mm.options import Options
from sar_cls.mm.precision import default_precision, precision_of
from sar_cls.mm.recipe import resolve, run_name

ROW = CONFIGS / "cifar100_lt" / "ce.py"


def pretend(monkeypatch: pytest.MonkeyPatch, **capabilities: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({"avx512_bf16": False, "avx2": True}, "fp32")],
)
def test_a_cpu_s_default_is_what_it_multiplies_in_hardware(
    capabilities: dict[str, bool], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, **capabilities)
    assert default_precision("cpu") == expected
    assert default_precision("cuda:1") == "fp32"


def test_an_older_torch_that_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert default_precision("cpu") == "fp32"


def test_command_line_before_config_before_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend(monkeypatch, avx512_bf16=True)
    own = tmp_path / "row.py"
    own.write_text(f'_base_ = "{ROW}"\noptim_wrapper = dict(precision="fp32")\n', encoding="utf-8")
    found = {
        (path.stem, asked): precision_of(resolve(path, Options(precision=asked)).config)
        for path in (ROW, own)
        for asked in (None, "fp32", "bf16")
    }
    assert found == {
        ("ce", None): "bf16",
        ("ce", "fp32"): "fp32",
        ("ce", "bf16"): "bf16",
        ("row", None): "fp32",
        ("row", "fp32"): "fp32",
        ("row", "bf16"): "bf16",
    }


def test_a_run_lies_in_the_same_folder_whether_its_precision_was_named_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, avx512_bf16=True)
    options = {asked: Options(precision=asked) for asked in (None, "bf16", "fp32")}
    names = {asked: run_name(3, given, resolve(ROW, given)) for asked, given in options.items()}
    assert names == {None: "seed3-bf16", "bf16": "seed3-bf16", "fp32": "seed3"}
    pretend(monkeypatch)
    assert run_name(3, Options(), resolve(ROW, Options())) == "seed3"


def test_the_recipe_is_the_same_in_any_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, avx512_bf16=True)
    assert len({resolve(ROW, Options(precision=asked)).recipe for asked in (None, "bf16", "fp32")}) == 1


def test_the_embedded_suite_is_the_same_on_every_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, avx512_bf16=True)
    for row in [*(CONFIGS / "digits").glob("*.py"), *(CONFIGS / "digits_lt").glob("*.py")]:
        assert precision_of(resolve(row, Options()).config) == "fp32", row
