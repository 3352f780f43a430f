"""What the shell's Tab finds for values of options. Nothing heavy is imported: people wait for it."""

from pathlib import Path

LIBRARY_MOTIONS = ("nod", "shake", "smile-and-blink")
METRICS = (
    *("psnr", "ssim", "ms-ssim", "l1", "lpips", "fid"),
    *("akd", "flicker", "csim", "pose", "expression", "slopes"),
)


def devices(incomplete: str) -> list[str]:
    """Kinds of devices."""
    return _beginning(("auto", "cpu", "cuda", "mps"), incomplete)


def drivers(incomplete: str) -> list[str]:
    """Motions of the library, and files."""
    return _beginning(LIBRARY_MOTIONS, incomplete) + files(incomplete)


def metrics(incomplete: str) -> list[str]:
    """Metrics, after those that stand before the last comma."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in _beginning(METRICS, last)]


def weights_names(incomplete: str) -> list[str]:
    """Names of the catalogue, and files."""
    from faceanim_cli.weights.catalogue import CATALOGUE  # noqa: PLC0415 (only Tab needs it)

    return _beginning(tuple(CATALOGUE), incomplete) + files(incomplete)


def files(incomplete: str) -> list[str]:
    """Files and folders whose names begin so; a shell adds none where something else was found."""
    folder, slash, begin = incomplete.rpartition("/")
    try:
        found = sorted(Path(folder + slash or ".").iterdir())
    except OSError:
        return []
    return [
        f"{folder}{slash}{path.name}{'/' if path.is_dir() else ''}"
        for path in found
        if path.name.startswith(begin) and (begin or not path.name.startswith("."))
    ]


def _beginning(names: tuple[str, ...], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
