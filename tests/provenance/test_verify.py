"""`faceanim verify`, on results of whole jobs and on what becomes of them elsewhere."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from faceanim_cli import Animator
from faceanim_cli.animation.job import animate_file
from faceanim_cli.animation.result import RenderSettings
from faceanim_cli.provenance.verify import verify
from tests.media.conftest import ffmpeg

CLI = Callable[..., tuple[int, str, str]]
MARK = 4711


def animator(weights: Path, **options: object) -> Animator:
    return Animator(weights, "cpu", "fp32", **{"sr": False, "size": 320, "mark": MARK, **options})


def encoded_anew(result: Path, output: Path) -> Path:
    """Through a channel that leaves no metadata."""
    ffmpeg("-i", str(result), "-map_metadata", "-1", "-crf", "26", str(output))
    return output


@pytest.mark.parametrize("name", ["o.mp4", "o.webm", "o.mov", "o.gif", "o.webp", "frames"])
def test_each_format_tells(
    rigid_weights_file: Path, photo: Path, make_driver: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    animate_file(animator(rigid_weights_file), photo, make_driver(frames=5), tmp_path / name)
    told = verify(tmp_path / name)
    assert told.made_by_ai
    assert told.watermark.found
    assert told.watermark.mark == MARK
    assert told.stated.source_type == "compositeWithTrainedAlgorithmicMedia"
    assert told.stated.comment is not None
    assert told.stated.comment.startswith("AI-generated: a photo animated by faceanim")


@pytest.mark.parametrize("render", [RenderSettings(paste_back=True), RenderSettings(side_by_side=True)])
def test_every_view_of_a_result_is_marked(
    rigid_weights_file: Path,
    photo: Path,
    make_driver: Callable[..., Path],
    tmp_path: Path,
    render: RenderSettings,
) -> None:
    out = tmp_path / "o.mp4"
    animate_file(animator(rigid_weights_file), photo, make_driver(frames=5), out, render=render)
    told = verify(encoded_anew(out, tmp_path / "again.mp4"))
    assert told.stated.source_type is None
    assert told.stated.comment is None
    assert told.watermark.mark == MARK
    assert "watermark" in told.sentence
    assert told.made_by_ai


def test_the_python_api_marks_its_frames(
    rigid_weights_file: Path, astronaut: np.ndarray, tmp_path: Path
) -> None:
    """Also where somebody else writes them."""
    for mark, expected in ((MARK, True), (None, False)):
        api = animator(rigid_weights_file, mark=mark)
        api.set_photo(astronaut)
        (frame,) = api.animate([astronaut])
        PillowImage.fromarray(frame).save(tmp_path / "frame.jpg", quality=90)
        assert verify(tmp_path / "frame.jpg").made_by_ai is expected


def test_without_it_only_the_metadata_tells(
    rigid_weights_file: Path, photo: Path, make_driver: Callable[..., Path], tmp_path: Path, faceanim: CLI
) -> None:
    out = tmp_path / "o.mp4"
    options = ("--weights", rigid_weights_file, "--device", "cpu", "--no-sr", "--size", 320)
    assert faceanim("animate", photo, make_driver(frames=5), "-o", out, "--no-watermark", *options)[0] == 0
    code, said, _ = faceanim("verify", out)
    assert code == 0
    assert said.splitlines()[0] == f"{out}: made by AI: its metadata says so"
    code, said, _ = faceanim("verify", encoded_anew(out, tmp_path / "again.mp4"), "--json")
    assert code == 1
    (facts,) = json.loads(said)
    assert facts["made_by_ai"] is False
    assert "proves nothing" in facts["sentence"]
    assert facts["watermark"]["found"] is False


def test_the_mark_is_an_option(
    rigid_weights_file: Path, photo: Path, make_driver: Callable[..., Path], tmp_path: Path, faceanim: CLI
) -> None:
    out = tmp_path / "o.mp4"
    options = ("--weights", rigid_weights_file, "--device", "cpu", "--no-sr", "--size", 320)
    assert faceanim("animate", photo, make_driver(frames=5), "-o", out, "--mark", 65535, *options)[0] == 0
    code, said, _ = faceanim("verify", out, "--json")
    (facts,) = json.loads(said)
    assert (code, facts["watermark"]["mark"], facts["watermark"]["version"]) == (0, 65535, 1)
    code, _, complaint = faceanim("animate", photo, out, "--mark", 5, "--no-watermark", *options)
    assert code == 2
    assert "--no-watermark" in complaint
    assert faceanim("animate", photo, out, "--mark", 65536, *options)[0] == 2


def test_several_files_and_one_that_cannot_be_read(tmp_path: Path, photo: Path, faceanim: CLI) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    code, said, complaint = faceanim("verify", photo, tmp_path / "notes.txt", tmp_path / "none.mp4")
    assert code == 5
    assert said.startswith(f"{photo}: nothing says that it was made by AI")
    assert len(complaint.splitlines()) == 2
    assert "notes.txt: it is a text" in complaint
    assert "none.mp4: there is no such file" in complaint
    assert faceanim("verify", photo)[0] == 1
    code, said, complaint = faceanim("verify", tmp_path / "none.mp4", "--json")
    assert (code, said) == (5, "")
    assert len(complaint.splitlines()) == 1


def test_pictures_of_other_programs_tell(tmp_path: Path, astronaut: np.ndarray) -> None:
    """By IPTC's XMP, as an element or an attribute, in any format; what a camera took says so, too."""
    of_ai = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    camera = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
    packet = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF>{}</rdf:RDF></x:xmpmeta>'
    element = packet.format(f"<Iptc4xmpExt:DigitalSourceType>{of_ai}</Iptc4xmpExt:DigitalSourceType>")
    attribute = packet.format(f'<rdf:Description Iptc4xmpExt:DigitalSourceType="{camera}"/>')
    picture = PillowImage.fromarray(astronaut[:200, :200])
    picture.save(tmp_path / "a.jpg", xmp=element.encode())
    picture.save(tmp_path / "b.webp", xmp=attribute.encode())
    assert verify(tmp_path / "a.jpg").stated.source_type == "trainedAlgorithmicMedia"
    assert verify(tmp_path / "a.jpg").made_by_ai
    assert verify(tmp_path / "b.webp").stated.source_type == "digitalCapture"
    assert not verify(tmp_path / "b.webp").made_by_ai


def test_a_long_video_is_searched_in_parts(tmp_path: Path, astronaut: np.ndarray) -> None:
    """Of 22 seconds only the last are marked."""
    from fractions import Fraction

    from faceanim_cli.media import VideoWriter
    from faceanim_cli.provenance.watermark import Watermark

    frame = np.ascontiguousarray(astronaut[:256, 100:356])
    with VideoWriter(tmp_path / "long.mkv", Fraction(4), (256, 256)) as writer:
        for number in range(88):
            writer.write(Watermark(MARK).embed(frame) if number >= 76 else frame)
    told = verify(tmp_path / "long.mkv")
    assert told.watermark.found
    assert told.watermark.mark == MARK
