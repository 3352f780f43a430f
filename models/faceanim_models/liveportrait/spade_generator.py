"""LivePortrait's generator: warped features to a picture, by SPADE blocks (Park et al. 2019)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceanim_models.blocks import Mergeable
from faceanim_models.memory_layout import channels_first, pixel_shuffle

SLOPE = 0.2  # of the leaky ReLUs
EPS = 1e-5  # of the instance norms


class SPADEGenerator(nn.Module):
    """Features (B, label_channels, H, W) to a picture (B, 3, 8 H, 8 W) in [0, 1].

    The features are the label of every SPADE block, too. The published weights carry spectral norms, which
    are folded into the convolutions when they are read.

    Args:
        label_channels: of the features.
        widths: channels at 1/8, 1/4 and 1/2 of the picture's size.
        blocks: SPADE blocks at 1/8.
        hidden: channels between label and modulation.
    """

    def __init__(self, label_channels: int, widths: tuple[int, int, int], blocks: int, hidden: int) -> None:
        super().__init__()
        first, second, third = widths
        self.fc = nn.Conv2d(label_channels, first, 3, padding=1)
        self.middle = [f"G_middle_{number}" for number in range(blocks)]
        for name in self.middle:
            self.add_module(name, SPADEBlock(first, first, label_channels, hidden))
        self.up_0 = SPADEBlock(first, second, label_channels, hidden, 2)
        self.up_1 = SPADEBlock(second, third, label_channels, hidden, 4)
        self.conv_img = nn.Sequential(nn.Conv2d(third, 3 * 4, 3, padding=1))

    def forward(self, label: Tensor) -> Tensor:
        """See the class."""
        x = self.fc(label)
        for name in self.middle:
            x = self.get_submodule(name)(x, label)
        for block in (self.up_0, self.up_1):
            x = block(F.interpolate(x, scale_factor=2.0, mode="nearest"), label)
        x = self.conv_img(F.leaky_relu(x, SLOPE))
        return torch.sigmoid(pixel_shuffle(channels_first(x).float()))


class SPADEBlock(nn.Module):
    """Two modulated convolutions around which the input is carried: (B, in, H, W) -> (B, out, H, W).

    ``enlarged``: how many times larger than the label its input is.
    """

    def __init__(
        self, in_channels: int, out_channels: int, label_channels: int, hidden: int, enlarged: int = 1
    ) -> None:
        super().__init__()
        middle = min(in_channels, out_channels)
        self.conv_0 = nn.Conv2d(in_channels, middle, 3, padding=1)
        self.conv_1 = nn.Conv2d(middle, out_channels, 3, padding=1)
        self.norm_0 = SPADE(in_channels, label_channels, hidden, enlarged)
        self.norm_1 = SPADE(middle, label_channels, hidden, enlarged)
        self.learned_shortcut = in_channels != out_channels
        if self.learned_shortcut:
            self.conv_s = nn.Conv2d(in_channels, out_channels, 1, bias=False)
            self.norm_s = SPADE(in_channels, label_channels, hidden, enlarged)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        y: Tensor = self.conv_0(F.leaky_relu_(self.norm_0(x, label), SLOPE))
        y = self.conv_1(F.leaky_relu_(self.norm_1(y, label), SLOPE))
        return y.add_(self.conv_s(self.norm_s(x, label)) if self.learned_shortcut else x)


class SPADE(Mergeable):
    """Instance norm of (B, C, H, W), scaled and shifted pixel by pixel by what the label says there.

    The label is of a whole fraction of that height and width, and enlarged by repeating its pixels.
    """

    def __init__(self, channels: int, label_channels: int, hidden: int, enlarged: int = 1) -> None:
        super().__init__()
        self.enlarged, self.merged = enlarged, False
        self.mlp_shared = nn.Sequential(nn.Conv2d(label_channels, hidden, 3, padding=1))
        self.mlp_gamma = nn.Conv2d(hidden, channels, 3, padding=1)
        self.mlp_beta: nn.Module = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """``x`` (B, C, H, W) and the label (B, label_channels, H / enlarged, W / enlarged)."""
        if self.merged:
            scale, shift = self.mlp_gamma(F.relu_(self.mlp_shared(label))).chunk(2, dim=1)
            # A group norm with a channel in each group: the same, and many times as fast on channels last.
            return torch.addcmul(shift, F.group_norm(x, x.shape[1], eps=EPS), scale)
        if self.enlarged > 1:
            label = F.interpolate(label, scale_factor=float(self.enlarged), mode="nearest")
        hidden = F.relu(self.mlp_shared(label))
        normal = F.instance_norm(x, eps=EPS)
        return torch.addcmul(normal + self.mlp_beta(hidden), normal, self.mlp_gamma(hidden))

    @torch.no_grad()
    def merge(self) -> None:
        """Of the enlarged label's convolution 16 products of 36 are left, or 36 of 144; and scale and shift
        come of one convolution.

        Repeating pixels and convolving is one transposed convolution.
        """
        n, state = self.enlarged, self.state_dict()
        if n > 1:
            hidden, label_channels = state["mlp_shared.0.weight"].shape[:2]
            once = nn.ConvTranspose2d(label_channels, hidden, n + 2, n, padding=1)
            # Of the n + 2 places along an axis that a pixel reaches, each weight counts in n.
            reached = torch.zeros(n + 2, 3)
            for weight in range(3):
                reached[2 - weight : 2 - weight + n, weight] = 1
            weights = torch.einsum("oiyx,ay,bx->ioab", state["mlp_shared.0.weight"], reached, reached)
            once.load_state_dict({"weight": weights, "bias": state["mlp_shared.0.bias"]})
            self.mlp_shared = nn.Sequential(once)
        both = nn.Conv2d(self.mlp_gamma.in_channels, 2 * self.mlp_gamma.out_channels, 3, padding=1)
        weights = torch.cat((state["mlp_gamma.weight"], state["mlp_beta.weight"]))
        bias = torch.cat((state["mlp_gamma.bias"] + 1, state["mlp_beta.bias"]))
        both.load_state_dict({"weight": weights, "bias": bias})
        self.mlp_gamma, self.mlp_beta, self.merged = both, nn.Identity(), True
