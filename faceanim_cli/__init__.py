"""faceanim: animate a face photo with the motion of a driving video.

The Python API is one class::

    from faceanim_cli import Animator

    animator = Animator()
    animator.set_photo(photo)               # uint8 RGB (H, W, 3)
    for frame in animator.animate(frames):  # an iterable of uint8 RGB (H, W, 3)
        ...
"""

import os
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Animator", "__version__"]

if TYPE_CHECKING:
    from faceanim_cli.animation.animator import Animator as Animator


def __getattr__(name: str) -> Any:
    # Torch takes seconds to import; ``faceanim --version`` must not pay for it.
    if name == "Animator":
        # As the command line does, see ``app``; without effect where torch is loaded already.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        from faceanim_cli.animation.animator import Animator  # noqa: PLC0415

        return Animator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
