"""Lines of a run in another process: whole ones, in their order."""

from __future__ import annotations

from contextlib import redirect_stdout

from rich.console import Console

from sar_cls.launch.lines import Lines


def test_whole_lines_alone_are_sent() -> None:
    sent: list[str] = []
    lines = Lines(sent.append)
    assert [lines.write(text) for text in ("a", "b\nc", "\n\nd")] == [1, 3, 3]
    assert sent == ["ab", "c", ""]
    lines.write("\n")
    assert sent[-1] == "d"


def test_it_stands_for_stdout_and_is_no_terminal() -> None:
    sent: list[str] = []
    with redirect_stdout(Lines(sent.append)):
        print("one", 2, flush=True)
        assert not Console().is_terminal
    assert sent == ["one 2"]
