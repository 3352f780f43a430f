"""Free keypoints of the driver: a photo's own frame follows them, one that is pasted back does not."""

import numpy as np
import pytest

from faceanim_cli import Animator
from faceanim_models import Keypoints

SIZE = 256


@pytest.mark.parametrize("pasted_back", [False, True])
def test_shoulders_follow_unless_the_photo_around_them_stands_still(
    astronaut: np.ndarray, pasted_back: bool
) -> None:
    animator = Animator(device="cpu", precision="fp32", sr=False, size=SIZE, mark=None)
    picture = astronaut[:SIZE, 100 : 100 + SIZE]
    reach = np.ones((SIZE, SIZE), np.float32) if pasted_back else None
    face = animator.encode(picture, crop=None, reach=reach)
    (seen,) = animator.detect([picture])
    assert isinstance(seen, Keypoints) and seen.free is not None
    shrugging = seen._replace(free=seen.free + seen.free.new_tensor((0.0, -0.08)))
    still, shrugged = face.animate([seen, shrugging])
    changed = np.abs(shrugged.astype(int) - still).mean((1, 2))  # row by row
    if pasted_back:
        assert changed.max() == 0
    else:
        assert changed[SIZE * 4 // 5 :].mean() > 5
