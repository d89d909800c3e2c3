"""DisAlign's calibration: the scores of a trained classifier, shifted class by class as far as a confidence allows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# How the confidence is made of the features.
CONFIDENCES = ("linear", "normalized")
# How the confidence joins what is learned and the scores.
FORMS = ("mixed", "added")


class ScoreCalibration(nn.Module):
    """Mixes the scores ``z`` of a classifier with scores of learned magnitude and margin.

    ``z_c -> sigma(x) (alpha_c z_c + beta_c) + (1 - sigma(x)) z_c``, the adaptive calibration of Zhang et al., "Distribution
    Alignment: A Unified Framework for Long-tail Visual Recognition" (DisAlign), CVPR 2021, Sec. 4.1
    (https://arxiv.org/abs/2103.16370), and of their program for segmentation. The confidence ``sigma(x)`` in (0, 1) is a
    sigmoid of one linear function of the features ``x``. It starts with magnitude 1 and margin 0, which leaves the scores as
    they are whatever the confidence.

    Their program for classification has another form: ``z_c -> (1 + sigma(x) alpha_c) z_c + sigma(x) beta_c``, which is the same
    family with a magnitude one larger. It starts with magnitude 1 as well, so that the scores of an image with a sure confidence
    are twice what they were, with all weights of the linear function at 0.1, and weight decay draws it to the scores as they were.

    Args:
        num_classes: C.
        feat_dim: D.
        confidence: ``"linear"``, as in the paper; ``"normalized"``: batch norm and ReLU between the linear function, then without
            bias, and the sigmoid, as in the published code for segmentation, where the confidence is therefore at least 1/2.
        maps: Whether features are maps [N, D, H, W] and not vectors [*, D].
        form: ``"mixed"``, as in the paper, or ``"added"``, as in the published code for classification.

    Raises:
        ValueError: ``num_classes`` or ``feat_dim`` is below 1, or an unknown ``confidence`` or ``form``.
    """

    def __init__(
        self, num_classes: int, feat_dim: int, confidence: str = "linear", maps: bool = False, form: str = "mixed"
    ) -> None:
        super().__init__()
        if min(num_classes, feat_dim) < 1:
            raise ValueError(f"num_classes and feat_dim must be at least 1, not {num_classes} and {feat_dim}.")
        if confidence not in CONFIDENCES:
            raise ValueError(f"unknown confidence {confidence!r}: choose one of {', '.join(CONFIDENCES)}.")
        if form not in FORMS:
            raise ValueError(f"unknown form {form!r}: choose one of {', '.join(FORMS)}.")
        self.maps = maps
        self.form = form
        self.magnitude = nn.Parameter(torch.ones(num_classes))
        self.margin = nn.Parameter(torch.zeros(num_classes))
        bias = confidence == "linear"
        layers: list[nn.Module] = [nn.Conv2d(feat_dim, 1, 1, bias=bias) if maps else nn.Linear(feat_dim, 1, bias=bias)]
        if confidence == "normalized":
            layers += [nn.BatchNorm2d(1) if maps else nn.BatchNorm1d(1), nn.ReLU()]
        self.confidence = nn.Sequential(*layers)
        self.init_weights()

    def init_weights(self) -> None:
        """Sets the weights that the published code sets; called again after a head has drawn those of all linear layers."""
        if self.form == "added":
            self.confidence[0].get_parameter("weight").data.fill_(0.1)

    def forward(self, scores: Tensor, features: Tensor) -> Tensor:
        """Scores [*, C] and features [*, D], or maps of them [N, C, H, W] and [N, D, H, W] -> calibrated scores."""
        sigma = self.confidence(features).sigmoid()
        shape = (-1, 1, 1) if self.maps else (-1,)
        aligned = self.magnitude.view(shape) * scores + self.margin.view(shape)
        return sigma * aligned + (scores if self.form == "added" else (1 - sigma) * scores)


class CalibratedLinear(nn.Linear):
    """A linear classifier whose scores are calibrated by :class:`ScoreCalibration`.

    ``weight`` and ``bias`` carry the names they have in ``nn.Linear``, so that the state of a stage-1 classifier loads; what
    begins with ``calibration.`` is all that such a state lacks.

    Args:
        in_features: D.
        out_features: C.
        bias: Whether there is a bias.
        train_linear: ``False``, as published, leaves weight and bias without gradient.
        confidence, form: See :class:`ScoreCalibration`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        train_linear: bool = False,
        confidence: str = "linear",
        form: str = "mixed",
    ) -> None:
        super().__init__(in_features, out_features, bias=bias)
        self.calibration = ScoreCalibration(out_features, in_features, confidence, form=form)
        for parameter in (self.weight, self.bias):
            if parameter is not None:
                parameter.requires_grad_(train_linear)

    def init_weights(self) -> None:
        """What mmengine calls after a head has drawn the weights of its linear layers; see :class:`ScoreCalibration`."""
        self.calibration.init_weights()

    def forward(self, x: Tensor) -> Tensor:
        """Features [*, D] -> calibrated logits [*, C]."""
        return self.calibration(F.linear(x, self.weight, self.bias), x)


def freeze_all_but(model: nn.Module, *trained: nn.Module) -> None:
    """No gradient and evaluation mode for all of ``model`` but the modules ``trained``, which are in training mode.

    ``model.train()`` switches the rest back to training mode, so call this after it, each time.
    """
    model.requires_grad_(False)
    model.eval()
    for module in trained:
        module.requires_grad_(True)
        module.train()
