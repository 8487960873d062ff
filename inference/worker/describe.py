"""`python -P -m inference.worker.describe`: what the runtime is and sees, as a line of JSON. Loads no model."""

from __future__ import annotations

import os
import sys

import msgspec

from inference.worker.__main__ import hello


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what the runtime prints must not get between
    answers.write(msgspec.json.encode(hello()) + b"\n")
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
