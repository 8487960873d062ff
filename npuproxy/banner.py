"""What a new user needs to know, printed once the server answers."""

from __future__ import annotations

import ipaddress
import json
import sys

from npuproxy.first_start import ADMIN

NEXT_MODEL = "qwen3:4b"
"""Tools and thinking, about 2.6 GB in int4: the smallest that serves an agent on a laptop with 16 GB."""

_QUESTION = {
    "model": "demo",
    "stream": False,
    "messages": [{"role": "user", "content": "How do I pull a model?"}],
}


def url(host: str, port: int, scheme: str = "http") -> str:
    """Where this machine reaches a server bound to `host`."""
    if host in ("auto", "localhost"):
        return f"{scheme}://127.0.0.1:{port}"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"{scheme}://{host}:{port}"
    if address.is_unspecified:
        return f"{scheme}://127.0.0.1:{port}"
    return f"{scheme}://[{address}]:{port}" if address.version == 6 else f"{scheme}://{address}:{port}"


def curl(address: str, windows: bool = sys.platform == "win32") -> str:
    """One line to paste; Windows' shells know no single quotes."""
    body = json.dumps(_QUESTION)
    if windows:
        escaped = body.replace('"', '\\"')
        return f'curl.exe {address}/api/chat -d "{escaped}"'
    return f"curl {address}/api/chat -d '{body}'"


def text(version: str, address: str, seconds: float, password: str | None, grpc: str = "") -> str:
    """`password` is the new admin's, None from the second start on; `grpc` that door's address, if there is one."""
    door = f"\n  grpc     {grpc}" if grpc else ""
    user = f"   user {ADMIN}, password {password} (shown only now)" if password else f"   user {ADMIN}"
    return f"""
npuproxy {version} is ready after {seconds:.1f} s

  address  {address}   for Ollama clients; OpenAI clients take {address}/v1
  page     {address}/status{door}
  admin    {address}/admin/{user}
  model    demo answers already. It is tiny and knows this server, little else:

           {curl(address)}

  next     a real model; {NEXT_MODEL} is a good first one
  stop     Ctrl-C
"""
