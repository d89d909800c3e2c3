"""What the environment says of the processes of a run."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sar_cls import messages, ranks

PLACE = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
STORE = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in {**PLACE, **STORE}:
        monkeypatch.delenv(name, raising=False)


def say(values: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def everything() -> tuple[int, int, int, int, bool]:
    return ranks.processes(), ranks.rank(), ranks.local_processes(), ranks.local_rank(), ranks.is_first()


def test_torchrun_may_start_a_single_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not ranks.by_torchrun()
    say(PLACE | STORE | {"WORLD_SIZE": "1"}, monkeypatch)
    assert ranks.by_torchrun()


def test_one_of_several(monkeypatch: pytest.MonkeyPatch) -> None:
    say(PLACE | STORE, monkeypatch)
    assert everything() == (4, 3, 2, 1, False)


@pytest.mark.parametrize(
    "values", [{}, PLACE, STORE, PLACE | STORE | {"WORLD_SIZE": "1"}, PLACE | STORE | {"WORLD_SIZE": "many"}]
)
def test_a_single_one(values: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where another program has set a part of it."""
    say(values, monkeypatch)
    assert everything() == (1, 0, 1, 0, True)


def test_the_first_alone_prints(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    say(PLACE | STORE, monkeypatch)
    messages.result("a result")
    messages.warn("a warning")
    messages.last_words("the end")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith(": the end\n")
    assert "warning" not in err
    monkeypatch.setenv("RANK", "0")
    messages.result("a result")
    assert capsys.readouterr().out == "a result\n"


def test_messages_do_not_import_torch() -> None:
    code = "import sys; from sar_cls import ranks, messages; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
