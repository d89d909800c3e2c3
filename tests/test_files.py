"""Files that are whole or not there, and sentences about what the file system does not allow."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sar_cls.errors import InputError
from sar_cls.files import check_file, check_folder, refusing, replacing, why


def error(number: int, name: object = None) -> OSError:
    return OSError(number, os.strerror(number)) if name is None else OSError(number, os.strerror(number), str(name))


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "permission denied: give this user the right"),
        (errno.EROFS, "read-only: name another place"),
        (errno.ENOSPC, "the disk is full: free some space"),
        (errno.ELOOP, "lead in a circle: remove the link"),
        (errno.ENAMETOOLONG, "too long for the file system: give a shorter one"),
        (errno.EISDIR, "a folder is where a file should be: move it away"),
        (errno.ENOTDIR, "is where a folder should be: move it away"),
        (errno.EMFILE, "too many files are open: raise the limit"),
        (errno.EBUSY, "busy: check the file system"),
    ],
)
def test_each_error_says_what_is_wrong_and_what_to_do(number: int, words: str) -> None:
    for sentence in (why(error(number, "a/b")), why(error(number), "a/b"), why(error(number, "a/b"), "elsewhere")):
        assert sentence.startswith("a/b: ")
        assert words in sentence
        assert "\n" not in sentence
    assert why(OSError("odd")) == "odd: check the file system"


def test_refusing_is_for_errors_of_the_file_system_alone() -> None:
    with (
        pytest.raises(InputError, match=r"^here: the disk is full.*, or give another --x$"),
        refusing("here", "give another --x"),
    ):
        raise error(errno.ENOSPC)
    with pytest.raises(ZeroDivisionError), refusing("here"):
        raise ZeroDivisionError
    with pytest.raises(BrokenPipeError), refusing("here"):
        raise BrokenPipeError


def obstacles(root: Path) -> dict[str, Path]:
    """What can be in the way of a folder: name -> path."""
    (root / "file").write_text("mine")
    (root / "dangling").symlink_to(root / "nowhere" / "else")
    (root / "loop").symlink_to(root / "loop")
    return {
        "file": root / "file",
        "below a file": root / "file" / "deep" / "er",
        "dangling": root / "dangling",
        "below dangling": root / "dangling" / "deep",
        "loop": root / "loop",
        "below a loop": root / "loop" / "deep",
        "long": root / ("x" * 300),
        "below long": root / ("x" * 300) / "deep",
    }


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("file", "is a file"),
        ("below a file", "is a file"),
        ("dangling", "leads nowhere"),
        ("below dangling", "leads nowhere"),
        ("loop", "lead in a circle"),
        ("below a loop", "lead in a circle"),
        ("long", "too long"),
        ("below long", "too long"),
    ],
)
def test_what_cannot_be_a_folder(tmp_path: Path, name: str, words: str) -> None:
    path = obstacles(tmp_path)[name]
    before = sorted(tmp_path.rglob("*"))
    for check in (lambda: check_folder(path, "go elsewhere"), lambda: check_file(path / "file.json", "go elsewhere")):
        with pytest.raises(InputError, match=f"{words}.*go elsewhere"):
            check()
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_is_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # permissions do not hold for root
    for check in (check_folder, check_file):
        with pytest.raises(InputError, match="is not writable: go elsewhere"):
            check(tmp_path / "new", "go elsewhere")


def test_what_can_be_a_folder_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").write_text("old")
    for path in (tmp_path / "real", tmp_path / "link", tmp_path / "link" / "deep" / "er", Path("relative")):
        assert check_folder(path, "") == path
    for path in (tmp_path / "file", tmp_path / "link" / "new.json", tmp_path / "deep" / "new.json", Path("new.json")):
        assert check_file(path, "") == path
    with pytest.raises(InputError, match="real is a folder, and a file is to be written there: go elsewhere"):
        check_file(tmp_path / "real", "go elsewhere")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link", "real"]


class TestReplacing:
    def failing(self, path: Path, act: Callable[[Path], object]) -> OSError:
        with pytest.raises(OSError, match=r"\S") as caught, replacing(path) as temporary:
            act(temporary)
        assert not list(path.parent.glob(".*.tmp"))
        return caught.value

    def test_a_full_disk_names_the_file_that_was_to_be_written(self, tmp_path: Path) -> None:
        def full(temporary: Path) -> None:
            raise error(errno.ENOSPC)

        (tmp_path / "table.md").write_text("old")
        found = self.failing(tmp_path / "table.md", full)
        assert why(found).startswith(f"{tmp_path / 'table.md'}: the disk is full")
        assert (tmp_path / "table.md").read_text() == "old"

    def test_a_folder_in_the_place_of_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "table.md").mkdir()
        found = self.failing(tmp_path / "table.md", lambda temporary: temporary.write_text("new"))
        assert why(found) == f"{tmp_path / 'table.md'}: a folder is where a file should be: move it away"

    def test_no_folder_to_write_in(self, tmp_path: Path) -> None:
        found = self.failing(tmp_path / "nowhere" / "table.md", lambda temporary: temporary.write_text("new"))
        assert why(found).startswith(f"{tmp_path / 'nowhere' / 'table.md'}: it is not there")

    def test_an_error_about_another_file_keeps_its_name(self, tmp_path: Path) -> None:
        found = self.failing(tmp_path / "table.md", lambda _: (tmp_path / "source").read_text())
        assert why(found).startswith(f"{tmp_path / 'source'}: ")
