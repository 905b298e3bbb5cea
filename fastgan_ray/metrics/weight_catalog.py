"""The published weight files (WEIGHTS): addresses, hashes, and the setting that needs each."""

from __future__ import annotations

from dataclasses import dataclass

_EMBEDDED = (
    "Or use --embedded: it selects the feature network inside the package (eval.extractor: "
    "efficientnet_lite0), which needs no download. The metric is then not FID and has another name."
)


@dataclass(frozen=True)
class Weights:
    """A published weight file. If it is missing, `instead` tells the user what else to use."""

    filename: str
    sha256: str
    size_bytes: int
    url: str  # URL of the folder that has the file
    used_for: str
    setting: str  # the setting that needs the file
    instead: str = _EMBEDDED

    @property
    def purpose(self) -> str:
        """Return what the file is used for, with its setting: "FID (eval.extractor: inception)"."""
        return f"{self.used_for} ({self.setting})"


WEIGHTS: dict[str, Weights] = {
    # k-diffusion and other projects publish this checksum of NVIDIA's file.
    "inception": Weights(
        filename="inception-2015-12-05.pt",
        sha256="f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
        size_bytes=95_607_719,
        url="https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics",
        used_for="FID",
        setting="eval.extractor: inception",
    ),
    # The file's name contains the first digits of the checksum; other projects record all digits.
    "inception_pytorch": Weights(
        filename="weights-inception-2015-12-05-6726825d.pth",
        sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        size_bytes=95_628_359,
        url="https://github.com/toshas/torch-fidelity/releases/download/v0.2.0",
        used_for="FID with the PyTorch port of Inception",
        setting="eval.extractor: inception_pytorch",
    ),
    # Meta publishes no checksums of DINOv2's files; other projects record these.
    "dinov2_vitb14": Weights(
        filename="dinov2_vitb14_pretrain.pth",
        sha256="0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73",
        size_bytes=346_378_731,
        url="https://dl.fbaipublicfiles.com/dinov2/dinov2_vitb14",
        used_for="distances on DINOv2 features",
        setting="eval.extractor: dinov2_vitb14",
    ),
    "dinov2_vitl14": Weights(
        filename="dinov2_vitl14_pretrain.pth",
        sha256="d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428",
        size_bytes=1_217_586_395,
        url="https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14",
        used_for="FD_DINOv2",
        setting="eval.extractor: dinov2_vitl14",
    ),
    # The URL contains the whole checksum.
    "clip_vitb32": Weights(
        filename="ViT-B-32.pt",
        sha256="40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
        size_bytes=353_976_522,
        url="https://openaipublic.azureedge.net/clip/models/"
        "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
        used_for="distances on CLIP features",
        setting="eval.extractor: clip_vitb32",
    ),
    # The file's name contains the first digits of the checksum.
    "vgg16": Weights(
        filename="vgg16-397923af.pth",
        sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        size_bytes=553_433_881,
        url="https://download.pytorch.org/models",
        used_for="LPIPS",
        setting="train.reconstruction: lpips_vgg",
        instead="Or use --embedded: it replaces LPIPS by a similar distance, computed with the "
        "network inside the package. For a training, you can also set train.reconstruction to l1.",
    ),
}
