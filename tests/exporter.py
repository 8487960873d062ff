"""Stands for `optimum.commands.optimum_cli` in the converter's environment: speaks and writes as it does, converts
nothing. What it does beyond that the model's config.json says under "exporter".
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

arguments = sys.argv[1:]
source, target = Path(arguments[arguments.index("--model") + 1]), Path(arguments[-1])
wish = json.loads((source / "config.json").read_text()).get("exporter", {})
ir = Path(wish["ir"])

print("Loading weights:  50%|█████     | 1/2", end="\r", flush=True)
print("Loading weights: 100%|██████████| 2/2", flush=True)
print("Export model to OpenVINO", flush=True)
if "silent" in wish:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(wish["silent"]).write_text(f"{os.getpid()} {child.pid}")
    time.sleep(600)
if "fail" in wish:
    print(
        f"Traceback (most recent call last):\n  File {__file__}\nValueError: {wish['fail']}", file=sys.stderr
    )
    sys.exit(1)
if "killed" in wish:
    os.kill(os.getpid(), 9)
print("INFO:nncf:Statistics of the bitwidth distribution: 100% (2 / 2)", flush=True)
if "nothing" not in wish:
    for file in ir.iterdir():
        if file.suffix in (".xml", ".bin", ".json", ".jinja"):
            (target / file.name).write_bytes(file.read_bytes())
    said = {"arguments": arguments[:-1], "environment": dict(os.environ)}
    (target / "openvino_config.json").write_text(json.dumps(said))
