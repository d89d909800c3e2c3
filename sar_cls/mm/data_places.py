"""Whether the images that a config names are where it looks for them, without reading any."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def check_data(config: dict[str, Any], data_root: str | None = None, *, download: bool = False) -> None:
    """Looks for the folders of a data set, in the places where it would be read from.

    Args:
        config: the ``dataset`` of a training loader, as for :func:`sar_cls.mm.loaders.load_splits`.
        data_root: the folder of the data; None for the config's own or the default of the set.
        download: whether a missing CIFAR would be fetched, and so is no error.

    Raises:
        InputError: they are not there; the sentence of the reader itself.
    """
    if "train" in config:  # two data sets of mmseg
        from sar_cls.mm.seg.pipelines import check_pipelines

        check_pipelines(config, data_root)
        return
    root = Path(data_root or config.get("data_root") or "data").expanduser()
    match config["name"]:
        case "cifar10" | "cifar100" if not download:
            from sar_cls.data.cifar import find_cifar

            find_cifar(config["name"], root)
        case "cub200":
            from sar_cls.data.cub import find_cub

            find_cub(root)
        case "camvid":
            from sar_cls.data.camvid import find_camvid

            find_camvid(root)
        case "folder":
            from sar_cls.data.folder import class_names, split_folders

            class_names(root, split_folders(root))
