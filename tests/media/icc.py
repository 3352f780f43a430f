"""ICC profiles built byte by byte (ICC.1:2001-04), for the tests of colour conversion."""

import struct
from collections.abc import Sequence

import numpy as np

# Primaries in columns of XYZ, adapted to D50.
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
PROPHOTO = ((0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82491))
D50 = (0.9642, 1.0, 0.8249)


def fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def xyz(value: Sequence[float]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(map(fixed, value))


def curve(gamma: float) -> bytes:
    if gamma == 1:
        return b"curv\0\0\0\0" + struct.pack(">I", 0)
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"


def rgb_profile(primaries: Sequence[Sequence[float]], gamma: float, name: str = "any") -> bytes:
    tags = [(name + "XYZ", xyz(column)) for name, column in zip("rgb", primaries, strict=True)]
    tags += [(channel + "TRC", curve(gamma)) for channel in "rgb"]
    return profile("RGB ", "XYZ ", tags, name)


def grey_profile(gamma: float) -> bytes:
    return profile("GRAY", "XYZ ", [("kTRC", curve(gamma))])


def lut_profile(space: str, corners: np.ndarray) -> bytes:
    """A profile whose table has two points an axis: the corners' colours in Lab, (2, ..., 2, 3)."""
    channels = corners.ndim - 1
    identity = np.eye(3).ravel()
    grid = np.stack(
        [corners[..., 0] / 100 * 0xFF00, *((corners[..., n] + 128) * 256 for n in (1, 2))], axis=-1
    )
    table = np.clip(np.round(grid), 0, 65535).astype(">u2").tobytes()
    ends = struct.pack(">2H", 0, 65535)
    lut = b"mft2\0\0\0\0" + struct.pack(">4B", channels, 3, 2, 0) + b"".join(map(fixed, identity))
    lut += struct.pack(">2H", 2, 2) + ends * channels + table + ends * 3
    return profile(space, "Lab ", [("A2B0", lut)], device="prtr")


def profile(
    space: str, connection: str, tags: list[tuple[str, bytes]], name: str = "any", device: str = "mntr"
) -> bytes:
    text = name.encode() + b"\0"
    described = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + b"\0" * 78
    tags = [("desc", described), ("wtpt", xyz(D50)), ("cprt", b"text\0\0\0\0CC0\0"), *tags]
    body, table = b"", struct.pack(">I", len(tags))
    for tag, given in tags:
        data = given + b"\0" * (-len(given) % 4)
        table += tag.encode() + struct.pack(">2I", 132 + 12 * len(tags) + len(body), len(data))
        body += data
    size = 128 + len(table) + len(body)
    head = struct.pack(
        ">I4sI4s4s4s", size, b"lcms", 0x02100000, device.encode(), space.encode(), connection.encode()
    )
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 24 + struct.pack(">I", 0)
    return (head + b"".join(map(fixed, D50))).ljust(128, b"\0") + table + body
