"""Runs in the converter's environment, not in ours: optimum-cli with the arguments given, ended when its parent ends.

`python -I convert_child.py export openvino --model …`. The parent holds the other end of standard input.
"""

import os
import runpy
import threading


def end_with_parent() -> None:
    """Standard input is a pipe that nobody writes to: its end is the parent's."""
    while os.read(0, 4096):
        pass
    os._exit(3)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    print("phase: import", flush=True)
    runpy.run_module("optimum.commands.optimum_cli", run_name="__main__", alter_sys=True)
