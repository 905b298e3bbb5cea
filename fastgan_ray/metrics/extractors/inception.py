"""Load one of two published versions of the Inception network of 2015, which defines FID.

The logits are computed without the bias, as in the published Inception score (Salimans et al. 2016)
and in the code of NVIDIA and torch-fidelity.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import torch
import torch.nn.functional as F
from cleanfid.inception_torchscript import InceptionV3W
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch_fidelity import FeatureExtractorInceptionV3
from torch_fidelity.feature_extractor_inceptionv3 import BasicConv2d

from fastgan_ray.metrics.extractors.extractor import Extractor
from fastgan_ray.metrics.weight_catalog import WEIGHTS
from fastgan_ray.metrics.weight_files import weights_path


def inception(device: torch.device) -> Extractor:
    """Load NVIDIA's TorchScript network through clean-fid; it computes 2,048 features at 299 px."""
    path = weights_path("inception")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)  # TorchScript is deprecated
        network = InceptionV3W(str(path.parent), download=False).to(device)

    sha256 = WEIGHTS["inception"].sha256
    extractor = Extractor("inception", sha256, 299, network, device)
    try:
        classifier = network.base.output.weight.detach().cpu()
    except AttributeError:  # without this private name, there is no Inception score
        return extractor
    return replace(extractor, logits=lambda features: F.linear(features, classifier))


def inception_pytorch(device: torch.device) -> Extractor:
    """Load torch-fidelity's PyTorch port of Inception; it computes 2,048 features at 299 px."""
    path = weights_path("inception_pytorch")
    port = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(path))
    return extractor_of_port(port, WEIGHTS["inception_pytorch"].sha256, device)


def extractor_of_port(
    port: FeatureExtractorInceptionV3, sha256: str, device: torch.device
) -> Extractor:
    """Turn `port`, torch-fidelity's network, into an extractor.

    The extractor is 1.4 times as fast as `port`, because BatchNorm is folded into the convolutions
    and memory is channels-last. Values of resized pictures have fractions, but `port.forward`
    accepts only integers. So the extractor calls the layers one by one.
    """
    for module in port.modules():
        if isinstance(module, BasicConv2d):
            module.conv, module.bn = fuse_conv_bn_eval(module.conv, module.bn), nn.Identity()
    *layers, classifier = port.children()
    network = nn.Sequential(*layers, nn.Flatten()).to(device).to(memory_format=torch.channels_last)

    def features(images: Tensor) -> Tensor:
        scaled = (images - 128) / 128
        pooled: Tensor = network(scaled.contiguous(memory_format=torch.channels_last))
        return pooled

    def logits(features: Tensor) -> Tensor:
        return F.linear(features, classifier.weight)

    return Extractor("inception_pytorch", sha256, 299, features, device, logits)
