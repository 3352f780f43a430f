"""``faceanim eval`` from the command line: exit codes, stdout, and what is written."""

import csv
import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import torch

from faceanim_cli.animation.networks import Networks
from faceanim_cli.data.data_folder import example_clips
from faceanim_cli.media import read_photo, write_photo
from faceanim_models import FirstOrderModel, FirstOrderSettings

Run = Callable[..., tuple[int, str, str]]
SHARED = Path(__file__).parents[2] / ".." / "shared" / "facedata"


@pytest.fixture
def run(faceanim: Run) -> Run:
    return partial(faceanim, "eval")


@pytest.fixture
def clips(tmp_path: Path, astronaut: np.ndarray) -> Path:
    for name, drift in (("left", -1), ("right", 1)):
        (tmp_path / "clips" / name).mkdir(parents=True)
        for i in range(4):
            frame = astronaut[20:212:3, 130 + 3 * drift * i : 322 + 3 * drift * i : 3]
            write_photo(tmp_path / "clips" / name / f"{i}.png", np.ascontiguousarray(frame))
    return tmp_path / "clips"


@pytest.fixture
def common(rigid_weights_file: Path) -> tuple[object, ...]:
    return (
        *("--weights", rigid_weights_file, "--size", 64, "--crop", "none"),
        *("--device", "cpu", "--precision", "fp32"),
    )


def test_without_data_the_examples_are_scored_and_it_says_so(run: Run, rigid_weights_file: Path) -> None:
    code, out, err = run(
        *("--metrics", "psnr,ssim", "--weights", rigid_weights_file, "--size", 64),
        *("--every", 10, "--device", "cpu"),
    )
    assert code == 0
    assert "example clips that ship" in err
    header, row = out.splitlines()[:2]
    assert header.split() == ["psnr", "dB", "↑", "ssim", "↑", "clips"]
    assert row.startswith("rigid")
    assert row.endswith(str(len(list(example_clips().glob("*.mp4")))))


def test_the_examples_are_small_and_free() -> None:
    assert sum(file.stat().st_size for file in example_clips().iterdir()) < 300_000
    assert "public domain" in (example_clips() / "README.md").read_text()


def test_weights_and_baselines_side_by_side(
    run: Run, clips: Path, common: tuple[object, ...], rigid_weights_file: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.safetensors"
    other.write_bytes(rigid_weights_file.read_bytes())
    report = tmp_path / "report"
    arguments = (
        *("--data", clips, *common, "--weights", other, "--baseline", "static", "--baseline", "similarity"),
        *("--metrics", "psnr,ssim,flicker", "-o", report),
    )
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[1:5]] == ["rigid", "other", "static", "similarity"]
    assert lines[7].startswith("other - rigid")
    assert lines[-1] == str(report / "report.html")
    scores = json.loads((report / "scores.json").read_text())
    assert scores["complete"] is True
    assert scores["differences"]["to"] == "rigid"
    psnr = scores["differences"]["other"]["psnr"]
    assert psnr == {"mean": 0.0, "low": 0.0, "high": 0.0, "clips": 2, "people": 2}
    facts = scores["run"]
    assert facts["protocol"] == "reconstruction"
    assert facts["weights"]["rigid"]["sha256"] == facts["weights"]["other"]["sha256"]
    assert len(facts["list_sha256"]) == 64
    assert (facts["size"], facts["crop"], facts["every"]) == (64, "none", 1)
    assert scores["versions"]["torchmetrics"]
    assert str(tmp_path) not in (report / "scores.json").read_text()
    with (report / "per_clip.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 8
    before = (report / "per_clip.csv").stat().st_mtime_ns
    assert run(*arguments)[1] == out  # resumed: nothing left to do, the same table
    assert (report / "per_clip.csv").stat().st_mtime_ns >= before
    code, _, err = run(*arguments, "--seed", 5)
    assert code == 2
    assert "another run (other: seed)" in err
    assert run(*arguments, "--seed", 5, "--overwrite")[0] == 0


def test_scores_say_the_precision_that_was_used(
    run: Run, clips: Path, rigid_weights_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Networks.paint

    def off_in_half(self: Networks, *arguments: Any) -> torch.Tensor:
        return right(self, *arguments) + (0 if self.dtype == torch.float32 else 0.02)

    arguments = (
        *("--data", clips, "--weights", rigid_weights_file, "--size", 64, "--crop", "none"),
        *("--device", "cpu", "--precision", "bf16", "--metrics", "psnr", "-o"),
    )
    with monkeypatch.context() as patched:
        patched.setattr(Networks, "paint", off_in_half)
        assert run(*arguments, tmp_path / "fell")[0] == 0
    assert run(*arguments, tmp_path / "stayed")[0] == 0
    for report, used in (("fell", "float32"), ("stayed", "bfloat16")) * 2:  # and resumed, with nothing to do
        scores = json.loads((tmp_path / report / "scores.json").read_text())
        assert scores["precision"] == {"rigid": used}
        assert scores["run"]["precision_chosen"] == "bfloat16"
        assert f"<dd>rigid: {used}</dd>" in (tmp_path / report / "report.html").read_text()
        assert run(*arguments, tmp_path / report)[0] == 0


def test_files_against_their_copy_in_json(run: Run, clips: Path) -> None:
    code, out, _ = run("--predicted", clips, "--truth", clips, "--json")
    assert code == 0
    scores = json.loads(out)
    psnr = scores["scores"]["predicted"]["psnr"]
    assert psnr == {"mean": "inf", "low": "inf", "high": "inf", "clips": 2, "people": 2}
    assert scores["scores"]["predicted"]["ssim"]["mean"] == pytest.approx(1)
    assert scores["run"]["protocol"] == "files"
    assert scores["run"]["size"] == "as it is"


def test_slopes_of_files_are_those_of_their_landmarks(run: Run, tmp_path: Path) -> None:
    frames, rest = 24, np.random.default_rng(0).uniform(20, 40, (68, 2))
    rest[[36, 45]] = (16, 24), (48, 24)
    for role, follows in (("ours", 0.6), ("truth", 1.0)):
        for clip in ("a", "b"):
            (tmp_path / role / clip).mkdir(parents=True)
            for i in range(frames):
                write_photo(tmp_path / role / clip / f"{i}.png", np.full((64, 64, 3), 5 * i, np.uint8))
            points = np.repeat(rest[None], frames, axis=0)
            points[:, 66] = points[:, 62]
            points[:, 66, 1] += 6 + 4 * follows * np.sin(np.arange(frames))
            (tmp_path / role / "landmarks").mkdir(exist_ok=True)
            np.save(tmp_path / role / "landmarks" / f"{clip}.npy", points.astype(np.float32))
    arguments = ("--predicted", tmp_path / "ours", "--truth", tmp_path / "truth", "--metrics", "slopes")
    report = ("-o", tmp_path / "report")
    code, out, err = run(*arguments, *report)
    assert (code, err) == (0, "")
    (line,) = [line for line in out.splitlines() if line.startswith("mouth_open")]
    assert line.split() == ["mouth_open", "0.60", "[0.60,", "0.60]", "r", "1.00", "2", "of", "2"]
    assert "mouth_open" in (tmp_path / "report/report.html").read_text()
    assert run(*arguments, *report) == (code, out, err)  # from the report's tables of frames, nothing anew
    slopes = json.loads(run(*arguments, "--json", "--size", 32)[1])["slopes"]["predicted"]
    assert list(slopes) == ["mouth_open"]
    assert slopes["mouth_open"]["slope"] == pytest.approx(0.6, abs=1e-6)
    (tmp_path / "ours/landmarks/b.npy").unlink()
    code, out, err = run(*arguments)
    assert code == 1
    assert "b: slopes need landmark files of both the prediction and the truth" in err
    assert "1 of 1" in out
    (tmp_path / "ours/landmarks/a.npy").unlink()
    code, _, err = run(*arguments)
    assert code == 2
    assert "landmarks/<clip>.npy" in err


def test_a_table_of_people_and_one_of_pairs_from_a_spreadsheet(
    run: Run, clips: Path, common: tuple[object, ...], tmp_path: Path
) -> None:
    manifest = "\ufeffFile;Split;Identity\r\nleft;val;ann\r\nright;val;ann\r\n\r\n"
    (clips / "manifest.csv").write_text(manifest, encoding="utf-8")
    code, out, _ = run("--data", clips, *common, "--metrics", "l1", "--json")
    assert code == 0
    l1 = json.loads(out)["scores"]["rigid"]["l1"]
    assert (l1["clips"], l1["people"]) == (2, 1)
    (tmp_path / "pairs.csv").write_text("Source\tDriving\r\nleft\tright.mp4\r\n", encoding="utf-16")
    code, out, _ = run(
        *("--data", clips, *common, "--pairs", tmp_path / "pairs.csv", "--metrics", "pose", "--json"),
        *("--landmark-model", common[1]),
    )
    assert code == 0
    assert json.loads(out)["run"]["clips"] == 1


def test_a_missing_frame_exits_1_names_it_and_scores_the_rest(run: Run, clips: Path, tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    for file in clips.glob("*/*.png"):
        (ours / file.parent.name).mkdir(parents=True, exist_ok=True)
        (ours / file.parent.name / file.name).write_bytes(file.read_bytes())
    (ours / "left/2.png").unlink()
    report = tmp_path / "report"
    code, out, err = run("--predicted", ours, "--truth", clips, "-o", report)
    assert code == 1
    assert "inf" in out
    assert "left: the prediction lacks frame 2; 3 of 4 frames compared" in err
    assert err.splitlines()[-1] == "faceanim: 1 of 2 clips have problems: left"
    assert "the prediction lacks frame 2" in (report / "report.html").read_text()


def test_a_clip_without_a_face_exits_1(run: Run, clips: Path, rigid_weights_file: Path) -> None:
    (clips / "wall").mkdir()
    for i in range(2):
        write_photo(clips / "wall" / f"{i}.png", np.full((64, 64, 3), 90, np.uint8))
    code, out, err = run("--data", clips, "--weights", rigid_weights_file, "--size", 64, "--device", "cpu")
    assert code == 1
    assert "wall: no face found" in err
    assert "wall" in err.splitlines()[-1]
    assert out.splitlines()[1].endswith("2")


def test_cross_with_drawn_and_with_listed_pairs(
    run: Run, clips: Path, common: tuple[object, ...], rigid_weights_file: Path, tmp_path: Path
) -> None:
    models = ("--landmark-model", rigid_weights_file)
    code, out, _ = run("--data", clips, *common, *models, "--protocol", "cross", "--json")
    assert code == 0
    drawn = json.loads(out)
    assert drawn["run"]["clips"] == 2
    assert set(drawn["scores"]["rigid"]) == {"pose", "expression"}
    listed = tmp_path / "pairs.csv"
    listed.write_text("source,driving\nleft.mp4,right.mp4\n")
    code, out, _ = run("--data", clips, *common, *models, "--pairs", listed, "--metrics", "pose", "--json")
    assert code == 0
    assert json.loads(out)["run"]["clips"] == 1
    assert json.loads(out)["scores"]["rigid"]["pose"]["clips"] == 1


def test_a_grid_has_photos_down_and_frames_across(
    run: Run, clips: Path, common: tuple[object, ...], tmp_path: Path
) -> None:
    figure = tmp_path / "a.png"
    code, out, _ = run("--data", clips, *common, "--grid", figure)
    assert (code, out.strip()) == (0, str(figure))
    height, width, _ = read_photo(figure).shape
    assert (width, height) == (5 * 160 + 4 * 4, 2 * 160 + 4)  # the photo, four frames; the driver, one photo


def test_first_order_models_checkpoints_are_scored_beside_ours(
    run: Run, clips: Path, common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
    settings = FirstOrderSettings(4, 4, (4, 6), (4, 6), generator_widths=(4, 6, 8), residual_blocks=1)
    model = FirstOrderModel(settings)
    parts = {"generator": model.generator.state_dict(), "kp_detector": model.kp_detector.state_dict()}
    torch.save({**parts, "epoch": 1}, tmp_path / "vox-cpk.pth.tar")
    code, out, _ = run("--data", clips, *common, "--weights", tmp_path / "vox-cpk.pth.tar", "--json")
    assert code == 0
    scores = json.loads(out)
    assert scores["run"]["weights"]["vox-cpk"]["file"] == "vox-cpk.pth.tar"
    # At random it makes a grey blur, which is worse than the photo moved as the keypoints say.
    assert 0 < scores["scores"]["vox-cpk"]["psnr"]["mean"] < scores["scores"]["rigid"]["psnr"]["mean"]


def test_terms_and_the_network_are_asked_about_first(
    run: Run, clips: Path, common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("HF_ASSETS_CACHE", "HF_HUB_CACHE"):
        monkeypatch.setattr(huggingface_hub.constants, folder, str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("asked the network"))
    report = ("-o", tmp_path / "report")
    for more, code, said in (
        (("--weights", "fomm-vox-adv"), 2, "add --accept-license"),
        (("--weights", "fomm-vox-adv", "--accept-license", "--offline"), 4, "weights pull fomm-vox-adv"),
        (("--weights", "ann/mine", "--offline"), 4, "weights pull ann/mine"),
        (("--landmark-model", "ann/mine", "--metrics", "akd", "--offline"), 4, "weights pull ann/mine"),
        (("--metrics", "lpips", "--offline"), 4, "lpips needs AlexNet's weights"),
        (("--metrics", "psrn", "--weights", "ann/mine"), 2, "unknown metric psrn"),
    ):
        got, out, err = run("--data", clips, *common, *report, *more)
        assert (got, out, len(err.splitlines())) == (code, "", 1)
        assert said in err
    assert not (tmp_path / "report").exists()


@pytest.mark.skipif(not SHARED.is_dir(), reason="no face data here")
def test_real_people_through_the_tiny_network(run: Run, rigid_weights_file: Path) -> None:
    code, out, _ = run(
        *("--data", SHARED, "--limit", 1, "--every", 30, "--size", 64, "--crop", "none"),
        *("--weights", rigid_weights_file, "--landmark-model", rigid_weights_file),
        *("--baseline", "truth", "--metrics", "psnr,akd", "--device", "cpu", "--json"),
    )
    assert code == 0
    scores = json.loads(out)
    assert scores["scores"]["truth"]["psnr"]["mean"] == "inf"
    assert math.isfinite(scores["scores"]["rigid"]["psnr"]["mean"])
    assert math.isfinite(scores["scores"]["rigid"]["akd"]["mean"] or math.nan)
