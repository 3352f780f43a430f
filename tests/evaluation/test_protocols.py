"""Which frames are compared with which, through the real Animator where there is one."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from faceanim_cli.animation.animator import Animator
from faceanim_cli.data.data_folder import ClipFile
from faceanim_cli.errors import FaceanimError, UnreadableInputError, UsageError
from faceanim_cli.evaluation.frames import Frame, MetricNetworks
from faceanim_cli.evaluation.metrics import METRICS, choose_metrics
from faceanim_cli.evaluation.protocols import (
    STATIC,
    TRUTH,
    Job,
    Rendered,
    Subject,
    cross_pair,
    draw_pairs,
    read_pairs,
    reconstruction,
    reference_and_compared,
    render_all,
    similarity,
    weights_subject,
)
from faceanim_cli.evaluation.runner import evaluate
from faceanim_cli.image_metrics import psnr
from faceanim_models import AnimationModel
from faceanim_models.animation_model import Keypoints

Folder = Callable[..., Path]


def clip(path: Path, identity: str = "somebody") -> ClipFile:
    return ClipFile(path.stem, path, identity)


@pytest.fixture
def following(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keypoints on a ring around the brightest pixel: they follow a white dot exactly."""

    def detect(_: AnimationModel, images: torch.Tensor, kept: object = None) -> Keypoints:
        side = images.shape[-1]
        peak = images.sum(1).flatten(1).argmax(1)
        centre = torch.stack((peak % side, peak // side), -1).float() * 2 / (side - 1) - 1
        angle = torch.arange(10) * 0.6283
        return Keypoints(centre[:, None] + 0.2 * torch.stack((angle.cos(), angle.sin()), -1))

    monkeypatch.setattr(AnimationModel, "detect", detect)
    monkeypatch.setattr(
        AnimationModel,
        "encode_photo",
        lambda self, photo, keypoints=None, original=AnimationModel.encode_photo: original(
            self, photo, detect(self, photo).points
        ),
    )


def rendered(job: Job, *subjects: Subject) -> Iterator[Rendered]:
    comparison = job.open()
    reference, frames = reference_and_compared(comparison.frames)
    photo = reference.image if comparison.photo is None else comparison.photo
    return render_all(subjects, photo, reference.image, frames)


def dots(count: int, start: tuple[int, int] = (20, 30), step: int = 2, side: int = 64) -> np.ndarray:
    """A white dot on grey, moving right."""
    frames = np.full((count, side, side, 3), 60, np.uint8)
    for i, frame in enumerate(frames):
        x, y = start[0] + step * i, start[1]
        frame[y - 1 : y + 2, x - 1 : x + 2] = 200
        frame[y, x] = 255
    return frames


@pytest.mark.usefixtures("following")
def test_reconstruction_goes_through_the_animator(frame_folder: Folder, rigid_weights_file: Path) -> None:
    source = clip(frame_folder("dots", dots(10)))
    animator = Animator(rigid_weights_file, "cpu", "fp32", relative=False, sr=False, size=64)
    subjects = [weights_subject("rigid", animator), STATIC, similarity(animator), TRUTH]
    job = reconstruction(source, 64, "none", every=3)
    made = list(rendered(job, *subjects))
    assert [frame.label for frame, _ in made] == ["3", "6", "9"]
    for frame, (rigid, static, moved, truth) in made:
        assert np.array_equal(frame.image, dots(10)[int(frame.label)])
        assert truth is frame.image
        assert np.array_equal(static, dots(10)[0])
        assert psnr(moved, frame.image) > 45  # a shift by whole pixels, up to rounding
        assert psnr(rigid, frame.image) > 30  # the same through network-sized grids


def test_the_source_is_compared_only_when_asked_for(frame_folder: Folder) -> None:
    source = clip(frame_folder("dots", dots(4)))
    for count_source, labels in ((False, ["1", "2", "3"]), (True, ["0", "1", "2", "3"])):
        job = reconstruction(source, 64, "none", 1, count_source)
        assert [frame.label for frame, _ in rendered(job, STATIC)] == labels
        assert job.open().expected == len(labels)


def test_a_clip_of_one_frame_has_nothing_to_rebuild(frame_folder: Folder) -> None:
    single = clip(frame_folder("single", dots(1)))
    short = clip(frame_folder("short", dots(5)))
    with pytest.raises(FaceanimError, match=r"single: nothing to rebuild .*1 frame, every 1"):
        list(rendered(reconstruction(single, 64, "none"), STATIC))
    with pytest.raises(FaceanimError, match=r"short: nothing to rebuild .*5 frames, every 10"):
        list(rendered(reconstruction(short, 64, "none", 10), STATIC))
    result = evaluate(
        [reconstruction(single, 64, "none", count_source=True)],
        [STATIC],
        choose_metrics(None, "files"),
        MetricNetworks(),
    )
    assert result.rows[0].values["psnr"] == math.inf
    assert result.rows[0].frames == 1


def test_static_and_truth_by_hand(frame_folder: Folder) -> None:
    frames = np.stack([np.full((16, 16, 3), level, np.uint8) for level in (100, 110, 120)])
    job = reconstruction(clip(frame_folder("flat", frames)), 16, "none")
    result = evaluate(
        [job], [STATIC, TRUTH], choose_metrics("psnr,l1,flicker", "reconstruction"), MetricNetworks()
    )
    static, truth = result.rows
    by_hand = [20 * math.log10(255 / step) for step in (10, 20)]
    assert static.values["psnr"] == pytest.approx(sum(by_hand) / 2, abs=1e-5)
    assert static.values["l1"] == pytest.approx(15 / 255)
    assert static.values["flicker"] == pytest.approx(10 / 255)
    assert static.motion == pytest.approx(15)
    assert (truth.values["psnr"], truth.values["l1"], truth.values["flicker"]) == (math.inf, 0, 0)
    assert result.differences["truth"]["l1"].mean == pytest.approx(-15 / 255)


@pytest.mark.usefixtures("following")
def test_cross_moves_the_photo_relatively(frame_folder: Folder, rigid_weights_file: Path) -> None:
    photo = clip(frame_folder("photo", dots(1, start=(30, 40))), "ann")
    driver = clip(frame_folder("driver", dots(4, start=(10, 12), step=4)), "bob")
    animator = Animator(
        rigid_weights_file, "cpu", "fp32", relative=True, adapt_scale=False, sr=False, size=64
    )
    job = cross_pair(photo, driver, 64, "none")
    assert job.name == "photo + driver"
    made = list(rendered(job, weights_subject("rigid", animator), STATIC))
    assert [frame.label for frame, _ in made] == ["0", "1", "2", "3"]
    for i, (_, results) in enumerate(made):
        y, x = np.argwhere(results[0].sum(-1) > 400).mean(0)
        assert (x, y) == pytest.approx((30 + 4 * i, 40), abs=0.6)


def test_frames_are_taken_as_subjects_need_them(frame_folder: Folder, rigid_weights_file: Path) -> None:
    job = reconstruction(clip(frame_folder("dots", dots(12))), 64, "none")
    animator = Animator(rigid_weights_file, "cpu", "fp32", relative=False, sr=False, size=64, batch=3)
    taken = 0

    def counted(frames: Iterator[Frame]) -> Iterator[Frame]:
        nonlocal taken
        for frame in frames:
            taken += 1
            yield frame

    reference, frames = reference_and_compared(counted(job.open().frames))
    subjects = [weights_subject("w", animator), STATIC]
    next(render_all(subjects, reference.image, reference.image, frames))
    assert taken <= 1 + 3 + 1


def test_pairs_are_drawn_by_seed_and_never_of_one_person() -> None:
    clips = [ClipFile(f"c{i}", Path(f"c{i}"), f"p{i % 3}") for i in range(7)]
    pairs = draw_pairs(clips, 12, seed=1)
    assert len(pairs) == len(set(pairs)) == 12
    assert all(a.identity != b.identity for a, b in pairs)
    assert pairs == draw_pairs(clips, 12, seed=1)
    assert pairs != draw_pairs(clips, 12, seed=2)
    assert len(draw_pairs(clips, 1000, seed=1)) == 32  # all there are: 49 minus 3^2 + 2^2 + 2^2
    with pytest.raises(UsageError, match="two people"):
        draw_pairs(clips[:1], 5, 0)


def test_pairs_of_first_order_models_format(tmp_path: Path) -> None:
    clips = [ClipFile(name, tmp_path / name, name) for name in ("id1#a#1#2", "id2#b#1#2", "deep/c")]
    listed = tmp_path / "vox.csv"
    listed.write_text("distance,source,driving,frame\n0.5,id1#a#1#2.mp4,id2#b#1#2.mp4,7\n0.1,c,id1#a#1#2,0\n")
    assert [(a.name, b.name) for a, b in read_pairs(listed, clips)] == [
        ("id1#a#1#2", "id2#b#1#2"),
        ("deep/c", "id1#a#1#2"),
    ]
    listed.write_text("source,driving\nid9.mp4,c\n")
    with pytest.raises(UsageError, match=r"vox\.csv: names clips that --data does not hold: id9\.mp4"):
        read_pairs(listed, clips)
    listed.write_text("a,b\n1,2\n")
    with pytest.raises(UnreadableInputError, match="lacks the columns driving, source"):
        read_pairs(listed, clips)


def test_metrics_are_chosen_by_name() -> None:
    assert [m.name for m in choose_metrics(" SSIM,psnr,ssim ", "reconstruction")] == ["ssim", "psnr"]
    assert [m.name for m in choose_metrics(None, "cross")] == ["pose", "expression"]
    for text in ("psrn", "psnr,sim", ","):
        with pytest.raises(UsageError) as caught:
            choose_metrics(text, "reconstruction")
        assert all(name in str(caught.value) for name in METRICS)
    with pytest.raises(UsageError, match="psnr need a ground truth"):
        choose_metrics("psnr,pose", "cross")
    with pytest.raises(UsageError, match="--every 1"):
        choose_metrics("flicker", "reconstruction", every=10)


def test_every_metric_says_unit_direction_range_and_paper() -> None:
    for metric in METRICS.values():
        for column in metric.columns:
            assert f"{column.better} is better" in column.about
            assert "(" in column.about
            assert len(column.about) < 110
