"""Published weights by name: timm, torchvision, or an address."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import getproxies

from torch import Tensor

from sar_cls.errors import InputError
from sar_cls.models.library_backbones import import_timm, unknown_timm_name
from sar_cls.torchvision_shim import import_torchvision

BY_HAND = "fetch it on a machine with network and give the file with --weights FILE"


def look_up_timm(name: str) -> tuple[str | None, str | None]:
    """Where timm's model ``name`` (a tag may follow a dot) has its published weights: repository on the hub, address.

    Raises:
        InputError: an unknown name, or a model without published weights.
    """
    timm = import_timm()
    if not timm.is_model(name):
        raise unknown_timm_name(name)
    try:
        config = timm.models.resolve_pretrained_cfg(name)
    except RuntimeError as error:
        raise InputError(
            f"timm has no weights '{name}' ({error}): name the model without the part behind the dot"
        ) from error
    hub_id, url = getattr(config, "hf_hub_id", None), getattr(config, "url", None)
    if not (hub_id or url or getattr(config, "file", None)):
        raise InputError(
            f"timm publishes no weights for '{name}': choose another model or give a file with --weights FILE"
        )
    return hub_id, url


def timm_state(name: str) -> dict[str, Tensor]:
    """The published weights of timm's model ``name`` as its state dict, from the local cache or the network.

    Raises:
        InputError: as :func:`look_up_timm`, or there is no way to fetch them.
    """
    hub_id, url = look_up_timm(name)
    wanted = f"{hub_id}, file model.safetensors, from huggingface.co" if hub_id else str(url)
    overlay = {}
    if hub_id:
        cached = _in_hub_cache(hub_id)
        if cached is not None:
            overlay = {"pretrained_cfg_overlay": {"file": cached, "custom_load": False}}
        else:
            # The hub's client tries again for most of a minute where there is no network at all.
            _need_host(
                os.environ.get("HF_ENDPOINT") or "https://huggingface.co", f"the weights of timm's '{name}' ({wanted})"
            )
    try:
        return import_timm().create_model(name, pretrained=True, **overlay).state_dict()
    except Exception as error:
        raise InputError(
            f"could not fetch the weights of timm's '{name}' ({wanted}; {_short(error)}): {BY_HAND}"
        ) from error


def look_up_torchvision(name: str) -> str:
    """The address of torchvision's best published weights for its model ``name``.

    Raises:
        InputError: it publishes none.
    """
    models = import_torchvision().models
    try:
        weights = models.get_model_weights(name).DEFAULT
    except (ValueError, AttributeError) as error:
        raise InputError(
            f"torchvision publishes no weights for a model '{name}': see torchvision.models.list_models()"
        ) from error
    return str(weights.url)


def torchvision_state(name: str) -> dict[str, Tensor]:
    """torchvision's best published weights for its model ``name``.

    Raises:
        InputError: as :func:`timm_state`.
    """
    return address_state(look_up_torchvision(name))


def address_state(url: str) -> dict[str, Tensor]:
    """A checkpoint at an http(s) address, kept in torch's hub cache; the hash in its name, where there is one, is
    checked.

    Raises:
        InputError: it cannot be fetched.
    """
    import torch

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    if not (folder / Path(urlparse(url).path).name).exists():
        _need_host(url, url)
    try:
        return torch.hub.load_state_dict_from_url(url, map_location="cpu", weights_only=True, progress=False)
    except Exception as error:
        raise InputError(f"could not fetch {url} ({_short(error)}): {BY_HAND}") from error


def _in_hub_cache(hub_id: str) -> str | None:
    from huggingface_hub import try_to_load_from_cache

    for file in ("model.safetensors", "pytorch_model.bin"):
        found = try_to_load_from_cache(hub_id, file)
        if isinstance(found, str):
            return found
    return None


def _need_host(url: str, wanted: str) -> None:
    """Raises at once where the host's name cannot be resolved; behind a proxy that says nothing, so there it passes."""
    host: Any = urlparse(url).hostname
    if getproxies():
        return
    try:
        socket.getaddrinfo(host, 443)
    except OSError as error:
        raise InputError(
            f"wanted to fetch {wanted}, but there is no network ({host} is not found): {BY_HAND}"
        ) from error


def _short(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first[:150]}"
