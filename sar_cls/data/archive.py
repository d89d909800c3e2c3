"""Unpacking a downloaded tar archive that nobody has reason to trust."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from sar_cls.errors import InputError

BLOCK = 1 << 20


def md5_of(file: Path) -> str:
    """The md5 sum of a file, hex."""
    digest = hashlib.md5(usedforsecurity=False)
    with file.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def check_md5(file: Path, expected: str) -> None:
    """Compares the file's md5 (hex) with the published one.

    Raises:
        InputError: it differs: a broken download, or another file.
    """
    found = md5_of(file)
    if found != expected:
        raise InputError(
            f"{file} has md5 {found}, not the published {expected}: it is damaged or another file, fetch it again"
        )


def extract_folder(archive: Path, folder: str, into: Path) -> Path:
    """Unpacks the top-level ``folder`` of a tar archive to ``into / folder``, whole or not at all.

    Only plain files and folders are unpacked, and only below the target: a member with an absolute path, with ``..``,
    a link or a device ends it before anything shows. What lies beside ``folder`` in the archive is passed over.

    Args:
        archive: a tar file, compressed or not.
        folder: the name of its top-level folder; ``into / folder`` must not exist yet.
        into: the target folder.

    Returns:
        ``into / folder``.

    Raises:
        InputError: no tar archive, damaged, an unsafe member, no such folder in it, or no room on the disk.
    """
    target = into / folder
    if target.exists():
        raise InputError(f"{target} exists already: remove it to unpack {archive} there")
    staging = None
    try:
        # In the same folder as the target, so that the last step is one rename.
        staging = Path(tempfile.mkdtemp(dir=into, prefix=f".{folder}-"))
        with tarfile.open(archive, "r|*") as stream:
            for member in stream:
                _extract(stream, member, folder, staging, archive)
        if not (staging / folder).is_dir():
            raise InputError(f"{archive} holds no folder {folder}: it is another archive")
        os.rename(staging / folder, target)
    except (tarfile.TarError, EOFError) as error:
        raise InputError(f"{archive} is damaged or no tar archive ({error}): fetch it again") from error
    except OSError as error:
        raise InputError(
            f"cannot unpack {archive} into {into} ({error}): make room there or unpack it by hand"
        ) from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
    return target


def _extract(stream: tarfile.TarFile, member: tarfile.TarInfo, folder: str, staging: Path, archive: Path) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or ":" in member.name:
        raise InputError(
            f"{archive} holds '{member.name}', which leads out of the target folder: it is not the official archive"
        )
    if not (member.isfile() or member.isdir()):
        raise InputError(f"{archive} holds '{member.name}', a link or device: it is not the official archive")
    if path.parts[:1] != (folder,):
        return
    place = staging.joinpath(*path.parts)
    if member.isdir():
        place.mkdir(parents=True, exist_ok=True)
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    content = stream.extractfile(member)
    assert content is not None  # it is for a plain file
    with content, place.open("wb") as out:  # no owner, mode or time of the archive is taken over
        shutil.copyfileobj(content, out, BLOCK)
