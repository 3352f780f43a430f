"""``python -m faceanim_cli``, which torchrun needs, and what the ``faceanim`` script calls."""

import sys


def main() -> None:
    """Run the command line. Its imports take a moment, in which Ctrl-C ends the process as it does later."""
    try:
        from faceanim_cli.app import main as run  # noqa: PLC0415 (see above)
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
