"""Unpacking archives that must not be trusted."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from sar_cls.data.archive import check_md5, extract_folder
from sar_cls.errors import InputError


def make_archive(file: Path, members: dict[str, bytes | tarfile.TarInfo]) -> Path:
    with tarfile.open(file, "w:gz") as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                info.mode = 0o4777
                tar.addfile(info, io.BytesIO(content))
    return file


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_only_the_named_folder_is_unpacked(tmp_path):
    archive = make_archive(tmp_path / "a.tgz", {"set/x/1.txt": b"one", "set/2.txt": b"two", "beside.txt": b"no"})
    into = tmp_path / "into"
    into.mkdir()
    assert extract_folder(archive, "set", into) == into / "set"
    assert files_below(into) == ["set", "set/2.txt", "set/x", "set/x/1.txt"]
    assert (into / "set/x/1.txt").read_bytes() == b"one"
    assert not (into / "set/2.txt").stat().st_mode & 0o4000


@pytest.mark.parametrize(
    "bad",
    [
        {"../evil.txt": b"x"},
        {"set/../../evil.txt": b"x"},
        {"/tmp/evil.txt": b"x"},
        {"set\\..\\evil.txt": b"x"},
        {"set/link": link("set/link", "/etc")},
        {"set/link": link("set/link", "../../evil.txt", tarfile.LNKTYPE)},
        {"set/pipe": link("set/pipe", "", tarfile.FIFOTYPE)},
        {"beside": link("beside", "/etc")},
    ],
    ids=["dotdot", "dotdot_inside", "absolute", "backslash", "symlink", "hardlink", "fifo", "link_beside"],
)
def test_unsafe_member_leaves_nothing(tmp_path, bad):
    archive = make_archive(tmp_path / "a.tgz", {"set/good.txt": b"good", **bad})
    into = tmp_path / "deep" / "into"
    into.mkdir(parents=True)
    with pytest.raises(InputError, match="not the official archive"):
        extract_folder(archive, "set", into)
    assert files_below(tmp_path / "deep") == ["into"]


def test_damaged_archive_leaves_nothing(tmp_path):
    content = make_archive(tmp_path / "a.tgz", {"set/a": bytes(range(256)) * 400, "set/b": b"b"}).read_bytes()
    into = tmp_path / "into"
    into.mkdir()
    for damaged in (content[: len(content) // 2], b"no archive at all", b""):
        (tmp_path / "b.tgz").write_bytes(damaged)
        with pytest.raises(InputError, match=r"b\.tgz is damaged or no tar archive"):
            extract_folder(tmp_path / "b.tgz", "set", into)
        assert files_below(into) == []


def test_another_archive_and_an_existing_target(tmp_path):
    archive = make_archive(tmp_path / "a.tgz", {"other/1.txt": b"one"})
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(InputError, match="no folder set"):
        extract_folder(archive, "set", into)
    (into / "set").mkdir()
    with pytest.raises(InputError, match="exists already"):
        extract_folder(archive, "set", into)
    assert files_below(into) == ["set"]


def test_md5(tmp_path):
    (tmp_path / "f").write_bytes(b"content")
    check_md5(tmp_path / "f", hashlib.md5(b"content").hexdigest())
    with pytest.raises(InputError, match="not the published"):
        check_md5(tmp_path / "f", hashlib.md5(b"other").hexdigest())
