"""``faceanim weights export``: graphs that give what networks give, in a folder that is whole or absent."""

import dataclasses
import importlib.util
import json
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from faceanim_cli import Animator
from faceanim_cli.media import VideoReader, VideoWriter, write_photo
from faceanim_cli.motion.settings import FAITHFUL
from faceanim_cli.motion.transfer import MotionTransfer
from faceanim_cli.provenance.stated_origin import stated_origin
from faceanim_cli.weights import onnx_export, onnx_graphs
from faceanim_cli.weights.checkpoint import save_checkpoint
from faceanim_cli.weights.load import load_weights
from faceanim_models import AnimationModel, FirstOrderModel, Keypoints
from faceanim_models.detail_refiner import DetailRefinerSettings
from faceanim_models.face_patches import PatchSettings
from faceanim_models.keypoint_refiner import KeypointRefinerSettings
from tests.conftest import TINY, TINY_FIRST_ORDER

Run = Callable[..., tuple[int, str, str]]
SIZE = TINY.image_size
PATCHES = (PatchSettings(((0, 1), (3, 2)), ((0, 1), (3, 2)), (False, True), 0.1, 0.5, 0.25, (8, 16)),)
RIGID = (0, 1, 2, 3)
# As the shipped weights are: keypoints found twice, maps of the head, eyes painted again; no box, one level.
COMPLETE = dataclasses.replace(
    TINY,
    keypoints=dataclasses.replace(TINY.keypoints, refiner=KeypointRefinerSettings(PATCHES, RIGID, (4, 4, 4))),
    motion=dataclasses.replace(TINY.motion, photo_channels=2),
    details=DetailRefinerSettings(PATCHES, RIGID, (4, 4, 4)),
)

needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in onnx_export.PACKAGES),
    reason="pip install 'faceanim-cli[onnx]'",
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random, but nothing of it is zero: whatever is left out of a graph shows."""
    torch.manual_seed(0)
    model = AnimationModel(COMPLETE)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        face = torch.tensor([[-0.4, -0.2], [-0.1, -0.2], [0.1, -0.2], [0.4, -0.2]])
        for patches in (model.details.patches, model.keypoint_detector.refiner.patches):
            patches.mean_face[:4] = face
    path = tmp_path_factory.mktemp("weights") / "complete.safetensors"
    save_checkpoint(path, model, dtype=torch.float32, notes={"licence": "for tests"})
    return path


@pytest.fixture(scope="module")
def exported(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "onnx"
    onnx_export.export_weights(weights, folder, sr=True)
    return folder


def picture(count: int, seed: int) -> np.ndarray:
    rough = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(rough, SIZE, mode="bilinear").numpy()


@needs_onnx
@pytest.mark.parametrize("count", [1, 3])
def test_onnxruntime_paints_what_torch_paints(exported: Path, weights: Path, count: int) -> None:
    from onnxruntime import InferenceSession

    from faceanim_cli.weights.catalogue import SUPER_RESOLUTION, shipped_weights
    from faceanim_cli.weights.checkpoint import load_checkpoint

    photo, frames = picture(1, 1), picture(count, 2)
    sessions = {
        name: InferenceSession(exported / f"{name}.onnx") for name in ("photo", "motion", "generator")
    }
    known = {"photo": photo}
    outputs = sessions["photo"].run(None, known)
    known |= dict(zip([o.name for o in sessions["photo"].get_outputs()], outputs, strict=True))
    (keypoints,) = sessions["motion"].run(None, {"frames": frames})
    (painted,) = sessions["generator"].run(None, {**known, "keypoints": keypoints})

    model, resolver = load_weights(weights), load_checkpoint(shipped_weights(SUPER_RESOLUTION))
    with torch.inference_mode():
        found = model.detect(torch.from_numpy(frames)).points
        code = model.encode_photo(torch.from_numpy(photo)).expand(count)
        generated, _ = model(code, Keypoints(found))
        wanted = resolver(generated.image)
    assert painted.shape == (count, 3, 2 * SIZE, 2 * SIZE)
    assert np.abs(keypoints - found.numpy()).max() < 1e-4
    assert np.abs(painted - wanted.numpy()).max() < 1e-3
    assert painted.std() > 0.02
    assert count == 1 or np.abs(painted[0] - painted[1]).max() > 1e-2  # each by its own keypoints


@needs_onnx
def test_files_say_what_they_are_and_nothing_of_this_machine(exported: Path, weights: Path) -> None:
    import onnx

    about = json.loads((exported / "model.json").read_text())
    assert about["licence"] == "for tests"
    assert (about["image_size"], about["result_size"]) == (SIZE, 2 * SIZE)
    assert len(about["rigidity"]) == len(about["anchors"]) == COMPLETE.keypoints.num_keypoints
    readme = (exported / "README.md").read_text()
    for name, graph in about["graphs"].items():
        model = onnx.load(exported / graph["file"])
        onnx.checker.check_model(model, full_check=True)
        assert {entry.domain: entry.version for entry in model.opset_import}[""] == 18
        tags = {tag.key: tag.value for tag in model.metadata_props}
        assert tags["licence"] == "for tests"
        assert tags["weights_sha256"] == about["weights_sha256"]
        for tensors, values in ((graph["inputs"], model.graph.input), (graph["outputs"], model.graph.output)):
            shapes = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in values]
            assert [(t["name"], t["shape"]) for t in tensors] == [
                (value.name, shape) for value, shape in zip(values, shapes, strict=True)
            ], name
            assert all(f"`{t['name']}`" in readme for t in tensors)
        assert str(Path(onnx_export.__file__).parent).encode() not in (exported / graph["file"]).read_bytes()


@needs_onnx
def test_what_is_there_stays_unless_it_is_an_export(
    exported: Path, weights: Path, tmp_path: Path, faceanim: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_again(graph: onnx_graphs.Graph, path: Path, _: object) -> None:
        shutil.copy(exported / f"{graph.name}.onnx", path)  # tracing takes long

    monkeypatch.setattr(onnx_graphs, "write_graph", write_again)
    folder = tmp_path / "onnx"
    folder.mkdir()
    command = ("weights", "export", weights, "--sr", "-o", folder)
    (folder / "notes.txt").write_text("mine")
    code, _, err = faceanim(*command, "--overwrite")
    assert code == 2
    assert "notes.txt" in err
    (folder / "notes.txt").rename(folder / "photo.onnx")
    assert faceanim(*command)[0] == 2  # another's graph
    with monkeypatch.context() as patch:
        patch.setattr(onnx_graphs, "MOST_DIFFERENCE", -1.0)
        code, _, err = faceanim(*command, "--overwrite", "-q")
    assert (code, err.count("\n")) == (1, 1)
    assert "differs" in err
    assert [file.name for file in tmp_path.iterdir()] == ["onnx"]  # nothing half-written
    assert (folder / "photo.onnx").read_text() == "mine"
    code, out, _ = faceanim(*command, "--overwrite", "--json")
    assert code == 0
    assert 0 < json.loads(out)["largest_difference"] < 1e-3
    assert sorted(file.name for file in folder.iterdir()) == sorted(onnx_export.NAMES)
    (folder / "photo.onnx").unlink()
    assert faceanim(*command)[0] == 0  # of ours, nothing is lost
    assert (folder / "photo.onnx").read_bytes() == (exported / "photo.onnx").read_bytes()


@needs_onnx
def test_the_example_moves_and_paints_as_faceanim_does(
    exported: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(__file__).parents[2] / "examples" / "onnx_animate.py"
    spec = importlib.util.spec_from_file_location("onnx_animate", path)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    photo, *frames = (np.rint(picture(4, 3).transpose(0, 2, 3, 1) * 255)).astype(np.uint8)
    animator = Animator(weights, "cpu", "fp32", sr=True, motion=FAITHFUL, relative=False, mark=None)
    animator.set_photo(photo, crop=None)
    animation = example.Animation(exported, photo)
    driving = animation.keypoints(frames)
    for found, wanted in zip(animation.paint(driving), animator.animate(frames, crop=None), strict=True):
        assert np.abs(found.astype(int) - wanted).max() <= 1

    source, moving = torch.from_numpy(animation.known["photo_keypoints"][0]), torch.from_numpy(driving)
    rigid = torch.tensor(animation.about["rigidity"])
    wanted = MotionTransfer(source, moving[0], rigid).relative(moving)
    assert np.abs(animation.follow(driving, driving[0]) - wanted.numpy()).max() < 1e-4

    write_photo(tmp_path / "photo.png", photo)
    with VideoWriter(tmp_path / "driver.mp4", Fraction(25), (SIZE, SIZE)) as writer:
        for frame in frames:
            writer.write(frame)
    words = [exported, tmp_path / "photo.png", tmp_path / "driver.mp4", "-o", tmp_path / "out.mp4"]
    monkeypatch.setattr("sys.argv", ["onnx_animate.py", *map(str, words), "--batch", "2", "--threads", "1"])
    example.main()
    with VideoReader(tmp_path / "out.mp4") as video:
        assert (video.width, video.height) == (2 * SIZE, 2 * SIZE)
        assert len(list(video)) == len(frames)
    assert stated_origin(tmp_path / "out.mp4").made_by_ai


@pytest.mark.parametrize("place", ["missing/onnx", "file"])
def test_places_that_cannot_be_written(faceanim: Run, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = faceanim("weights", "export", "animation", "-o", tmp_path / place)
    assert (code, err.count("\n")) == (2, 1)


def test_a_folder_that_does_not_show_its_files_is_refused_in_one_line(
    faceanim: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "onnx").mkdir()
    monkeypatch.setattr(Path, "iterdir", refuse)
    code, _, err = faceanim("weights", "export", "animation", "-o", tmp_path / "onnx", "--offline")
    assert (code, err.count("\n")) == (2, 1)
    assert f"cannot write {tmp_path / 'onnx'}" in err
    assert not onnx_export.is_export(tmp_path / "onnx")


@needs_onnx
def test_other_networks_are_refused(faceanim: Run, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_checkpoint(path, FirstOrderModel(TINY_FIRST_ORDER), dtype=torch.float32)
    code, _, err = faceanim("weights", "export", path, "-o", tmp_path / "onnx")
    assert (code, err.count("\n")) == (4, 1)
    assert "first-order" in err
    assert faceanim("weights", "export", "no-such", "-o", tmp_path / "onnx")[0] == 4
    for name in ("super-resolution", "liveportrait"):  # nothing is fetched for that
        code, _, err = faceanim("weights", "export", name, "-o", tmp_path / "onnx", "--offline")
        assert (code, f"a {name} network" in err) == (4, True)
    assert not (tmp_path / "onnx").exists()


def test_missing_packages_are_named(faceanim: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "PACKAGES", ("no_such_package",))
    code, _, err = faceanim("weights", "export", "animation", "-o", tmp_path / "onnx")
    assert code == 2
    assert "no_such_package: pip install 'faceanim-cli[onnx]'" in err
