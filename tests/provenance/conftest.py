"""A signing key, and a configuration folder of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from faceanim_cli.commands import animation_options


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys") / "signing"
    pytest.importorskip("cryptography")
    from faceanim_cli.provenance.signing_key import own_signing_key

    own_signing_key(folder)
    return folder


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A configuration folder of its own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    animation_options.load_signer.cache_clear()
    yield tmp_path / "config" / "faceanim" / "signing"
    animation_options.load_signer.cache_clear()
