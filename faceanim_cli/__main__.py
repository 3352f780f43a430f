"""``python -m faceanim_cli``, which torchrun needs."""

from faceanim_cli.app import main

if __name__ == "__main__":
    main()
