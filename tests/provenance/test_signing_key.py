"""Keys that cannot sign: each fault is one line, before any work."""

import datetime
from collections.abc import Callable
from pathlib import Path

import pytest

from faceanim_cli.errors import UsageError
from faceanim_cli.provenance.signing import ContentSigner
from faceanim_cli.provenance.signing_key import own_signing_key, read_signing_key

pytest.importorskip("c2pa")
x509 = pytest.importorskip("cryptography.x509")
hashes = pytest.importorskip("cryptography.hazmat.primitives.hashes")
serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")

CLI = Callable[..., tuple[int, str, str]]


@pytest.fixture
def pair(keys: Path, tmp_path: Path) -> tuple[Path, Path]:
    key, chain = tmp_path / "k.pem", tmp_path / "c.pem"
    key.write_bytes((keys / "key.pem").read_bytes())
    chain.write_bytes((keys / "certificates.pem").read_bytes())
    return key, chain


def test_a_missing_key(pair: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"signing key .*none\.pem: No such file"):
        read_signing_key(tmp_path / "none.pem", pair[1])
    with pytest.raises(UsageError, match=r"signing certificate .*none\.pem: No such file"):
        read_signing_key(pair[0], tmp_path / "none.pem")


def test_an_unreadable_key(pair: tuple[Path, Path]) -> None:
    key, chain = pair
    with pytest.raises(UsageError, match="no private key"):
        read_signing_key(chain, chain)
    with pytest.raises(UsageError, match="no certificate"):
        read_signing_key(key, key)
    secret = serialization.load_pem_private_key(key.read_bytes(), None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"word"),
    )
    key.write_bytes(secret)
    with pytest.raises(UsageError, match="passphrase"):
        read_signing_key(key, chain)


def test_the_certificate_of_another_key(pair: tuple[Path, Path], tmp_path: Path) -> None:
    own_signing_key(tmp_path / "other")
    with pytest.raises(UsageError, match="another key's certificate"):
        read_signing_key(pair[0], tmp_path / "other" / "certificates.pem")


def certificate(key: object, begin: int, end: int) -> bytes:
    """Signed by itself, valid from and to days from now."""
    now = datetime.datetime.now(datetime.timezone.utc)
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "me")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7)
    builder = builder.not_valid_before(now + datetime.timedelta(days=begin))
    builder = builder.not_valid_after(now + datetime.timedelta(days=end))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(("begin", "end"), [(-9, -1), (1, 9)])
def test_a_certificate_expired_or_not_valid_yet(pair: tuple[Path, Path], begin: int, end: int) -> None:
    key = serialization.load_pem_private_key(pair[0].read_bytes(), None)
    pair[1].write_bytes(certificate(key, begin, end))
    with pytest.raises(UsageError, match="it is valid from"):
        read_signing_key(*pair)


def test_keys_of_a_kind_that_c2pa_refuses(pair: tuple[Path, Path]) -> None:
    """A certificate that signs itself; and a curve that C2PA does not know."""
    key = serialization.load_pem_private_key(pair[0].read_bytes(), None)
    pair[1].write_bytes(certificate(key, -1, 9))
    with pytest.raises(UsageError, match="cannot sign with this key and certificate"):
        ContentSigner(read_signing_key(*pair))
    other = ec.generate_private_key(ec.SECP256K1())
    pair[0].write_bytes(
        other.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    pair[1].write_bytes(certificate(other, -1, 9))
    with pytest.raises(UsageError, match="P-256"):
        read_signing_key(*pair)


def test_the_command_line_tells_it_before_any_work(
    pair: tuple[Path, Path],
    photo: Path,
    make_driver: Callable[..., Path],
    tmp_path: Path,
    faceanim: CLI,
    config: Path,
) -> None:
    driver, out = make_driver(frames=2), tmp_path / "o.mp4"
    for options in (("--sign-key", "none.pem", "--sign-cert", pair[1]), ("--sign-key", pair[0])):
        code, said, complaint = faceanim("animate", photo, driver, "-o", out, *options)
        assert (code, said) == (2, "")
        assert len(complaint.splitlines()) == 1
    assert not out.exists()
    assert not config.exists()
