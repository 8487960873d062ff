#!/usr/bin/env python3
"""The command line of npuproxy: `python manage.py help`."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

if sys.version_info < (3, 11):
    sys.exit("npuproxy needs Python 3.11 or newer; this is %d.%d" % sys.version_info[:2])

VENV = Path(__file__).resolve().parent / ".venv"


def in_environment() -> int:
    """The same command by the Python for which `make run` has installed what is needed."""
    python = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists() or Path(sys.prefix) == VENV:
        sys.exit("npuproxy: Django is not installed for this Python; `make run` installs all that is needed")
    if os.name == "nt":
        return subprocess.call([str(python), *sys.argv])
    os.execv(python, [str(python), *sys.argv])  # signals and exit code are the command's own


if __name__ == "__main__":
    if importlib.util.find_spec("django") is None:
        sys.exit(in_environment())
    from npuproxy.commandline import main

    main(sys.argv)
