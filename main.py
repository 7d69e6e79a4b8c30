"""Starts Burnish. On a bare machine it first lets installers/bootstrap.py make the environment in .venv."""

import sys

from installers import bootstrap


def main(arguments):
    """Make sure of the environment (this may hand over to its Python and not return), then do what is asked."""
    code = bootstrap.ensure(arguments)
    if code is not None:
        return code
    if not arguments:
        return open_window([])
    from core.cli import run

    return run(arguments, {"open": open_window, "demo": open_demo, "screenshots": screenshots})


def open_window(arguments):
    """The window; core knows it only as one of these three functions."""
    from gui.app import run

    return run(arguments)


def open_demo(changes):
    """The window, with the demo started."""
    from gui.app import run

    return run([], demo=True, changes=changes)


def screenshots(out, theme, run_path):
    """Every page as PNG files; returns their paths."""
    from gui.screenshots import take

    return take(out, theme, run_path)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        sys.exit(130)
