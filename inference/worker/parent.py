"""A worker never outlives the server, however the server ended.

Three layers: the kernel's parent-death signal on Linux (set here), the end of file on the channel (seen between two
steps, everywhere), and a job object on Windows (made by the server in `inference/process.py`).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent_pid: int) -> None:
    """Ask for SIGKILL when the parent ends; ignore what a terminal or a service manager sends to the whole group.

    The server drains its streams first and says when to stop.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:  # it ended before prctl took effect
        os._exit(0)
