"""Signs results with content credentials (C2PA)."""

import hashlib
import io
import logging
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

from PIL import Image as PillowImage

from faceanim_cli import __version__
from faceanim_cli.errors import UsageError
from faceanim_cli.media.metadata import SOURCE_TYPE
from faceanim_cli.media.signatures import HEAD_BYTES, is_avif, is_heic
from faceanim_cli.provenance.signing_key import SigningKey

logger = logging.getLogger(__name__)

MISSING = "c2pa-python is missing: pip install 'faceanim-cli[provenance]'"
ASSERTION = "faceanim.animation"
UNSIGNABLE = frozenset({".mkv", ".webm"})
"""Suffixes of results that have no place for content credentials."""
SETTINGS = {
    "builder": {"thumbnail": {"enabled": False}},  # of 100 to 800 KB, and another copy of the face
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},  # nothing is asked of the network
}


def check_signing() -> None:
    """Raises UsageError where content credentials cannot be signed for want of a library."""
    if find_spec("c2pa") is None or find_spec("cryptography") is None:
        raise UsageError(f"--sign: {MISSING}")


class ContentSigner:
    """Signs results.

    Args:
        key: with its certificates.

    Raises:
        UsageError: c2pa-python is missing, or C2PA does not take such a key or certificate.
    """

    def __init__(self, key: SigningKey) -> None:
        check_signing()
        self._c2pa = import_module("c2pa")
        # No authority is asked for a time stamp, which would tell it of each result.
        texts = [text.encode() for text in (key.algorithm, key.certificates, key.key)]
        picture = io.BytesIO()
        PillowImage.new("L", (8, 8)).save(picture, "PNG")
        try:
            self._signer = self._c2pa.Signer.from_info(self._c2pa.C2paSignerInfo(*texts, None))
            self.sign(picture, io.BytesIO(), "image/png", {})  # not first after hours of work
        except self._c2pa.C2paError as error:
            raise UsageError(f"cannot sign with this key and certificate: {_line(error)}") from error

    def for_result(self, output: Path, photo: Path, weights_sha256: str) -> "ResultSigner | None":
        """What signs the result of a job; None, and a warning in the log, where its format holds nothing."""
        if output.suffix.lower() in UNSIGNABLE:
            logger.warning(
                "%s stays without content credentials: such a file has no place for them; write .mp4", output
            )
            return None
        return ResultSigner(self, output, photo, weights_sha256)

    def sign(
        self, old: BinaryIO, new: BinaryIO, kind: str, facts: dict[str, str], photo: bytes | None = None
    ) -> None:
        """Sign what is in ``old``, of the media type ``kind``, into ``new``.

        Args:
            facts: of the animation: hashes by name.
            photo: the photo's file; what C2PA does not know is left out, but for its hash among the facts.

        Raises:
            C2paError: it cannot be signed.
        """
        agent = {"name": "faceanim", "version": __version__}
        action = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE, "softwareAgent": agent}
        about = {
            "claim_generator_info": [agent],
            "title": "animation",
            "assertions": [
                {"label": "c2pa.actions.v2", "data": {"actions": [action]}},
                {"label": ASSERTION, "data": facts},
            ],
        }
        builder = self._c2pa.Builder(about, self._c2pa.Context(self._c2pa.Settings.from_dict(SETTINGS)))
        photo_kind = None if photo is None else media_type(photo)
        if photo is not None and photo_kind is not None:  # called photo: a name may tell of a person
            component = {"title": "photo", "relationship": "componentOf"}
            builder.add_ingredient(component, photo_kind, io.BytesIO(photo))
        builder.sign(self._signer, kind, old, new)


class ResultSigner:
    """Signs the finished file of a result in place: made by AI, by which version and weights, of which photo.

    Should that fail after hours of animating, the result stays as it is, and the log says so.

    Attributes:
        signed: whether all files so far are signed.
    """

    def __init__(self, signer: ContentSigner, output: Path, photo: Path, weights_sha256: str) -> None:
        self._signer, self._output = signer, output
        self._photo = photo.read_bytes()  # as it is now, whatever becomes of it
        photo_sha256 = hashlib.sha256(self._photo).hexdigest()
        self._facts = {"weights_sha256": weights_sha256, "photo_sha256": photo_sha256}
        self.signed = True

    def __call__(self, file: Path) -> None:
        """Sign ``file``, or leave it as it is."""
        signed = file.with_name(f"{file.name}.signed")
        try:
            with file.open("rb") as old, signed.open("w+b") as new:
                kind = media_type(old.read(HEAD_BYTES)) or ""
                old.seek(0)
                self._signer.sign(old, new, kind, self._facts, self._photo)
            signed.replace(file)
        except (import_module("c2pa").C2paError, OSError) as error:
            self.signed = False
            logger.warning("%s stays without content credentials: %s", self._output, _line(error))
        finally:
            signed.unlink(missing_ok=True)


def media_type(data: bytes) -> str | None:
    """What C2PA calls the format of a file, told by its first bytes; None where it knows none."""
    starts = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}
    for start, kind in starts.items():
        if data.startswith(start):
            return kind
    if data[:4] == b"RIFF" and data[8:12] in (b"WEBP", b"AVI "):
        return "image/webp" if data[8:12] == b"WEBP" else "video/avi"
    if data[4:8] != b"ftyp":
        return None
    if is_avif(data) or is_heic(data):
        return "image/avif" if is_avif(data) else "image/heic"
    return "video/quicktime" if data[8:10] == b"qt" else "video/mp4"


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
