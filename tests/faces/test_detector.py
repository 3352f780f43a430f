"""Detection on a free portrait, changed in the ways that photos come; merging and trust on made-up boxes."""

import math
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from faceanim_cli.errors import NoFaceError, UsageError
from faceanim_cli.faces import detector as detector_module
from faceanim_cli.faces.choice import find_faces
from faceanim_cli.faces.detector import FaceDetector, _Candidate, merged, trusted_faces
from faceanim_cli.faces.framing import Box


def assert_near(found, expected, shift=0.2, growth=1.35):
    """Same face: centre within a share of its side, and of about the same size."""
    assert math.hypot(found.cx - expected.cx, found.cy - expected.cy) < shift * expected.side
    assert 1 / growth < found.side / expected.side < growth


class TestAstronaut:
    def test_portrait(self, detector, astronaut, astronaut_face):
        faces = detector.detect(astronaut)
        assert len(faces) == 1  # at 320 px one cascade also fires on the space suit, in a larger box
        assert_near(faces[0], astronaut_face)

    def test_thorough_search_agrees(self, detector, astronaut, astronaut_face):
        assert_near(detector.detect(astronaut, thorough=True)[0], astronaut_face)

    @pytest.mark.parametrize("factor", [0.3, 4.0])
    def test_any_resolution(self, detector, astronaut, astronaut_face, factor):
        face = astronaut_face
        expected = Box(face.x * factor, face.y * factor, face.w * factor, face.h * factor)
        resized = cv2.resize(astronaut, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        assert_near(detector.detect(resized)[0], expected)

    def test_small_in_a_large_photo(self, detector, astronaut, astronaut_face):
        photo = np.full((1600, 2400, 3), 90, np.uint8)
        photo[900:1284, 1500:1884] = cv2.resize(astronaut, (384, 384), interpolation=cv2.INTER_AREA)
        face = astronaut_face
        expected = Box(1500 + face.x * 0.75, 900 + face.y * 0.75, face.w * 0.75, face.h * 0.75)
        assert_near(detector.detect(photo, thorough=True)[0], expected)

    def test_mirrored(self, detector, astronaut, astronaut_face):
        face = astronaut_face
        expected = Box(512 - face.x - face.w, face.y, face.w, face.h)
        found = detector.detect(np.ascontiguousarray(astronaut[:, ::-1]), thorough=True)
        assert_near(found[0], expected)

    @pytest.mark.parametrize("angle", [-30, -15, 15, 30])
    def test_tilted(self, detector, astronaut, astronaut_face, angle):
        face = astronaut_face
        turn = cv2.getRotationMatrix2D((face.cx, face.cy), angle, 1.0)
        turned = cv2.warpAffine(astronaut, turn, (512, 512), borderMode=cv2.BORDER_REFLECT)
        assert_near(detector.detect(turned)[0], face)

    def test_off_centre_and_not_square(self, detector, astronaut, astronaut_face):
        # Tells x from y, which a square picture with a face near the diagonal does not.
        face = astronaut_face
        wide = np.full((300, 900, 3), 90, np.uint8)
        wide[20:260, 600:840] = astronaut[20:260, 100:340]
        assert_near(detector.detect(wide)[0], Box(face.x + 500, face.y, face.w, face.h))

    def test_two_people_largest_first(self, detector, astronaut):
        large = astronaut[:256, 100:356]
        both = np.full((256, 456, 3), 90, np.uint8)
        both[:200, :200] = cv2.resize(large, (200, 200), interpolation=cv2.INTER_AREA)
        both[:, 200:] = large
        faces = detector.detect(both, thorough=True)
        assert len(faces) == 2
        assert faces[0].x > 200 > faces[1].x
        assert faces[0].area > faces[1].area

    def test_grey_photo(self, detector, astronaut, astronaut_face):
        grey = np.repeat(astronaut.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
        assert_near(detector.detect(grey)[0], astronaut_face)

    def test_leaves_the_image_alone(self, detector, astronaut):
        before = astronaut.copy()
        detector.detect(astronaut, thorough=True)
        assert np.array_equal(astronaut, before)


class TestNothingThere:
    @pytest.mark.parametrize("shape", [(1, 1), (5, 300), (240, 320), (700, 700)])
    def test_noise_has_no_face(self, detector, shape):
        noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
        assert detector.detect(noise) == []

    def test_says_which_photo_and_what_to_do(self, detector):
        blank = np.full((200, 200, 3), 128, np.uint8)
        with pytest.raises(NoFaceError, match=r"holiday\.jpg.*--crop") as caught:
            find_faces(blank, "holiday.jpg")
        assert caught.value.exit_code == 3

    def test_photo_without_people(self, detector):
        data = pytest.importorskip("skimage.data")
        assert detector.detect(data.coffee(), thorough=True) == []
        assert detector.detect(data.rocket(), thorough=True) == []


class TestMissingCascades:
    def test_missing_file(self, monkeypatch, tmp_path):
        monkeypatch.setattr(cv2.data, "haarcascades", str(tmp_path))
        with pytest.raises(UsageError, match=r"opencv-python>=4\.8,<5") as caught:
            FaceDetector()
        assert caught.value.exit_code == 2

    def test_broken_file(self, monkeypatch, tmp_path):
        (tmp_path / "haarcascade_frontalface_default.xml").write_text("<nothing/>")
        monkeypatch.setattr(cv2.data, "haarcascades", str(tmp_path))
        with pytest.raises(UsageError, match="opencv-python"):
            FaceDetector()

    def test_opencv_5(self, monkeypatch):
        monkeypatch.setattr(detector_module, "cv2", SimpleNamespace(__version__="5.0.0"))
        with pytest.raises(UsageError, match=r"OpenCV 5\.0\.0 has no Viola-Jones.*<5"):
            FaceDetector()


class TestMerging:
    FRONTAL, ALT2, PROFILE, MIRRORED = range(4)

    @staticmethod
    def candidate(box, votes, search=0):
        return _Candidate(box, box, votes, search)

    def test_one_face_seen_by_several_is_one_and_framed_as_frontal(self):
        frontal, profile = Box(100, 100, 80, 80), Box(104, 98, 90, 90)
        seen = [self.candidate(profile, 50, self.PROFILE), self.candidate(frontal, 9, self.FRONTAL)]
        assert merged(seen) == [(frontal, 59)]

    def test_lone_profile_boxes_mirror_each_other(self):
        left = merged([self.candidate(Box(100, 100, 80, 80), 9, self.PROFILE)])[0][0]
        right = merged([self.candidate(Box(300 - 180, 100, 80, 80), 9, self.MIRRORED)])[0][0]
        assert right.cx == pytest.approx(300 - left.cx)
        assert (right.cy, right.side) == pytest.approx((left.cy, left.side))
        assert left.side < 80

    def test_different_faces_stay_apart(self):
        a, b = Box(100, 100, 80, 80), Box(200, 100, 80, 80)
        assert merged([self.candidate(a, 9), self.candidate(b, 30)]) == [(b, 30), (a, 9)]

    def test_a_larger_box_with_few_votes_does_not_beat_the_face(self):
        face, shirt = Box(100, 100, 80, 80), Box(80, 250, 160, 160)
        assert trusted_faces([(face, 100), (shirt, 12)]) == [(face, 100)]
        assert trusted_faces([(face, 30), (shirt, 7)]) == [(face, 30)]

    def test_a_mouth_inside_a_face_is_dropped(self):
        face, mouth = Box(100, 100, 200, 200), Box(160, 220, 80, 80)
        assert trusted_faces([(mouth, 78), (face, 34)]) == [(face, 34)]

    def test_nothing_trusted(self):
        assert trusted_faces([]) == []
        assert trusted_faces([(Box(0, 0, 50, 50), 7)]) == []
