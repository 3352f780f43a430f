"""LivePortrait's five files: told apart by what they hold, read as a set, kept as one."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from faceanim_cli.errors import WeightsError
from faceanim_cli.training.stages import stage_settings
from faceanim_cli.weights.checkpoint import load_checkpoint
from faceanim_cli.weights.liveportrait import (
    convert_liveportrait,
    import_liveportrait,
    with_folded_spectral_norms,
)
from faceanim_cli.weights.liveportrait_layout import RETARGETING, SPECTRAL
from faceanim_models import LivePortraitModel, LivePortraitSettings
from tests.liveportrait import FILES, TINY, save_published, tiny_liveportrait


@pytest.fixture
def model():
    return tiny_liveportrait()


@pytest.fixture
def files(model, tmp_path):
    return save_published(model, tmp_path)


def test_the_five_files_rebuild_the_networks(model, files):
    seen = import_liveportrait(reversed(files))
    assert seen.settings == TINY
    wanted = model.state_dict()
    assert seen.state_dict().keys() == wanted.keys()
    for key, value in seen.state_dict().items():
        torch.testing.assert_close(value, wanted[key], rtol=1e-4, atol=1e-5, msg=key)


def test_one_slim_file_is_made_of_them(model, files, tmp_path):
    convert_liveportrait(files, tmp_path / "slim.safetensors")
    seen = load_checkpoint(tmp_path / "slim.safetensors", "liveportrait")
    assert seen.settings == TINY
    photo = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(seen.appearance(photo), model.appearance(photo))


def test_the_safetensors_mirror_is_read_too(model, files, tmp_path):
    flat = {
        f"{there}_module.{key}": value
        for ours, there in RETARGETING.items()
        for key, value in model.get_submodule(ours).state_dict().items()
    }
    save_file(flat, tmp_path / "stitching.safetensors")
    seen = import_liveportrait([*files[:4], tmp_path / "stitching.safetensors"])
    assert torch.equal(seen.eyes.mlp[0].weight, model.eyes.mlp[0].weight)


def test_spectral_norms_are_the_stored_ones():
    u, v = torch.tensor([1.0, 2.0]), torch.tensor([0.5, -1.0, 1.0])
    weight = torch.tensor([[1.0, 0.0, 2.0], [3.0, 1.0, -1.0]])  # u . (M v) = 2.5 + 2 (-0.5) = 1.5
    stored = dict(zip((f"a{suffix}" for suffix in SPECTRAL), (weight[..., None, None], u, v), strict=True))
    folded = with_folded_spectral_norms({**stored, "b.weight": u})
    assert folded.keys() == {"a.weight", "b.weight"}
    torch.testing.assert_close(folded["a.weight"], weight[..., None, None] / 1.5)


def test_what_is_missing_is_named(files):
    with pytest.raises(WeightsError, match="missing: motion_extractor, spade_generator") as error:
        import_liveportrait([files[0], files[2], files[4]])
    assert str(files[0].parent) in str(error.value)


def test_one_file_twice(files):
    with pytest.raises(WeightsError, match=r"1\.pth: LivePortrait's motion_extractor, as .*1\.pth is"):
        import_liveportrait([*files, files[1]])


def test_another_file_among_them(files, tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other\.pth: none of LivePortrait's five files"):
        import_liveportrait([*files, tmp_path / "other.pth"])


def test_the_fifth_file_of_animals(files):
    content = torch.load(files[4], weights_only=True)
    del content["retarget_mouth"]
    torch.save(content, files[4])
    with pytest.raises(WeightsError, match=r"4\.pth: lacks retarget_mouth.*animals"):
        import_liveportrait(files)


def test_files_of_two_revisions(files):
    content = torch.load(files[3], weights_only=True)
    content["fc.weight"] = content["fc.weight"][:, :3].clone()
    torch.save(content, files[3])
    with pytest.raises(WeightsError, match="3 and 4 warped channels; take all five from one revision"):
        import_liveportrait(files)


def test_published_sizes():
    """The sizes read off the published keys and shapes are the defaults."""
    keys = Path(__file__).parents[2].parent / "shared" / "liveportrait" / "keys.txt"
    if not keys.is_file():
        pytest.skip("the list of published keys is not here")
    with torch.device("meta"):
        shapes = {
            key: tuple(value.shape)
            for key, value in LivePortraitModel(LivePortraitSettings()).state_dict().items()
        }
    listed = {}
    for line in keys.read_text().splitlines():
        if line and not line.startswith("#"):
            key, rest = line.split(" ", 1)
            listed[key] = tuple(int(n) for n in rest[1 : rest.index(")")].split(",") if n.strip())
    for name in FILES[:4]:
        for key, shape in shapes.items():
            short = key.removeprefix(f"{name}.")
            if short != key:
                assert listed.get(short, listed.get(f"{short}_orig")) == shape, key


def test_training_does_not_go_on_from_it(model, files, tmp_path):
    convert_liveportrait(files, tmp_path / "slim.safetensors")
    for init in (tmp_path / "slim.safetensors", files[0]):
        with pytest.raises(WeightsError, match=r"liveportrait network|one of five files") as error:
            stage_settings("motion", "auto", init=init, data=Path("data"), out=Path("out"))
        assert "\n" not in str(error.value)
