"""The Inception network of 2015, whose distances are called FID, from its two publishers.

Their logits have no bias: so the Inception score was published (Salimans et al. 2016), and so
NVIDIA and torch-fidelity compute it.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import torch
import torch.nn.functional as F
from cleanfid.inception_torchscript import InceptionV3W
from torch import Tensor, nn
from torch_fidelity import FeatureExtractorInceptionV3

from fastgan_ray.metrics.extractors.extractor import Extractor
from fastgan_ray.metrics.published import WEIGHTS
from fastgan_ray.metrics.weights import weights_path


def inception(device: torch.device) -> Extractor:
    """NVIDIA's TorchScript through clean-fid: pooled features (2,048) at 299 px."""
    path = weights_path("inception")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)  # TorchScript is deprecated
        network = InceptionV3W(str(path.parent), download=False).to(device)

    sha256 = WEIGHTS["inception"].sha256
    extractor = Extractor("inception", sha256, 299, network, device)
    try:
        classifier = network.base.output.weight.detach().cpu()
    except AttributeError:  # a name inside another's file: without it there is no Inception score
        return extractor
    return replace(extractor, logits=lambda features: F.linear(features, classifier))


def inception_pytorch(device: torch.device) -> Extractor:
    """The PyTorch port through torch-fidelity: pooled features (2,048) at 299 px.

    Its own forward takes whole numbers, and resizes, which at 299 px changes nothing; clean
    resizing gives fractions, hence its layers are called one after another.
    """
    path = weights_path("inception_pytorch")
    port = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(path))
    *layers, classifier = port.children()
    network = nn.Sequential(*layers, nn.Flatten()).to(device)

    def features(images: Tensor) -> Tensor:
        pooled: Tensor = network((images - 128) / 128)
        return pooled

    def logits(features: Tensor) -> Tensor:
        return F.linear(features, classifier.weight)

    sha256 = WEIGHTS["inception_pytorch"].sha256
    return Extractor("inception_pytorch", sha256, 299, features, device, logits)
