"""Which pixels of the photo belong to the head: worked out once for a photo, used in every frame."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceanim_models.backbones import squeezenet_features
from faceanim_models.blocks import ConvBlock, UpBlock
from faceanim_models.geometry import gaussian_heatmaps, in_full_precision, resize

SKIPS = (4, 7)  # layers of SqueezeNet 1.1's features that end its maps at 1/4 and 1/8 of the image
WIDTHS = (48, 32)  # decoder channels at 1/8 and 1/4


class HeadSegmenter(nn.Module):
    """Photo (B, 3, H, W) and its keypoints to maps (B, channels, 2 size, 2 size), in the photo's geometry.

    The first map is the logit of "this moves with the head"; the others are whatever helps the dense motion
    network to tell head, neck, body and background apart. What a head is, hair and hats included, cannot
    be learned from a few hundred people; hence the encoder, SqueezeNet 1.1 (Iandola et al. 2016),
    is meant to start from ImageNet weights and to stay as it is.

    Args:
        num_keypoints: K.
        size: pixels a side of the dense motion network's maps; the photo is seen at 4 times that.
        channels: how many maps.
    """

    def __init__(self, num_keypoints: int, size: int, channels: int) -> None:
        super().__init__()
        self.size = size
        self.encoder = squeezenet_features()
        assert isinstance(self.encoder[0], nn.Conv2d)
        self.encoder[0].padding = (1, 1)  # maps of exactly 1/4, 1/8 and 1/16, centred on the image
        self.ups = nn.ModuleList((UpBlock(512, 256, WIDTHS[0]), UpBlock(WIDTHS[0], 128, WIDTHS[1])))
        self.face = ConvBlock(WIDTHS[1] + num_keypoints, WIDTHS[1])
        self.maps = nn.Conv2d(WIDTHS[1], 4 * channels, 3, padding=1)
        with torch.no_grad():  # the head's logit starts from 0: undecided
            self.maps.weight[:4].zero_()
            assert self.maps.bias is not None
            self.maps.bias[:4].zero_()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1), persistent=False)

    def start_from_imagenet(self, features: Mapping[str, Tensor]) -> None:
        """Take the encoder's weights from ``squeezenet1_1().features.state_dict()`` and freeze them."""
        self.encoder.load_state_dict({key: features[key] for key in self.encoder.state_dict()})
        self.freeze_encoder()

    def freeze_encoder(self) -> None:
        """Leave the encoder out of training."""
        self.encoder.requires_grad_(False)

    def forward(self, photo: Tensor, keypoints: Tensor) -> Tensor:
        """See the class; ``keypoints``: (B, K, 2) of the photo."""
        x = (resize(photo, 4 * self.size, 4 * self.size) - self.mean) / self.std
        skips = []
        for index, layer in enumerate(self.encoder):
            x = layer(x)
            if index in SKIPS:
                skips.append(x)
        for up in self.ups:
            x = up(x, skips.pop())
        with in_full_precision(photo):
            heatmaps = gaussian_heatmaps(keypoints.float(), self.size, self.size, sigma=0.1)
        maps: Tensor = self.maps(self.face(torch.cat((x, heatmaps.to(x.dtype)), dim=1)))
        return F.pixel_shuffle(maps, 2)
