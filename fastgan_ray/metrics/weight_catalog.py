"""The published files of weights, and which settings need them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Weights:
    """One published file of weights: how to know it, where to get it, how to do without it."""

    filename: str
    sha256: str
    size_bytes: int
    url: str  # of the folder
    purpose: str
    instead: str


_EMBEDDED = (
    "or use the embedded network: --embedded (eval.extractor: efficientnet_lite0), "
    "whose distance is not an FID and is not called so."
)

WEIGHTS = {
    # The checksum is the one that k-diffusion and others publish for NVIDIA's file.
    "inception": Weights(
        filename="inception-2015-12-05.pt",
        sha256="f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
        size_bytes=95_607_719,
        url="https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics",
        purpose="FID (eval.extractor: inception)",
        instead=_EMBEDDED,
    ),
    # The name carries the checksum's beginning; the rest is as users of the file record it.
    "inception_pytorch": Weights(
        filename="weights-inception-2015-12-05-6726825d.pth",
        sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        size_bytes=95_628_359,
        url="https://github.com/toshas/torch-fidelity/releases/download/v0.2.0",
        purpose="FID on the PyTorch port (eval.extractor: inception_pytorch)",
        instead=_EMBEDDED,
    ),
    # Meta publishes no checksum of DINOv2's files: these are as many users of them record them.
    "dinov2_vitb14": Weights(
        filename="dinov2_vitb14_pretrain.pth",
        sha256="0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73",
        size_bytes=346_378_731,
        url="https://dl.fbaipublicfiles.com/dinov2/dinov2_vitb14",
        purpose="distances on DINOv2 (eval.extractor: dinov2_vitb14)",
        instead=_EMBEDDED,
    ),
    "dinov2_vitl14": Weights(
        filename="dinov2_vitl14_pretrain.pth",
        sha256="d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428",
        size_bytes=1_217_586_395,
        url="https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14",
        purpose="FD_DINOv2 (eval.extractor: dinov2_vitl14)",
        instead=_EMBEDDED,
    ),
    # OpenAI's address carries the whole checksum.
    "clip_vitb32": Weights(
        filename="ViT-B-32.pt",
        sha256="40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
        size_bytes=353_976_522,
        url="https://openaipublic.azureedge.net/clip/models/"
        "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
        purpose="distances on CLIP (eval.extractor: clip_vitb32)",
        instead=_EMBEDDED,
    ),
    # torchvision's name carries the checksum's beginning.
    "vgg16": Weights(
        filename="vgg16-397923af.pth",
        sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        size_bytes=553_433_881,
        url="https://download.pytorch.org/models",
        purpose="LPIPS (train.reconstruction: lpips_vgg)",
        instead="or reconstruct without it: --embedded (which sets train.reconstruction too), or "
        "train.reconstruction: l1 or efficientnet_lite0.",
    ),
}

# Keys of WEIGHTS by what a run has in eval.extractor and train.reconstruction.
OF_EXTRACTOR: dict[str, tuple[str, ...]] = {
    "inception": ("inception",),
    "inception_pytorch": ("inception_pytorch",),
    "dinov2_vitb14": ("dinov2_vitb14",),
    "dinov2_vitl14": ("dinov2_vitl14",),
    "clip_vitb32": ("clip_vitb32",),
    "efficientnet_lite0": (),
}
OF_RECONSTRUCTION: dict[str, tuple[str, ...]] = {
    "lpips_vgg": ("vgg16",),
    "efficientnet_lite0": (),
    "l1": (),
    "l2": (),
}
