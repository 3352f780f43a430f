"""A free face (NASA portrait of Eileen Collins, public domain, shipped with scikit-image) and a detector."""

import numpy as np
import pytest

from faceanim_cli.faces.detector import FaceDetector
from faceanim_cli.faces.framing import Box

# Where a person sees the astronaut's face in the 512 x 512 picture: brows to chin, ear to ear.
ASTRONAUT_FACE = Box(178, 70, 92, 100)


@pytest.fixture(scope="session")
def astronaut():
    data = pytest.importorskip("skimage.data")
    return np.ascontiguousarray(data.astronaut())


@pytest.fixture(scope="session")
def astronaut_face():
    return ASTRONAUT_FACE


@pytest.fixture(scope="session")
def detector():
    return FaceDetector()
