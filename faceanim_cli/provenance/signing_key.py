"""The key and certificates that sign content credentials: given, or made on first use."""

import datetime
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceanim_cli.errors import UsageError

KEY_NAME, CHAIN_NAME = "key.pem", "certificates.pem"
OWNER = "faceanim"
YEARS = 10
SIGNS_OTHERS = {"key_cert_sign": True, "crl_sign": True}
USES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)
LARGEST = 1 << 20  # bytes of a file of keys or certificates


@dataclass(frozen=True)
class SigningKey:
    """A private key and the certificates of its chain, the key's own first; both PEM."""

    algorithm: str
    """As C2PA calls it: es256, es384, es512, ps256, ed25519."""
    key: str
    certificates: str


def own_signing_key(folder: Path) -> SigningKey:
    """The key in ``folder``, made now if there is none: EC P-256, certified by a CA whose key nobody keeps.

    Files and folder are their owner's alone.

    Raises:
        UsageError: it has expired, or cannot be read or made.
    """
    if not (folder / KEY_NAME).exists() and not (folder / CHAIN_NAME).exists():
        try:
            _make(folder)
        except OSError as error:
            raise UsageError(f"cannot make a signing key in {folder}: {error.strerror}") from error
    return read_signing_key(folder / KEY_NAME, folder / CHAIN_NAME)


def read_signing_key(key_file: Path, chain_file: Path) -> SigningKey:
    """A key and its certificates from PEM files.

    Raises:
        UsageError: a file is missing or unreadable, the key needs a passphrase or is of a kind that C2PA does
            not know, the certificate is another key's, or is not valid today.
    """
    from cryptography import x509  # noqa: PLC0415 (an extra)
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    key_pem, chain_pem = _read(key_file, "key"), _read(chain_file, "certificate")
    try:
        key: Any = serialization.load_pem_private_key(key_pem, password=None)
    except TypeError as error:
        raise UsageError(f"cannot sign with {key_file}: it needs a passphrase; save it without") from error
    except Exception as error:  # of several kinds, for damage of several kinds
        raise UsageError(f"cannot sign with {key_file}: it is no private key in PEM") from error
    try:
        chain: Sequence[Any] = x509.load_pem_x509_certificates(chain_pem)
    except Exception as error:
        raise UsageError(f"cannot sign with {chain_file}: it is no certificate in PEM") from error
    if _public(chain[0].public_key()) != _public(key.public_key()):
        raise UsageError(f"cannot sign with {key_file}: {chain_file} begins with another key's certificate")
    now = datetime.datetime.now(datetime.timezone.utc)
    for certificate in chain:
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise UsageError(
                f"cannot sign with {chain_file}: it is valid from "
                f"{certificate.not_valid_before_utc:%Y-%m-%d} to {certificate.not_valid_after_utc:%Y-%m-%d}; "
                "renew it; faceanim's own, once removed with its key, is made anew"
            )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    certificates = b"".join(certificate.public_bytes(pem) for certificate in chain)
    return SigningKey(_algorithm(key, key_file), private.decode(), certificates.decode())


def _read(file: Path, what: str) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(LARGEST)
    except OSError as error:
        raise UsageError(f"cannot read the signing {what} {file}: {error.strerror}") from error


def _public(key: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return bytes(key.public_bytes(serialization.Encoding.DER, form))


def _algorithm(key: Any, file: Path) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: PLC0415

    if isinstance(key, ec.EllipticCurvePrivateKey):
        known = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}.get(key.curve.name)
        if known is not None:
            return known
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return "ps256"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    raise UsageError(
        f"cannot sign with {file}: give a key of EC P-256, P-384, P-521, Ed25519 or RSA from 2048"
    )


def _make(folder: Path) -> None:
    """Write both files into a folder that takes its name when it is whole; another process may be first."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))  # mode 0700
    try:
        for name, text in zip((KEY_NAME, CHAIN_NAME), _new_key(), strict=True):
            descriptor = os.open(partial / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(text)
        try:
            partial.rename(folder)
        except OSError:
            if not (folder / KEY_NAME).exists():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _new_key() -> tuple[bytes, bytes]:
    """A new private key, and the certificates of its chain. C2PA takes no certificate that signs itself."""
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    def name(common: str) -> Any:
        parts = ((x509.oid.NameOID.ORGANIZATION_NAME, OWNER), (x509.oid.NameOID.COMMON_NAME, common))
        return x509.Name([x509.NameAttribute(*part) for part in parts])

    def usage(key: bool) -> Any:
        flags = dict.fromkeys(USES, False)
        return x509.KeyUsage(**{**flags, **({"digital_signature": True} if key else SIGNS_OTHERS)})

    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name, key_name = name("self-made authority"), name("self-made key")
    begin = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)  # clocks differ

    def certificate(subject: Any, public: Any, is_authority: bool, uses: Any, *more: Any) -> bytes:
        builder = (
            x509.CertificateBuilder(authority_name, subject, public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + datetime.timedelta(days=365 * YEARS))
            .add_extension(x509.BasicConstraints(is_authority, 0 if is_authority else None), critical=True)
            .add_extension(uses, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        )
        for extension in more:
            builder = builder.add_extension(extension, critical=False)
        signed = builder.sign(authority, hashes.SHA256())
        return bytes(signed.public_bytes(serialization.Encoding.PEM))

    chain = certificate(
        key_name,
        key.public_key(),
        False,
        usage(key=True),
        x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.EMAIL_PROTECTION]),
        x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()),
    ) + certificate(authority_name, authority.public_key(), True, usage(key=False))
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(pem, form, serialization.NoEncryption()), chain
