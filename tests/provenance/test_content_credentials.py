"""Content credentials: signed results hold, changed ones do not; keys that cannot sign are told before."""

import json
import logging
import pickle
import stat
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from faceanim_cli import Animator, __version__
from faceanim_cli.animation.job import animate_file
from faceanim_cli.commands import animation_options
from faceanim_cli.commands.animation_options import AnimationOptions
from faceanim_cli.errors import UsageError
from faceanim_cli.files import file_sha256
from faceanim_cli.media import write_photo
from faceanim_cli.provenance import credentials, signing
from faceanim_cli.provenance.credentials import read_credentials
from faceanim_cli.provenance.signing import ContentSigner
from faceanim_cli.provenance.signing_key import own_signing_key
from faceanim_cli.provenance.verify import verify
from tests.media.conftest import ffmpeg, tone

c2pa = pytest.importorskip("c2pa")
x509 = pytest.importorskip("cryptography.x509")
hashes = pytest.importorskip("cryptography.hazmat.primitives.hashes")
serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")

CLI = Callable[..., tuple[int, str, str]]
AI_MADE = "compositeWithTrainedAlgorithmicMedia"


@pytest.fixture(scope="module")
def signer(keys: Path) -> ContentSigner:
    return ContentSigner(own_signing_key(keys))


@pytest.fixture
def photo(tmp_path: Path, astronaut: np.ndarray) -> Path:
    path = tmp_path / "Jane Doe.jpg"
    write_photo(path, astronaut)
    return path


@pytest.fixture(scope="module")
def animator(rigid_weights_file: Path) -> Animator:
    return Animator(rigid_weights_file, "cpu", "fp32", sr=False)


@pytest.fixture
def signed(
    animator: Animator,
    photo: Path,
    make_driver: Callable[..., Path],
    signer: ContentSigner,
    tmp_path: Path,
) -> Path:
    out = tmp_path / "out.mp4"
    result = animate_file(animator, photo, make_driver(frames=4), out, signer=signer)
    assert result.signed
    return out


def manifest(path: Path) -> dict:
    """As the library itself reads it."""
    with c2pa.Reader(path) as reader:
        assert reader.get_validation_state() == "Valid"
        told = json.loads(reader.json())
    return told["manifests"][told["active_manifest"]]


@pytest.mark.parametrize("name", ["o.mp4", "o.m4v", "o.mov", "o.gif", "o.webp", "frames"])
def test_each_format_holds_them(
    animator: Animator,
    rigid_weights_file: Path,
    photo: Path,
    make_driver: Callable[..., Path],
    signer: ContentSigner,
    tmp_path: Path,
    name: str,
) -> None:
    beep = tmp_path / "beep.mkv"
    ffmpeg(*tone(0.2), "-c:a", "flac", str(beep))
    driver = make_driver(frames=4, audio=beep)
    assert animate_file(animator, photo, driver, tmp_path / name, signer=signer).signed
    file = tmp_path / name / "000003.png" if name == "frames" else tmp_path / name
    about = manifest(file)
    assert about["claim_generator_info"][0]["name"] == "faceanim"
    assert about["claim_generator_info"][0]["version"] == __version__
    (action,) = next(a for a in about["assertions"] if a["label"] == "c2pa.actions.v2")["data"]["actions"]
    assert action["action"] == "c2pa.created"
    assert action["digitalSourceType"].endswith(f"/{AI_MADE}")
    facts = next(a for a in about["assertions"] if a["label"] == "faceanim.animation")["data"]
    assert facts == {"weights_sha256": file_sha256(rigid_weights_file), "photo_sha256": file_sha256(photo)}
    (ingredient,) = about["ingredients"]
    assert ingredient["relationship"] == "componentOf"
    assert "thumbnail" not in about
    assert "thumbnail" not in ingredient
    assert b"Jane" not in file.read_bytes()
    told = verify(tmp_path / name)
    assert told.credentials.state == "valid"
    assert told.credentials.made_by_ai
    assert told.stated.source_type == AI_MADE  # XMP is still there
    assert not list(tmp_path.glob(".*"))
    if name == "o.mp4":  # it is played from the first byte on, and sounds
        data = file.read_bytes()
        assert data.index(b"moov") < data.index(b"mdat")
        assert b"Audio" in ffmpeg_banner(file)


def ffmpeg_banner(path: Path) -> bytes:
    return ffmpeg("-loglevel", "info", "-i", str(path), "-f", "null", "-").stderr


def test_the_streams_stay_what_they_were(
    signed: Path, animator: Animator, photo: Path, tmp_path: Path
) -> None:
    animate_file(animator, photo, tmp_path / "driver.mp4", tmp_path / "plain.mp4")
    md5 = [
        ffmpeg("-i", str(path), "-c", "copy", "-f", "md5", "-").stdout
        for path in (signed, tmp_path / "plain.mp4")
    ]
    assert md5[0] == md5[1]
    assert signed.stat().st_size - (tmp_path / "plain.mp4").stat().st_size < 6000


def mdat(data: bytes) -> int:
    """Where the pictures begin."""
    at = 0
    while data[at + 4 : at + 8] != b"mdat":
        at += struct.unpack(">I", data[at : at + 4])[0]
    return at + 8


@pytest.mark.parametrize("place", ["picture", "credentials"])
def test_one_bit_that_is_flipped_is_told(signed: Path, place: str, faceanim: CLI) -> None:
    data = bytearray(signed.read_bytes())
    at = mdat(data) + 900 if place == "picture" else data.index(AI_MADE.encode(), data.index(b"jumdc2pa")) + 3
    data[at] ^= 1
    signed.write_bytes(data)
    told = read_credentials(signed)
    assert told.state == "invalid"
    assert told.problems
    assert not told.made_by_ai
    _, said, _ = faceanim("verify", signed)
    assert "NOT valid" in said.splitlines()[0]
    assert "made by AI" in said  # the watermark or XMP still tell


def test_whoever_knows_the_authority_may_trust_it(signed: Path, keys: Path, tmp_path: Path) -> None:
    chain = (keys / "certificates.pem").read_text()
    authority = tmp_path / "authority.pem"
    authority.write_text(chain[chain.rindex("-----BEGIN") :])
    assert read_credentials(signed).state == "valid"
    assert read_credentials(signed, authority).state == "trusted"
    other = tmp_path / "other"
    own_signing_key(other)
    assert read_credentials(signed, other / "certificates.pem").state == "valid"
    with pytest.raises(UsageError, match=r"none\.pem"):
        read_credentials(signed, tmp_path / "none.pem")


def test_the_first_signature_makes_a_key_and_the_next_uses_it(
    rigid_weights_file: Path,
    photo: Path,
    make_driver: Callable[..., Path],
    tmp_path: Path,
    config: Path,
    faceanim: CLI,
) -> None:
    serials = []
    for name in ("a.mp4", "b.gif"):
        options = ("--weights", rigid_weights_file, "--device", "cpu", "--no-sr", "--sign", "--json")
        code, said, complaint = faceanim(
            "animate", photo, make_driver(frames=2), "-o", tmp_path / name, *options
        )
        assert (code, complaint) == (0, "")
        assert json.loads(said)["signed"] is True
        serials.append(read_credentials(tmp_path / name).serial)
    assert serials[0] == serials[1] is not None
    assert stat.S_IMODE(config.stat().st_mode) == 0o700
    assert [stat.S_IMODE((config / name).stat().st_mode) for name in ("key.pem", "certificates.pem")] == [
        0o600
    ] * 2
    assert len(list(config.parent.iterdir())) == 1  # nothing is left over
    # the authority's key is nowhere
    assert (config / "key.pem").read_text().count("PRIVATE KEY") == 2
    assert "PRIVATE" not in (config / "certificates.pem").read_text()


@pytest.mark.parametrize("name", ["o.mkv", "o.webm"])
def test_what_cannot_hold_them_is_written_without(
    animator: Animator,
    photo: Path,
    make_driver: Callable[..., Path],
    signer: ContentSigner,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    with caplog.at_level(logging.WARNING):
        result = animate_file(animator, photo, make_driver(frames=2), tmp_path / name, signer=signer)
    assert not result.signed
    assert "no place" in caplog.text
    assert read_credentials(tmp_path / name).state == "none"


def test_a_signature_that_fails_costs_no_result(
    animator: Animator,
    photo: Path,
    make_driver: Callable[..., Path],
    keys: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signer = ContentSigner(own_signing_key(keys))

    def fail(*_: object) -> None:
        raise c2pa.C2paError("no more")

    monkeypatch.setattr(signer, "sign", fail)
    with caplog.at_level(logging.WARNING):
        result = animate_file(animator, photo, make_driver(frames=2), tmp_path / "o.mp4", signer=signer)
    assert (result.signed, result.frames) == (False, 2)
    assert "without content credentials: no more" in caplog.text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Jane Doe.jpg", "driver.mp4", "o.mp4"]


def test_without_the_library_only_signing_fails(
    signed: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faceanim: CLI, config: Path
) -> None:
    def missing(name: str) -> None:
        assert name in ("c2pa", "cryptography")

    monkeypatch.setattr(signing, "find_spec", missing)
    monkeypatch.setattr(credentials, "find_spec", missing)
    code, _, complaint = faceanim(
        "animate", photo, tmp_path / "driver.mp4", "-o", tmp_path / "o.mp4", "--sign"
    )
    assert code == 2
    assert "pip install 'faceanim-cli[provenance]'" in complaint
    assert not config.exists()
    assert read_credentials(signed).state == "unchecked"
    assert "unchecked" in "".join(verify(signed).details())
    assert read_credentials(photo).state == "none"
    assert faceanim("verify", signed)[0] == 0


def test_workers_of_a_batch_get_the_key(
    rigid_weights_file: Path, keys: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, config: Path
) -> None:
    """Pickled after what signs was loaded here, and used in another folder."""
    monkeypatch.chdir(keys)
    options = AnimationOptions(
        weights=str(rigid_weights_file), sign_key="key.pem", sign_cert="certificates.pem"
    ).for_workers()
    assert options.signer() is not None
    there = pickle.loads(pickle.dumps(options))
    monkeypatch.chdir(tmp_path)
    animation_options.load_signer.cache_clear()
    assert there.signer() is not None
    assert not config.exists()
