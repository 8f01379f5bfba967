"""``python -m kronos``: the command line, where the ``kronos`` script is not on the path."""

from kronos.cli import main

if __name__ == "__main__":
    main()
