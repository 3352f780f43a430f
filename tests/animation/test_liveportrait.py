"""LivePortrait's networks, at tiny widths, through the ``Animator``, jobs and motion files."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from faceanim_cli import Animator
from faceanim_cli.animation.face import Face
from faceanim_cli.animation.job import animate_file, save_motion
from faceanim_cli.animation.landmark_framer import DRIVER_FRAMING, PHOTO_FRAMING, LandmarkFramer
from faceanim_cli.animation.result import RenderSettings
from faceanim_cli.errors import UsageError
from faceanim_cli.faces import Box, FaceTrack, Framing, find_faces
from faceanim_cli.media import Encoding, VideoReader
from faceanim_cli.motion.settings import MotionSettings
from faceanim_cli.weights.checkpoint import save_checkpoint
from faceanim_models import LivePortraitModel
from tests.liveportrait import tiny_liveportrait

SIDE = 256  # that the networks see; results have twice as many pixels


@pytest.fixture(scope="module")
def model() -> LivePortraitModel:
    return tiny_liveportrait()


@pytest.fixture(scope="module")
def weights(model: LivePortraitModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "liveportrait.safetensors"
    save_checkpoint(path, model, dtype=torch.float32)
    return path


@pytest.fixture(scope="module")
def animator(weights: Path) -> Animator:
    return Animator(weights, "cpu", "fp32", mark=None)


def tensors(frames: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 255


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("stitching", [True, False])
def test_frames_are_what_the_formulas_say(
    model: LivePortraitModel, weights: Path, relative: bool, stitching: bool
) -> None:
    photo, *frames = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3), np.uint8)
    settings = MotionSettings(stitching=stitching, clamp=False)
    animator = Animator(weights, "cpu", "fp32", relative=relative, motion=settings, batch=2, mark=None)
    animator.set_photo(photo, crop=None)
    results = list(animator.animate(frames))
    with torch.inference_mode():
        s, d = model.motion(tensors([photo])), model.motion(tensors(frames))
        if relative:
            rotation = d.rotation @ d.rotation[0].T @ s.rotation
            expression = s.expression + d.expression - d.expression[0]
            scale, shift = (
                s.scale * d.scale / d.scale[0],
                s.translation + d.translation - d.translation[0],
            )
        else:
            rotation, scale, shift = d.rotation, s.scale, d.translation
            expression = s.expression.repeat(3, 1, 1)
            for keypoint in (1, 2, 6, *range(11, 21)):
                expression[:, keypoint] = d.expression[:, keypoint]
            for keypoint, axis in ((3, 1), (4, 1), (5, 2), (8, 2), (9, 1), (9, 2)):
                expression[:, keypoint, axis] = d.expression[:, keypoint, axis]
        points = scale[..., None] * (s.canonical @ rotation + expression)
        points[..., :2] += shift[:, None, :2]
        own = s.keypoints()
        if stitching:
            change = model.stitching.mlp(torch.cat((own.flatten(1).expand(3, -1), points.flatten(1)), 1))
            points = points + change[:, :63].view(3, 21, 3)
            points[..., :2] += change[:, None, 63:]
        features, _ = model.warping(model.appearance(tensors([photo])).expand(3, -1, -1, -1, -1), own, points)
        wanted = model.generator(features)
    assert len(results) == 3
    for seen, expected in zip(results, wanted, strict=True):
        assert seen.shape == (2 * SIDE, 2 * SIDE, 3)
        assert np.abs(seen - 255 * expected.permute(1, 2, 0).numpy()).max() < 1


@pytest.mark.parametrize(("sr", "side"), [(None, 512), (False, 512), (True, 1024)])
def test_super_resolution_only_where_it_is_asked_for(weights: Path, sr: bool | None, side: int) -> None:
    assert Animator(weights, "cpu", "fp32", sr=sr).size == side


def test_a_photo_and_a_video_become_a_video_and_a_motion_file_gives_the_same(
    animator: Animator, photo: Path, make_driver: Callable[..., Path], tmp_path: Path
) -> None:
    driver = make_driver(frames=6)
    save_motion(animator, driver, tmp_path / "a.motion")
    for name, source in (("video", driver), ("file", tmp_path / "a.motion")):
        out, exact = tmp_path / f"{name}.mkv", RenderSettings(Encoding("ffv1"))
        result = animate_file(animator, photo, source, out, start_frame=2, render=exact)
        assert (result.frames, result.start_frame) == (6, 2)
    video, file = (np.stack(list(VideoReader(tmp_path / f"{n}.mkv"))).astype(int) for n in ("video", "file"))
    assert video.shape == (6, 512, 512, 3)
    assert np.abs(video - file).mean() < 0.05
    assert np.abs(video[0] - video[5]).mean() > 0.15


def test_a_motion_file_is_of_its_networks(
    animator: Animator,
    rigid_weights_file: Path,
    photo: Path,
    make_driver: Callable[..., Path],
    tmp_path: Path,
) -> None:
    ours = Animator(rigid_weights_file, "cpu", "fp32")
    for maker, user, theirs in ((animator, ours, "liveportrait"), (ours, animator, "animation")):
        save_motion(maker, make_driver(frames=2), tmp_path / "a.motion")
        with pytest.raises(UsageError, match=rf"a\.motion: motion of {theirs} networks.*--weights"):
            animate_file(user, photo, tmp_path / "a.motion", tmp_path / "a.mp4")


def test_pasted_back_only_the_crop_changes(
    animator: Animator, astronaut: np.ndarray, photo: Path, make_driver: Callable[..., Path], tmp_path: Path
) -> None:
    out = tmp_path / "frames"
    animate_file(animator, photo, make_driver(frames=2), out, render=RenderSettings(paste_back=True))
    found = animator.frame(astronaut, find_faces(astronaut, "")[1][0], Framing())
    first = cv2.imread(str(sorted(out.iterdir())[0]))[..., ::-1]
    outside = np.ones((512, 512), bool)
    outside[max(0, int(found.y)) : int(found.y + found.h), max(0, int(found.x)) : int(found.x + found.w)] = (
        False
    )
    assert np.array_equal(first[outside], astronaut[outside])
    assert np.abs(first[~outside].astype(int) - astronaut[~outside]).mean() > 5


def test_a_smile_is_closed_before_it_moves(
    weights: Path, model: LivePortraitModel, astronaut: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    """The astronaut's inner lips are 6 to 7 pixels apart, her mouth is 41 wide: seen by eye."""
    animators = [
        Animator(weights, "cpu", "fp32", motion=MotionSettings(close_lips=closed), mark=None)
        for closed in (False, True)
    ]
    for crop, name in (("auto", "found"), ((120, 0, 210, 210), "by hand")):
        results = []
        for animator in animators:
            motion = animator.detect([np.zeros((SIDE, SIDE, 3), np.uint8)], None)
            results += list(animator.encode(astronaut, crop, name).animate(motion))
        plain, closed = (result.astype(int) for result in results)
        assert np.abs(plain - closed).mean() > 0.1
    assert not caplog.records
    framer = animators[1].framer
    assert isinstance(framer, LandmarkFramer)
    assert framer.open_lips(astronaut, None, find_faces(astronaut, "")[1][0], "") == (
        pytest.approx(0.16, abs=0.05)
    )
    assert framer.open_lips(np.full_like(astronaut, 99), None, None, "wall.png") is None
    assert "wall.png: --close-lips finds no lips" in caplog.text


@pytest.mark.parametrize(("seconds", "told"), [(5.0, ""), (30.0, "about 3 minutes for 6 frames on this CPU")])
def test_a_long_run_is_told_before_it_begins(
    animator: Animator,
    photo: Path,
    make_driver: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    seconds: float,
    told: str,
) -> None:
    real = Face.seconds_per_frame
    monkeypatch.setattr(Face, "seconds_per_frame", lambda self: seconds if 0 < real(self) < 60 else -1)
    begun: list[str] = []
    animate_file(
        animator,
        photo,
        make_driver(frames=6),
        tmp_path / "a.mp4",
        progress=lambda *_: begun.append(caplog.text),
    )
    assert told in begun[0]
    assert bool(told) == ("minutes" in begun[0])


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (MotionSettings(gaze=0.5), "--gaze: LivePortrait"),
        (MotionSettings(adapt_scale=False), "--no-adapt-scale"),
        (MotionSettings(close_lips=True, relative=False), "--close-lips is for relative"),
    ],
)
def test_steering_that_its_weights_do_not_allow(weights: Path, settings: MotionSettings, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Animator(weights, "cpu", "fp32", motion=settings)


@pytest.mark.parametrize("settings", [{"stitching": False}, {"close_lips": True}])
def test_steering_that_other_weights_do_not_allow(
    rigid_weights_file: Path, settings: dict[str, bool]
) -> None:
    with pytest.raises(UsageError, match="only LivePortrait's weights know it"):
        Animator(rigid_weights_file, "cpu", "fp32", motion=MotionSettings(**settings))


class TestFraming:
    def test_the_astronaut(self, animator: Animator, astronaut: np.ndarray) -> None:
        """Seen by eye: chin at (219, 178), brows at y = 84, jaw from x = 178 to 271."""
        face = find_faces(astronaut, "")[1][0]
        place = animator.frame(astronaut, face, Framing())
        assert place.w == pytest.approx(2.3 * 94, rel=0.05)
        assert (place.cx, place.cy) == pytest.approx((224, 131 - 0.125 * place.w), abs=6)

    def test_a_face_whose_landmarks_are_not_found_is_framed_by_its_box(
        self, animator: Animator, monkeypatch: pytest.MonkeyPatch, astronaut: np.ndarray
    ) -> None:
        monkeypatch.setattr(LandmarkFramer, "landmarks", lambda *_: None)
        wanted = PHOTO_FRAMING.around_box(Box(180, 70, 100, 100))
        assert animator.frame(astronaut, Box(180, 70, 100, 100), Framing()) == Framing().around(
            wanted, (512, 512)
        )

    def test_a_clip_has_the_mean_of_its_frames(
        self, animator: Animator, monkeypatch: pytest.MonkeyPatch, astronaut: np.ndarray
    ) -> None:
        monkeypatch.setattr(LandmarkFramer, "landmarks", lambda *_: None)
        boxes = (Box(100, 50, 100, 100), Box(120, 60, 140, 140))
        track = FaceTrack((3, 7), boxes, 0)
        samples = ((1, number, astronaut) for number in track.indices)
        unseen, seen = animator.framer.frame_clips(samples, [track, track], (512, 512))
        a, b = map(DRIVER_FRAMING.around_box, boxes)
        assert (seen.cx, seen.cy, seen.w) == pytest.approx(
            ((a.cx + b.cx) / 2, (a.cy + b.cy) / 2, (a.w + b.w) / 2)
        )
        assert unseen == seen  # without frames, by the boxes
