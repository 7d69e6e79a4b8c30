"""The command line: finds the command's file in core/commands, parses, and turns errors into one line and a status."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from core import paths
from core.errors import Stopped, UserError, disk_sentence

OK, FAILED, MISTAKE = 0, 1, 2

#: Commands in the order of the help, with the sentence that it shows.
COMMANDS = {
    "demo": "the main job on the starter model and pictures, from nothing to a grid",
    "train": "train by a preset, or go on with a run",
    "estimate": "will it fit: memory, disk, time and energy of a preset before it starts",
    "cache": "encode the pictures of a preset, or verify a cache",
    "grid": "draw a grid of pictures from checkpoints",
    "sweep": "make a series of runs that differ in chosen settings, and compare their minima",
    "caption": "find words for pictures with a tagger or captioning model on your disk",
    "index": "look at folders of pictures and report what training will do with them",
    "dataset": "copy pictures out by tag, write and read metadata, check other trainers' caches",
    "runs": "list, show, import and export runs",
    "power": "the GPUs' power limits: show, set, and find the one with most images per kWh",
    "import-kohya": "turn settings of kohya's sd-scripts into a preset",
    "doctor": "what this machine has and lacks for training",
    "screenshots": "draw every page of the window with a real run in it",
    "docs": "make the reference of all settings (--check: fail when it is stale)",
    "test": "run the whole test suite",
    "check": "lint, types, import contracts and stale docs",
    "bench": "measure one of the project's numbers",
}

#: What needs the window, handed in by main.py, since core never imports gui.
Windows = Mapping[str, Callable[..., Any]]


class _Parser(argparse.ArgumentParser):
    """argparse, with errors as one line that says what to do."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}. '{self.prog} --help' shows what is possible.")


def run(arguments: list[str], windows: Windows) -> int:
    """Do a command and return its exit status: 0 success, 2 a user's mistake, 1 a failure of ours."""
    if not arguments or arguments[0] not in (*COMMANDS, "-h", "--help"):
        return guarded(lambda: _open_window(arguments, windows))
    if arguments[0] in ("-h", "--help"):
        print(usage())
        return OK
    return guarded(lambda: _run_command(arguments[0], arguments[1:], windows))


def _run_command(name: str, rest: list[str], windows: Windows) -> int:
    module = importlib.import_module(f"core.commands.{name.replace('-', '_')}")
    parser = _Parser(prog=f"python3 main.py {name}", description=module.__doc__)
    if getattr(module, "RAW", False):
        options = argparse.Namespace(rest=rest)
    else:
        module.add_arguments(parser)
        options = parser.parse_args(rest)
    options.windows = windows
    return int(module.run(options))


def guarded(work: Callable[[], int]) -> int:
    """Run `work`; a UserError is one line on stderr, anything else goes to the log and one line says where."""
    try:
        status = work()
        sys.stdout.flush()
        return status
    except UserError as error:
        print(error, file=sys.stderr)
        return MISTAKE
    except (KeyboardInterrupt, Stopped):
        print("Stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone; Python would complain of it once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        sentence = disk_sentence(error) if isinstance(error, OSError) else ""
        if sentence:
            print(sentence, file=sys.stderr)
            return MISTAKE
        log = _write_log(error)
        last = "".join(traceback.format_exception_only(error)).strip()
        print(f"Burnish failed ({last}). The whole story is in {log}.", file=sys.stderr)
        return FAILED


def _write_log(error: Exception) -> Path:
    """Append the traceback to the user's log, or to one among the temporary files where that cannot be written."""
    for log in (paths.home_folder() / "burnish.log", Path(tempfile.gettempdir()) / "burnish.log"):
        with contextlib.suppress(OSError):
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("a", encoding="utf-8") as file:
                traceback.print_exception(error, file=file)
            return log
    return Path(os.devnull)


def _open_window(arguments: list[str], windows: Windows) -> int:
    """No command: the window, with what is named (a run, preset, model or folder)."""
    for text in arguments:
        if not paths.resolve(text).exists():
            import difflib

            guess = difflib.get_close_matches(text, COMMANDS, 1)
            hint = f" Did you mean '{guess[0]}'?" if guess else " 'python3 main.py --help' lists the commands."
            print(f"There is no command and no file '{text}'.{hint}", file=sys.stderr)
            return MISTAKE
    return int(windows["open"](arguments))


def usage() -> str:
    """The help of the whole program."""
    lines = ["python3 main.py                 the window (or: with a run folder, preset, model or picture folder)"]
    lines += [f"python3 main.py {name:<15} {text}" for name, text in COMMANDS.items()]
    return "\n".join([*lines, "", "python3 main.py COMMAND --help shows a command's options."])
