"""CIFAR pickles and folders, in small; and the real CIFAR-100 where it is at hand."""

from __future__ import annotations

import codecs
import hashlib
import pickle
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sar_cls.data import cifar, load_image_set, longtail_indices
from sar_cls.data.cifar import read_pickle
from sar_cls.errors import InputError
from sar_cls.official_images import ARCHIVE, ARCHIVE_MD5, BY_NAME, OTHER_PIXELS, RECOVERED, UNKNOWN

NAMES100 = [f"name{c:02}" for c in range(100)]
NAMES10 = [f"thing{c}" for c in range(10)]


def rows(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 3072), dtype=np.uint8)


def write(file: Path, content: object, protocol: int = 2) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(pickle.dumps(content, protocol=protocol))


def write_cifar100(folder: Path, n: int = 100) -> None:
    for seed, split in enumerate(("train", "test")):
        labels = [(c * 7) % 100 for c in range(n)]
        content = {"data": rows(n, seed), "fine_labels": labels, "coarse_labels": [0] * n, "filenames": ["x.png"] * n}
        write(folder / split, content)
    write(folder / "meta", {"fine_label_names": NAMES100, "coarse_label_names": []})


def write_cifar10(folder: Path) -> None:
    for i in range(1, 6):
        write(folder / f"data_batch_{i}", {"data": rows(10, i), "labels": list(range(10)), "batch_label": f"{i} of 5"})
    write(folder / "test_batch", {"data": rows(10, 6), "labels": list(range(9, -1, -1))})
    write(folder / "batches.meta", {"label_names": NAMES10, "num_vis": 3072})


def write_folders(root: Path, classes: int = 10, side: int = 32) -> None:
    for split in ("train", "test"):
        for c in range(classes):
            place = root / split / f"thing{c}"
            place.mkdir(parents=True)
            Image.new("RGB", (side, side), (c, 20, 30)).save(place / "0.png")


@pytest.mark.parametrize("place", ["cifar-100-python", "cifar100/cifar-100-python"])
def test_cifar100_pickles(tmp_path, place):
    write_cifar100(tmp_path / place)
    for seed, split in enumerate(("train", "test")):
        image_set = load_image_set("cifar100", split, tmp_path)
        data = rows(100, seed)
        assert image_set.classes == tuple(NAMES100)
        assert image_set.labels.tolist() == [(c * 7) % 100 for c in range(100)]
        assert (image_set.name, image_set.split) == ("cifar100", split)
        for image, x, y, channel in ((0, 0, 0, 0), (5, 31, 2, 1), (99, 3, 30, 2)):  # planes of 1,024, row by row
            assert image_set.images[image, y, x, channel] == data[image, channel * 1024 + y * 32 + x]


def test_the_first_classes_alone(tmp_path):
    write_cifar100(tmp_path / "cifar-100-python")
    whole, first = (load_image_set("cifar100", "test", tmp_path, num_classes=number) for number in (None, 10))
    assert first.classes == tuple(NAMES100[:10])
    assert first.labels.tolist() == [label for label in whole.labels.tolist() if label < 10]
    for image, label in zip(first.images, first.labels, strict=True):
        assert torch.equal(image, whole.images[whole.labels == label][0])  # one image a class
    with pytest.raises(InputError, match="from 2 to the 100 of cifar100, not 101"):
        load_image_set("cifar100", "test", tmp_path, num_classes=101)


@pytest.mark.parametrize("place", ["cifar-10-batches-py", "cifar10/cifar-10-batches-py"])
def test_cifar10_pickles(tmp_path, place):
    write_cifar10(tmp_path / place)
    train, test = (load_image_set("cifar10", split, tmp_path) for split in ("train", "test"))
    assert train.labels.tolist() == list(range(10)) * 5
    assert test.labels.tolist() == list(range(9, -1, -1))
    expected = np.concatenate([rows(10, i) for i in range(1, 6)]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    assert np.array_equal(train.images.numpy(), expected)


def python2_pickle(data: np.ndarray, labels: list[int]) -> bytes:
    """As the official files were written: protocol 2 by Python 2, where bytes and text are one type (BINSTRING)."""

    def string(raw: bytes) -> bytes:
        return b"T" + len(raw).to_bytes(4, "little") + raw

    def integer(value: int) -> bytes:
        return b"J" + value.to_bytes(4, "little", signed=True)

    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + integer(0) + b"\x85" + string(b"b") + b"\x87R"
    dtype = b"cnumpy\ndtype\n" + string(b"u1") + integer(0) + integer(1) + b"\x87R"
    dtype += b"(" + integer(3) + string(b"|") + b"NNN" + integer(-1) + integer(-1) + integer(0) + b"tb"
    shape = integer(data.shape[0]) + integer(data.shape[1]) + b"\x86"
    array += b"(" + integer(1) + shape + dtype + b"\x89" + string(data.tobytes()) + b"tb"
    numbers = b"](" + b"".join(integer(label) for label in labels) + b"e"
    return b"\x80\x02}(" + string(b"data") + array + string(b"fine_labels") + numbers + b"u."


def test_pickles_written_by_python_2(tmp_path):
    file = tmp_path / "train"
    file.write_bytes(python2_pickle(rows(3), [4, 5, 6]))
    content = read_pickle(file)
    assert np.array_equal(content["data"], rows(3))
    assert content["fine_labels"] == [4, 5, 6]


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_pickles_of_every_protocol_that_holds_arrays_plainly(tmp_path, protocol):
    write(
        tmp_path / "file", {"data": rows(2), "text": "é", "bytes": b"\xff\x00", "list": [1, 2.5, None, True]}, protocol
    )
    content = read_pickle(tmp_path / "file")
    assert np.array_equal(content["data"], rows(2))
    assert (content["text"], content["bytes"], content["list"]) == ("é", b"\xff\x00", [1, 2.5, None, True])


class _Call:
    """Pickles to a call of ``function(*arguments)``."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function", [exec, eval, __import__, codecs.decode, getattr, np.load, np.fromfile])
def test_a_pickle_that_calls_anything_else_is_refused(tmp_path, function):
    folder = tmp_path / "cifar-100-python"
    write_cifar100(folder)
    marker = tmp_path / "marker"
    write(folder / "train", {"data": _Call(function, f"open({str(marker)!r}, 'w')"), "fine_labels": []})
    with pytest.raises(InputError, match=r"cifar-100-python/train is truncated or no CIFAR pickle .*it asks for"):
        load_image_set("cifar100", "train", tmp_path)
    assert not marker.exists()


@pytest.mark.parametrize("keep", [0, 1, 30, 0.5, 0.999])
def test_truncated_pickle_names_the_file(tmp_path, keep):
    folder = tmp_path / "cifar-100-python"
    write_cifar100(folder)
    content = (folder / "train").read_bytes()
    (folder / "train").write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    with pytest.raises(InputError, match="cifar-100-python/train is truncated or no CIFAR pickle") as caught:
        load_image_set("cifar100", "train", tmp_path)
    assert "\n" not in str(caught.value)
    assert len(load_image_set("cifar100", "test", tmp_path)) == 100


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("train", [1, 2], "train is no CIFAR pickle"),
        ("train", {"fine_labels": [0]}, "it has no 'data'"),
        ("train", {"data": rows(2), "labels": [0, 1]}, "it has no 'fine_labels'"),
        ("train", {"data": rows(2).astype(np.float32), "fine_labels": [0, 1]}, "train holds no 32x32 RGB images"),
        ("train", {"data": rows(2)[:, :100], "fine_labels": [0, 1]}, "train holds no 32x32 RGB images"),
        ("train", {"data": rows(2), "fine_labels": [0]}, "one label for each of its 2 images"),
        ("train", {"data": rows(2), "fine_labels": ["a", "b"]}, "one label for each of its 2 images"),
        ("train", {"data": rows(2), "fine_labels": [0, 100]}, "labels run from 0 to 100"),
        ("train", {"data": rows(2), "fine_labels": [0, 1]}, "'name02' and 97 more has no images"),
        ("meta", {"label_names": NAMES100}, "it has no 'fine_label_names'"),
        ("meta", {"fine_label_names": "ab"}, "meta holds no list of class names"),
        ("meta", {"fine_label_names": NAMES100[:50]}, "labels run from 0 to 99, but there are 50 classes"),
    ],
)
def test_foreign_pickle_says_what_is_wrong(tmp_path, file, content, message):
    folder = tmp_path / "cifar-100-python"
    write_cifar100(folder)
    write(folder / file, content)
    with pytest.raises(InputError, match=message):
        load_image_set("cifar100", "train", tmp_path)


def test_a_missing_file_of_the_archive(tmp_path):
    write_cifar10(tmp_path / "cifar-10-batches-py")
    (tmp_path / "cifar-10-batches-py" / "data_batch_4").unlink()
    with pytest.raises(InputError, match="data_batch_4 is missing"):
        load_image_set("cifar10", "train", tmp_path)


@pytest.mark.parametrize("place", [".", "cifar10"])
def test_folders__cache_in_the_data_root(tmp_path, place):
    write_folders(tmp_path / place)
    image_set = load_image_set("cifar10", "test", tmp_path)
    assert image_set.classes == tuple(NAMES10)
    assert image_set.images[:, 3, 4].tolist() == [[c, 20, 30] for c in range(10)]
    assert len(list((tmp_path / ".sar_cls_cache").glob("cifar10-test-*.npz"))) == 1


def test_pickles_come_before_folders(tmp_path):
    write_folders(tmp_path / "cifar10")
    assert len(load_image_set("cifar10", "train", tmp_path)) == 10
    write_cifar10(tmp_path / "cifar-10-batches-py")
    assert len(load_image_set("cifar10", "train", tmp_path)) == 50


@pytest.mark.parametrize(("classes", "side"), [(9, 32), (10, 16)])
def test_folders_of_another_data_set(tmp_path, classes, side):
    write_folders(tmp_path, classes, side)
    with pytest.raises(
        InputError, match=f"holds {classes} classes of {side}x{side} images, but CIFAR-10 has 10 of 32x32"
    ):
        load_image_set("cifar10", "train", tmp_path)


@pytest.mark.parametrize(
    ("name", "archive", "size"),
    [("cifar10", "cifar-10-python.tar.gz", "170 MB"), ("cifar100", "cifar-100-python.tar.gz", "169 MB")],
)
def test_missing__says_where_it_looked_and_what_a_download_is(tmp_path, name, archive, size):
    with pytest.raises(InputError) as caught:
        load_image_set(name, "train", tmp_path)
    message = str(caught.value)
    official = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}[name]
    places = [f"{tmp_path}/{name}/{{train,test}}", f"{tmp_path}/{{train,test}}", f"{tmp_path}/{official}"]
    for part in (*places, f"{tmp_path}/{name}/{official}", f"{name}/train/<class>/*.png", archive, size, "--download"):
        assert part in message
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == []


def fake_download(monkeypatch: pytest.MonkeyPatch, action) -> list[dict]:
    from sar_cls.torchvision_shim import import_torchvision

    import_torchvision()
    from torchvision.datasets import utils

    calls: list[dict] = []

    def download(url, root, filename, md5):
        calls.append({"url": url, "root": root, "filename": filename, "md5": md5})
        action(Path(root))

    monkeypatch.setattr(utils, "download_and_extract_archive", download)
    return calls


def test_download__only_when_missing_and_with_the_checksum(tmp_path, monkeypatch):
    calls = fake_download(monkeypatch, lambda root: write_cifar100(root / "cifar-100-python"))
    for _ in range(2):
        assert len(load_image_set("cifar100", "train", tmp_path, download=True)) == 100
    assert len(calls) == 1
    assert calls[0]["url"].endswith("/cifar-100-python.tar.gz")
    assert calls[0]["filename"] == "cifar-100-python.tar.gz"
    assert calls[0]["md5"] == "eb9058c3a382ffc7106e4002c42a8d85"
    assert calls[0]["root"] == str(tmp_path)


def test_download__that_fails_is_one_sentence(tmp_path, monkeypatch):
    def offline(root: Path) -> None:
        raise OSError("no route to host")

    fake_download(monkeypatch, offline)
    with pytest.raises(InputError, match=r"could not download cifar-10-python\.tar\.gz .*no route to host"):
        load_image_set("cifar10", "train", tmp_path, download=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data root with 100 classes of one image each as a folder; the red of an image is its class."""
    for split in ("train", "test"):
        for c, name in enumerate(NAMES100):
            place = tmp_path / "cifar100" / split / name
            place.mkdir(parents=True)
            Image.new("RGB", (32, 32), (c, 0, 0)).save(place / "0.png")
    return tmp_path


def test_a_folder_is_put_into_official_order(folder, monkeypatch):
    by_name = load_image_set("cifar100", "train", folder)
    assert by_name.order == BY_NAME
    assert by_name.images[:, 0, 0, 0].tolist() == list(range(100))
    backwards = np.arange(100)[::-1]
    monkeypatch.setattr(cifar, "official_arrangement", lambda split, files: backwards)
    for _ in range(2):  # decoded anew, although the cache is of the same files; then from the cache
        image_set = load_image_set("cifar100", "train", folder)
        assert image_set.images[:, 0, 0, 0].tolist() == backwards.tolist()
        assert image_set.labels.tolist() == backwards.tolist()
        assert image_set.order == OTHER_PIXELS  # the names are the original ones, the images are not
    monkeypatch.setitem(cifar.RECOVERED_CIFAR100, "train", image_set.fingerprint)
    assert load_image_set("cifar100", "train", folder).order == RECOVERED
    assert load_image_set("folder", "train", folder / "cifar100").order == BY_NAME


def test_pickles_in_any_order(tmp_path, monkeypatch):
    write_cifar100(tmp_path / "cifar-100-python")
    image_set = load_image_set("cifar100", "train", tmp_path)
    assert image_set.order == UNKNOWN
    monkeypatch.setitem(cifar.RECOVERED_CIFAR100, "train", image_set.fingerprint)
    assert load_image_set("cifar100", "train", tmp_path).order == RECOVERED
    assert load_image_set("cifar100", "test", tmp_path).order == UNKNOWN


def test_the_official_archive_is_known_by_its_md5_sums(tmp_path, monkeypatch):
    folder = tmp_path / "cifar-10-batches-py"
    write_cifar10(folder)
    assert load_image_set("cifar10", "train", tmp_path).order == UNKNOWN
    for file in folder.iterdir():
        monkeypatch.setitem(ARCHIVE_MD5["cifar10"], file.name, hashlib.md5(file.read_bytes()).hexdigest())
    assert load_image_set("cifar10", "train", tmp_path).order == ARCHIVE
    shutil.copy(folder / "data_batch_1", folder / "data_batch_5")  # one of five
    assert load_image_set("cifar10", "train", tmp_path).order == UNKNOWN


def test_the_md5_sums_are_torchvision_s():
    from sar_cls.torchvision_shim import import_torchvision

    import_torchvision()
    from torchvision.datasets import CIFAR10, CIFAR100

    for name, source in (("cifar10", CIFAR10), ("cifar100", CIFAR100)):
        assert ARCHIVE_MD5[name] == dict(source.train_list + source.test_list)


def test_a_subset_and_a_smaller_copy_keep_the_order(tmp_path):
    write_cifar100(tmp_path / "cifar-100-python")
    image_set = load_image_set("cifar100", "train", tmp_path).with_order(RECOVERED)
    small = image_set.downscaled(2).subset(range(99, -1, -1)).to("cpu")
    assert small.order == RECOVERED


@pytest.mark.real_data
@pytest.mark.slow
def test_real_cifar100(real_data, tmp_path):
    train, test = (load_image_set("cifar100", split, real_data, cache_dir=tmp_path) for split in ("train", "test"))
    assert train.counts == [500] * 100
    assert test.counts == [100] * 100
    assert train.classes == test.classes
    assert (train.classes[0], train.classes[-1]) == ("apple", "worm")
    mean = train.images.numpy().reshape(-1, 3).mean(0) / 255
    np.testing.assert_allclose(mean, (0.50708, 0.48655, 0.44092), atol=6e-6)
    assert len(longtail_indices(train.labels, 100)) == 10_847
    start = time.perf_counter()
    again = load_image_set("cifar100", "train", real_data, cache_dir=tmp_path)
    print(f"cached load: {time.perf_counter() - start:.2f} s")
    assert again.fingerprint == train.fingerprint
