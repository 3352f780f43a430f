"""Reads content credentials (C2PA): whether a file has any, their signer, and whether they are valid."""

import json
import mmap
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias

from faceanim_cli.errors import UsageError
from faceanim_cli.media.signatures import read_head
from faceanim_cli.provenance.signing import MISSING, SETTINGS, media_type
from faceanim_cli.provenance.stated_origin import MADE_BY_AI

State: TypeAlias = Literal["none", "unchecked", "trusted", "valid", "invalid"]
"""``valid`` is signed by a key that nobody vouches for; ``trusted`` by one on the list that was given."""
JUMBF = b"jumdc2pa"  # how the boxes begin that hold content credentials, in any format
UNTRUSTED = "signingCredential.untrusted"


@dataclass(frozen=True)
class Credentials:
    """What the content credentials of a file say."""

    state: State
    signer: str | None = None
    """Organisation and name in the certificate: anyone can have any name, unless it is trusted."""
    serial: str | None = None
    """Of the certificate: the same in all that was signed with one key."""
    generator: str | None = None
    source_types: tuple[str, ...] = ()
    """IPTC's DigitalSourceTypes of what was done."""
    problems: tuple[str, ...] = ()
    """What does not hold, in C2PA's words."""

    @property
    def made_by_ai(self) -> bool:
        """Whether they hold and say so."""
        return self.state in ("trusted", "valid") and not MADE_BY_AI.isdisjoint(self.source_types)

    @property
    def line(self) -> str:
        """For a person."""
        if self.state == "none":
            return "none"
        if self.state == "unchecked":
            return f"there are some, unchecked: {MISSING}"
        if self.state == "invalid":
            return f"INVALID: {'; '.join(self.problems)}"
        who = f"signed by {self.signer} (certificate {self.serial})"
        told = f"{self.generator}, {', '.join(self.source_types) or 'no DigitalSourceType'}"
        vouched = "trusted" if self.state == "trusted" else "valid, by a key that nobody here vouches for"
        return f"{vouched}; {who}: {told}"

    def facts(self) -> dict[str, object]:
        """As JSON values."""
        return {**asdict(self), "made_by_ai": self.made_by_ai}


def read_credentials(path: Path, trust: Path | None = None) -> Credentials:
    """Read and check the content credentials of a file. Nothing is asked of the network.

    Args:
        path: the file.
        trust: certificates, PEM, of authorities whose signatures are trusted.

    Raises:
        UsageError: ``trust`` cannot be read, or cannot be used without c2pa-python.
        UnreadableInputError: there is no such file.
    """
    if find_spec("c2pa") is None:
        if trust is not None:
            raise UsageError(f"--trust: {MISSING}")
        return Credentials("unchecked" if _holds(path, JUMBF) else "none")
    kind = media_type(read_head(path, "file"))
    settings: dict[str, Any] = {"verify": SETTINGS["verify"]}
    if trust is not None:
        try:
            settings["trust"] = {"trust_anchors": trust.read_text(encoding="ascii")}
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot read the trusted certificates {trust}: {error}") from error
    if kind is None:
        return Credentials("none")
    c2pa = import_module("c2pa")
    context = c2pa.Context(c2pa.Settings.from_dict(settings))
    try:
        with path.open("rb") as file, c2pa.Reader(kind, file, context=context) as reader:
            told, state = json.loads(reader.json()), reader.get_validation_state()
    except c2pa.C2paError.ManifestNotFound:
        return Credentials("none")
    except c2pa.C2paError as error:
        if not _holds(path, JUMBF):  # a damaged or odd file, and none of them in it
            return Credentials("none")
        return Credentials("invalid", problems=(" ".join(str(error).split()),))
    return _from_report(told, str(state))


def _from_report(told: dict[str, Any], state: str) -> Credentials:
    manifest = told.get("manifests", {}).get(told.get("active_manifest"), {})
    signature = manifest.get("signature_info", {})
    named = [str(signature[key]) for key in ("issuer", "common_name") if signature.get(key)]
    programs = manifest.get("claim_generator_info") or [{}]
    types = [
        str(action.get("digitalSourceType", "")).rpartition("/")[2]
        for assertion in manifest.get("assertions", [])
        if str(assertion.get("label", "")).startswith("c2pa.actions")
        for action in assertion.get("data", {}).get("actions", [])
    ]
    problems = [
        str(problem.get("explanation") or problem.get("code"))
        for problem in told.get("validation_status", [])
        if problem.get("code") != UNTRUSTED
    ]
    states: dict[str, State] = {"Trusted": "trusted", "Valid": "valid"}
    return Credentials(
        states.get(state, "invalid"),
        signer=", ".join(named) or None,
        serial=signature.get("cert_serial_number"),
        generator=" ".join(filter(None, (programs[0].get("name"), programs[0].get("version")))) or None,
        source_types=tuple(dict.fromkeys(filter(None, types))),
        problems=tuple(problems),
    )


def _holds(path: Path, mark: bytes) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(mark) >= 0
