"""Where weights are looked for: files, names of libraries, their caches, and no network."""

from __future__ import annotations

import pytest
import torch

from sar_cls.models.library_backbones import import_timm
from sar_cls.torchvision_shim import import_torchvision
from sar_cls.weights import load_weights
from sar_cls.weights import sources as pretrained

from .state_files import assert_loaded, randomised, refuses, timm_resnet18


def test_names(monkeypatch):
    refuses(timm_resnet18(), "timm:resnet19", "timm has no model 'resnet19': did you mean resnet18")
    refuses(timm_resnet18(), "resnet19", "timm has no model 'resnet19': did you mean resnet18")
    refuses(timm_resnet18(), "timm:resnet18.nobody", "timm has no weights 'resnet18.nobody'")
    refuses(timm_resnet18(), "torchvision:resnet19", "publishes no weights for a model 'resnet19'")
    # Bare timm names and the two prefixes go where they should.
    asked = []
    monkeypatch.setattr(pretrained, "timm_state", lambda name: asked.append(name) or timm_resnet18().state_dict())
    monkeypatch.setattr(pretrained, "torchvision_state", lambda name: asked.append(f"tv {name}") or {})
    load_weights(timm_resnet18(), "resnet18")
    load_weights(timm_resnet18(), "timm:resnet18.a1_in1k")
    refuses(timm_resnet18(), "torchvision:resnet18", "is no checkpoint")
    assert asked == ["resnet18", "resnet18.a1_in1k", "tv resnet18"]


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("timm:resnet18", r"timm/resnet18\.a1_in1k, file model\.safetensors, from huggingface\.co"),
        ("torchvision:resnet18", r"https://download\.pytorch\.org/models/resnet18-\w+\.pth"),
        ("https://example.org/some.pth", r"https://example\.org/some\.pth"),
    ],
)
def test_without_network(monkeypatch, tmp_path, source, wanted):
    """It says at once what it wanted and how to give it by hand."""

    def no_network(*_args):
        raise OSError("Name or service not known")

    monkeypatch.setattr(pretrained.socket, "getaddrinfo", no_network)
    monkeypatch.setattr(pretrained, "getproxies", dict)
    monkeypatch.setattr(pretrained, "_in_hub_cache", lambda hub_id: None)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    refuses(timm_resnet18(), source, rf"wanted to fetch .*{wanted}.*there is no network .*--weights FILE")


def test_failed_download(monkeypatch, tmp_path):
    def fails(*_args, **_kwargs):
        raise OSError("403 Forbidden\nlong story")

    monkeypatch.setattr(pretrained, "_need_host", lambda *_args: None)
    monkeypatch.setattr(pretrained, "_in_hub_cache", lambda hub_id: None)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fails)
    refuses(timm_resnet18(), "https://example.org/a.pth", r"could not fetch .*403 Forbidden\): fetch it on a machine")
    monkeypatch.setattr(import_timm(), "create_model", fails)
    model = import_torchvision().models.resnet18()
    refuses(model, "timm:resnet18", "could not fetch the weights of timm's 'resnet18'.*403 Forbidden")


def test_timm_weights_from_the_local_hub_cache(monkeypatch, published, file):
    """A file that was fetched before is used without asking the network."""
    state = randomised(timm_resnet18(1000))
    path = file(state, "model.safetensors")
    monkeypatch.setattr(pretrained, "_in_hub_cache", lambda hub_id: str(path))
    monkeypatch.setattr(pretrained.socket, "getaddrinfo", None)
    model = timm_resnet18()
    load_weights(model, "timm:resnet18")
    assert_loaded(model, state)
