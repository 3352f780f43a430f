"""Published scores to show beside ours: other data, other protocols, and never to be compared row by row."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedTable:
    """Numbers of a paper.

    Attributes:
        title: where they are from.
        protocol: what they were measured on, and what to beware of.
        columns: names of the numbers, the method's name before them.
        rows: method, then a number for each column or None.
    """

    title: str
    protocol: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float | None, ...], ...]


PAPER_TABLE_1 = PublishedTable(
    "The paper's Table 1 (Karim and Saleh 2022)",
    "VoxCeleb1; clips, frames and size are not stated. PSNR near 30 beside SSIM near 0.7 is not the PSNR of "
    "RGB frames that gives 22 to 24 below: the table gathers numbers of several papers.",
    ("method", "psnr", "ssim"),
    (
        ("X2Face", 22.54, 0.72),
        ("MoCoGAN", 17.36, 0.54),
        ("Monkey-Net", 30.87, 0.74),
        ("Few-shot", None, 0.72),
        ("PuppeteerGAN", None, 0.73),
        ("the paper's method", 30.74, 0.90),
    ),
)
FSRT_TABLE_1 = PublishedTable(
    "Released checkpoints under one protocol (FSRT, Rochow et al. 2024, Table 1)",
    "The official VoxCeleb test set, 256 x 256, source = first frame, every 10th frame, PSNR of RGB frames, "
    "another landmark detector.",
    ("method", "psnr", "ssim", "l1", "akd"),
    (
        ("DPE", 22.94, 0.7180, 0.0484, 3.07),
        ("FOMM", 22.90, 0.7310, 0.0470, 2.26),
        ("DaGAN", 23.51, 0.7563, 0.0450, 2.10),
        ("face-vid2vid (third-party code)", 22.97, 0.7327, 0.0471, 2.33),
        ("TPSMM", 23.76, 0.7660, 0.0433, 2.00),
        ("FSRT", 23.67, 0.7576, 0.0421, 2.13),
    ),
)
PUBLISHED = (PAPER_TABLE_1, FSRT_TABLE_1)
