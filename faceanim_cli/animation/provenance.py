"""What a result says about its origin."""

from faceanim_cli import __version__
from faceanim_cli.animation.animator import Animator
from faceanim_cli.weights.records import hash_file


def provenance(animator: Animator) -> dict[str, str]:
    """Tags for the container: that the video is AI-generated, by what, and with which weights."""
    digest = hash_file(animator.weights)[:16]
    return {
        "title": "AI-generated animation of a photo",
        "comment": (
            f"AI-generated: a photo animated by faceanim {__version__}, "
            f"weights {animator.weights.name} sha256 {digest}"
        ),
    }
