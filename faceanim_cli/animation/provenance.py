"""What a result says about its origin."""

from faceanim_cli import __version__
from faceanim_cli.animation.animator import Animator
from faceanim_cli.files import file_sha256


def provenance(animator: Animator) -> dict[str, str]:
    """Tags for the container: that the video is AI-generated, by what, and with which weights."""
    digest = file_sha256(animator.weights)[:16]
    return {
        "title": "AI-generated animation of a photo",
        "comment": (
            f"AI-generated: a photo animated by faceanim {__version__}, "
            f"weights {animator.weights.name} sha256 {digest}"
        ),
    }
