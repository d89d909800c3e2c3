"""Image folders and their cache."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sar_cls.data import folder as folder_module
from sar_cls.data import load_image_set
from sar_cls.data.cache import cache_file, read_cache
from sar_cls.errors import InputError

from .image_folders import CLASSES, picture


def cache_of(root: Path, split: str = "train") -> Path:
    return cache_file(root / ".sar_cls_cache", root, "folder", split)


def test_content_labels_and_order(root):
    train, test = (load_image_set("folder", split, root) for split in ("train", "test"))
    assert train.classes == test.classes == CLASSES
    assert train.counts == [3, 4, 5]
    assert test.counts == [2, 2, 2]
    expected = [picture(100 * c + i) for c in range(3) for i in range(3 + c)]
    assert np.array_equal(train.images.numpy(), np.stack(expected))
    assert train.labels.tolist() == [0] * 3 + [1] * 4 + [2] * 5
    assert (train.name, train.split) == ("folder", "train")


def test_other_files_are_passed_over(root):
    expected = load_image_set("folder", "train", root).fingerprint
    (root / "train" / "ant" / "notes.txt").write_text("no image")
    (root / "train" / "ant" / "._00.png").write_text("hidden")
    (root / "train" / "list.csv").write_text("")
    (root / "train" / ".hidden").mkdir()
    (root / "train" / "ant" / "deeper.png").mkdir()
    assert load_image_set("folder", "train", root).fingerprint == expected


def test_formats_and_modes(root):
    place = root / "test" / "ant"
    grey = picture(1)[:, :, 0]
    Image.fromarray(grey).save(place / "10.png")
    Image.fromarray(np.dstack([picture(2), grey])).save(place / "11.PNG")
    Image.fromarray(picture(3)).save(place / "12.jpg", quality=100)
    Image.fromarray(picture(4)).convert("P", palette=Image.Palette.ADAPTIVE).save(place / "13.png")
    images = load_image_set("folder", "test", root).images.numpy()
    assert np.array_equal(images[2], grey[..., None].repeat(3, axis=2))
    assert np.array_equal(images[3], picture(2))
    assert np.array_equal(images[4], np.asarray(Image.open(place / "12.jpg")))
    assert np.array_equal(images[5], picture(4))


def test_many_files__in_order_over_several_tasks(root, monkeypatch):
    monkeypatch.setattr(folder_module, "FILES_PER_TASK", 2)
    images = load_image_set("folder", "train", root).images.numpy()
    assert np.array_equal(images, np.stack([picture(100 * c + i) for c in range(3) for i in range(3 + c)]))


def test_cache__decodes_once(root, decoded):
    first = load_image_set("folder", "train", root)
    again = load_image_set("folder", "train", str(root))
    assert decoded == [12]
    assert again.fingerprint == first.fingerprint
    assert torch.equal(again.images, first.images)
    assert torch.equal(again.labels, first.labels)
    assert again.classes == first.classes
    assert [file.name for file in (root / ".sar_cls_cache").iterdir()] == [cache_of(root).name]


def test_cache__of_ones_own_folder(root, decoded, tmp_path):
    for _ in range(2):
        load_image_set("folder", "train", root, cache_dir=tmp_path / "deep" / "cache")
    assert decoded == [12]
    assert not (root / ".sar_cls_cache").exists()


def test_cache__in_the_users_folder_where_the_root_cannot_be_written(root, decoded, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != root)
    for _ in range(2):
        load_image_set("folder", "train", root)
    assert decoded == [12]
    assert len(list((tmp_path / "xdg" / "sar_cls").glob("folder-train-*.npz"))) == 1


@pytest.mark.parametrize("change", ["content", "time", "added", "removed", "renamed", "class renamed"])
def test_cache__is_rebuilt_when_the_source_changes(root, decoded, change):
    load_image_set("folder", "train", root)
    file = root / "train" / "bee" / "01.png"
    if change == "content":
        Image.fromarray(picture(999)).save(file)
    elif change == "time":
        os.utime(file, ns=(1, 1))
    elif change == "added":
        Image.fromarray(picture(999)).save(file.with_name("99.png"))
    elif change == "removed":
        file.unlink()
    elif change == "renamed":
        file.rename(file.with_name("99.png"))
    else:
        for split in ("train", "test"):
            (root / split / "bee").rename(root / split / "bat")
    load_image_set("folder", "train", root)
    assert len(decoded) == 2
    load_image_set("folder", "train", root)
    assert len(decoded) == 2


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "foreign", "pickle", "relabelled"])
def test_cache__damaged_is_rebuilt_with_one_line(root, decoded, damage, capsys):
    expected = load_image_set("folder", "train", root).fingerprint
    cache = cache_of(root)
    content = bytearray(cache.read_bytes())
    if damage == "truncated":
        cache.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        place = content.index(picture(0).tobytes())
        content[place + 5] ^= 1
        cache.write_bytes(content)
    elif damage == "empty":
        cache.write_bytes(b"")
    elif damage == "foreign":
        cache.write_text("something else")
    elif damage == "pickle":
        np.savez(cache, header=np.array([{}], dtype=object), images=0, labels=0)
    else:  # a whole and valid archive whose content is not what was fingerprinted
        with np.load(cache) as data:
            parts = dict(data)
        parts["labels"] = parts["labels"][::-1].copy()
        np.savez(cache, **parts)
    capsys.readouterr()
    assert load_image_set("folder", "train", root).fingerprint == expected
    assert len(decoded) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("decoding ")]
    assert str(cache) in line
    assert load_image_set("folder", "train", root).fingerprint == expected
    assert len(decoded) == 2


def test_cache__named_but_not_writable(root, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for folder in (file, file / "below"):
        with pytest.raises(InputError, match=r"cache folder .* cannot be written"):
            load_image_set("folder", "train", root, cache_dir=folder)


def test_cache__none_writable_costs_one_line(root, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert len(load_image_set("folder", "train", root)) == 12
    (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("decoding ")]
    assert "decoded again next time" in line


def test_cache__bad_input_writes_nothing(root, tmp_path):
    (root / "test" / "bee").rename(root / "bee")
    with pytest.raises(InputError):
        load_image_set("folder", "train", root, cache_dir=tmp_path / "deep" / "cache")
    assert not (tmp_path / "deep").exists()


def test_cache__a_failed_write_leaves_nothing(root, monkeypatch, capsys):
    def full_disk(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    load_image_set("folder", "train", root)
    assert list((root / ".sar_cls_cache").iterdir()) == []
    assert "No space left" in capsys.readouterr().err


def test_cache__two_roots_never_share_a_file(root, tmp_path):
    cache = tmp_path / "cache"
    other = tmp_path / "other"
    root.rename(other)
    assert cache_file(cache, root, "folder", "train") != cache_file(cache, other, "folder", "train")
    assert read_cache(cache_file(cache, root, "folder", "train"), "key", "folder", "train") is None


def test_missing_folders(tmp_path, root):
    with pytest.raises(InputError, match=r"nowhere/train is not a folder: .*/train/<class>/\*\.png"):
        load_image_set("folder", "train", tmp_path / "nowhere")
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(InputError, match="is not a folder"):
        load_image_set("folder", "train", file)
    (root / "test").rename(root / "validation")
    with pytest.raises(InputError, match="images/test is not a folder"):
        load_image_set("folder", "train", root)


@pytest.mark.parametrize("lacking", ["train", "test"])
@pytest.mark.parametrize("asked", ["train", "test"])
def test_class_in_one_split_only(root, lacking, asked):
    other = "test" if lacking == "train" else "train"
    (root / lacking / "bee").rename(root / "bee")
    with pytest.raises(InputError, match=f"class folder .*{other}/bee is missing in .*{lacking}"):
        load_image_set("folder", asked, root)


def test_empty_class_and_no_classes(root, tmp_path):
    for file in (root / "train" / "bee").iterdir():
        file.unlink()
    (root / "train" / "bee" / "notes.txt").write_text("")
    with pytest.raises(InputError, match=r"class folder .*train/bee holds no images"):
        load_image_set("folder", "train", root)
    for split in ("train", "test"):
        (tmp_path / "bare" / split).mkdir(parents=True)
    with pytest.raises(InputError, match="bare/train holds no class folders"):
        load_image_set("folder", "train", tmp_path / "bare")


def test_one_class(root):
    for split in ("train", "test"):
        for name in ("bee", "cat"):
            (root / split / name).rename(root / f"{split}-{name}")
    with pytest.raises(InputError, match="one class, 'ant'"):
        load_image_set("folder", "train", root)


def test_progress__plain_lines_on_stderr(root):
    """Not a terminal: plain lines, none on stdout; and nothing heavy is loaded before it is needed."""
    code = (
        "import sys; from sar_cls.data import load_image_set; assert not {'PIL', 'rich', 'sklearn'} & set(sys.modules); "
        f"load_image_set('folder', 'train', {str(root)!r}); assert 'rich' not in sys.modules"
    )
    project = Path(folder_module.__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=project, check=True)
    assert run.stdout == ""
    assert run.stderr.startswith(f"decoding {root / 'train'}: 12 images\n")
    assert len(run.stderr.splitlines()) <= 2


def test_size__the_middle_of_the_resized_image(root):
    tall = np.zeros((40, 10, 3), np.uint8)
    tall[12:28] = (200, 100, 50)  # more than the middle square of 10 x 10
    Image.fromarray(tall).save(root / "train" / "ant" / "00.png")
    Image.fromarray(np.full((3, 9, 3), 7, np.uint8)).save(root / "train" / "ant" / "01.png")
    with pytest.raises(InputError, match="--image-size N"):
        load_image_set("folder", "train", root)
    images = load_image_set("folder", "train", root, size=5)
    assert images.image_size == (5, 5)
    assert images.images[0].unique(dim=0).tolist() == [[[200, 100, 50]] * 5]
    assert images.images[1].unique().tolist() == [7]
    assert load_image_set("folder", "train", root, size=4).image_size == (4, 4)  # another size is another cache
    assert load_image_set("folder", "train", root, size=5).fingerprint == images.fingerprint
