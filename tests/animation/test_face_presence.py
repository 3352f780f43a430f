"""Frames with a face, from how sharp heatmaps are."""

import pytest

from faceanim_cli.animation.face_presence import FacePresence


@pytest.mark.parametrize(
    ("shares", "shown"),
    [
        ([1, 1, 1], "yyy"),
        ([1, 0.3, 1], "yny"),
        ([0.3, 0.3, 1], "nny"),
        ([1, 0.7, 0.3, 0.3, 0.7, 1], "ynnnny"),  # on its way out and in
        ([1, 0.7, 0.7, 1], "yyyy"),  # a head that turns far
        ([1, 0.7, 0.7], "yyy"),
        ([1, *[0.7] * 8, 0.3], "yyyynnnnnn"),  # nobody takes longer to leave than five frames
        ([0.3, *[0.7] * 8], "nyyyyyyyy"),
        ([], ""),
    ],
)
@pytest.mark.parametrize("batch", [1, 4, 100])
def test_what_is_doubtful_belongs_to_the_gap_beside_it(shares: list[float], shown: str, batch: int) -> None:
    presence = FacePresence(fps=10)  # five frames of patience
    for first in range(0, len(shares), batch):
        presence.see(shares[first : first + batch])
    presence.finish()
    assert "".join("y" if shows else "n" for shows in presence.decided) == shown
