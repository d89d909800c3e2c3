"""The folder val of an image folder: in place of test, or beside it to choose the best epoch."""

from __future__ import annotations

import pytest
from PIL import Image

from sar_cls.data import load_image_set
from sar_cls.errors import InputError
from sar_cls.mm.loaders import load_splits

from .image_folders import picture


def test_in_place_of_test(root):
    (root / "test").rename(root / "val")
    assert len(load_image_set("folder", "test", root)) == 6
    with pytest.raises(InputError, match="val is not a folder"):
        load_image_set("folder", "val", root)


def test_beside_test_may_lack_a_class(root, decoded):
    for name in ("ant", "cat"):
        (root / "val" / name).mkdir(parents=True)
        Image.fromarray(picture(7)).save(root / "val" / name / "a.png")
    val = load_image_set("folder", "val", root)
    assert val.counts == [1, 0, 1]
    assert val.split == "val"
    splits = load_splits({"name": "folder"}, str(root))
    assert splits.val is not None
    assert splits.val.fingerprint == val.fingerprint
    with pytest.raises(InputError, match="leave --val-fraction out"):
        load_splits({"name": "folder"}, str(root), val_fraction=0.5)
    decoded.clear()
    again = load_image_set("folder", "val", root)
    assert again.fingerprint == val.fingerprint
    assert decoded == []  # from the cache
    (root / "val" / "dog").mkdir()
    with pytest.raises(InputError, match=r"class folder .*dog is missing in .*train"):
        load_image_set("folder", "val", root)


def test_a_class_that_is_added_to_the_others_moves_its_labels(root):
    (root / "val" / "cat").mkdir(parents=True)
    Image.fromarray(picture(7)).save(root / "val" / "cat" / "a.png")
    before = load_splits({"name": "folder"}, str(root))
    for split in ("train", "test"):  # "asp" is the second class now
        (root / split / "asp").mkdir()
        Image.fromarray(picture(8)).save(root / split / "asp" / "a.png")
    after = load_splits({"name": "folder"}, str(root))
    assert before.val is not None
    assert after.val is not None
    assert after.val.classes == after.train.classes
    assert [before.train.classes[label] for label in before.val.labels] == ["cat"]
    assert [after.train.classes[label] for label in after.val.labels] == ["cat"]


def test_has_the_size_of_the_others_and_is_made_smaller_with_them(root):
    (root / "val" / "cat").mkdir(parents=True)
    Image.fromarray(picture(7)).save(root / "val" / "cat" / "a.png")
    splits = load_splits({"name": "folder", "downscale": 2}, str(root))
    assert splits.val is not None
    assert splits.val.image_size == splits.train.image_size == splits.test.image_size
    Image.fromarray(picture(7)).resize((20, 20)).save(root / "val" / "cat" / "a.png")
    with pytest.raises(InputError, match=r"folder: the val images are of 20x20 pixels and the training images of "):
        load_splits({"name": "folder"}, str(root))


def test_without_an_image_is_one_sentence(root):
    (root / "val").mkdir()
    with pytest.raises(InputError, match=r"val holds no images .*: add some or remove the folder"):
        load_splits({"name": "folder"}, str(root))
