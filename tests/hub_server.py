"""A hub of models as a process of its own: Hugging Face's HTTP API over a folder of repositories, and its faults.

    python tests/hub_server.py FOLDER        prints {"url", "cdn_url"} and serves until its standard input ends

    FOLDER/<org>/<repo>/repository.json      revisions, licence, tokens, entries that are no files, ...
    FOLDER/<org>/<repo>/<commit>/...         the files

Weights are "in large file storage": the hub redirects to a second port, as the real one does to its CDN. It shares no
code with the product. Control: POST /__control__ {"reset": true} | {"fault": {...}} | {"page": 3}, GET /__requests__.
A fault: {"kind", "path" (regular expression), "on" (api, file, cache, cdn, any), "times" (-1: always), ...}; see
Faults.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from hub_store import Refusal, Store

BLOCK_BYTES = 64 * 1024
OF_A_BODY = ("truncate", "stall", "slow", "flip", "longer", "shorter", "ignore_range", "bad_range", "etag")


class Faults:
    """What goes wrong, in the order in which it was asked for.

    status (status, headers, code)      drop: the connection ends       silence (seconds): then it ends
    garbage (body): no hub's answer
    truncate (after): bytes, then gone  stall (after, seconds)          slow (rate: bytes a second)
    flip (at): one bit of the body      gzip: says it is compressed     longer: more than was announced
    redirect (to)                       ignore_range: always 200        bad_range: 206 of another range
    etag (etag): another validator      shorter: Content-Length of half
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        with self.lock:
            self.planned: list[dict[str, Any]] = []
            self.requests: list[dict[str, Any]] = []
            self.page = 1000
            self.over = threading.Event()

    def take(self, on: str, path: str) -> dict[str, dict[str, Any]]:
        """Kind -> fault for this request; each counts as used."""
        found: dict[str, dict[str, Any]] = {}
        with self.lock:
            for fault in self.planned:
                fits = fault.get("on", "any") in ("any", on) and re.search(fault.get("path", ""), path)
                if fault["kind"] in OF_A_BODY and on not in ("cache", "cdn"):
                    continue
                if fits and fault.get("times", -1) and fault["kind"] not in found:
                    fault["times"] = fault.get("times", -1) - 1
                    found[fault["kind"]] = fault
        return found


class Hub(Store):
    """Both sides of it, and what goes wrong."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.faults = Faults()
        self.url = self.cdn_url = ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub
    side: str
    seen: dict[str, Any]

    def do_GET(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        wish = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        faults = self.hub.faults
        if wish.get("reset"):
            faults.over.set()
            faults.reset()
        if "fault" in wish:
            faults.planned.append(wish["fault"])
        faults.page = wish.get("page", faults.page)
        self.say(200, {})

    def answer(self) -> None:
        parts = urlsplit(self.path)  # with a host in it when we are asked as a proxy
        path, self.query = unquote(parts.path), parse_qs(parts.query)
        if path == "/__requests__":
            return self.say(200, self.hub.faults.requests)
        on = "cdn" if self.side == "cdn" else "api" if path.startswith("/api/models") else "file"
        if path.startswith("/api/resolve-cache/"):
            on = "cache"
        names = ("Host", "Authorization", "Range", "If-Range", "Accept-Encoding", "User-Agent")
        self.seen = {
            "on": on, "method": self.command, "path": path, "proxied": bool(parts.netloc), "sent": 0,
            **{name: self.headers[name] for name in names if self.headers[name]},
        }  # fmt: skip
        self.hub.faults.requests.append(self.seen)
        self.fault = self.hub.faults.take(on, path)
        self.token = (self.headers["Authorization"] or "").removeprefix("Bearer ")
        try:
            if not self.went_wrong():
                self.route(path)
        except Refusal as refusal:
            headers = {"X-Error-Code": refusal.code, "X-Error-Message": str(refusal)}
            self.say(refusal.status, {"error": str(refusal)}, {k: v for k, v in headers.items() if v})
        return None

    def went_wrong(self) -> bool:
        """The faults that stand in place of an answer."""
        if "drop" in self.fault:
            self.close_connection = True
        elif wrong := self.fault.get("status"):
            code = {"X-Error-Code": wrong["code"]} if wrong.get("code") else {}
            self.say(wrong["status"], {"error": "as planned"}, {**code, **wrong.get("headers", {})})
        elif "silence" in self.fault:
            self.hub.faults.over.wait(self.fault["silence"].get("seconds", 3600))
            self.close_connection = True
        elif "garbage" in self.fault:
            self.say(
                200, self.fault["garbage"].get("body", "<html>sign in to the network of this hotel</html>")
            )
        elif "redirect" in self.fault:
            self.say(302, {}, {"Location": self.fault["redirect"]["to"]})
        else:
            return False
        return True

    def route(self, path: str) -> None:
        hub = self.hub
        if self.side == "cdn" or path.startswith("/api/resolve-cache/models/"):
            repo, commit, name = re.fullmatch(r".*/models/([^/]+/[^/]+)/([^/]+)/(.+)", path).groups()  # type: ignore[union-attr]
            return self.send_file(hub.folder / repo / commit / name)
        if path == "/api/models":
            return self.say(200, hub.search(self.query))
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", path):
            meta = self.open(match[1])
            return self.say_page(hub.tree(meta, hub.commit(meta, match[2])))
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            if moved := self.moved(match[1]):
                return self.say(307, {}, {"Location": path.replace(match[1], moved)})
            meta = self.open(match[1])
            return self.say(200, hub.info(meta, hub.commit(meta, match[2] or "main")))
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            meta = self.open(match[1])
            hub.check_gate(meta, self.token)
            return self.resolve(meta, hub.commit(meta, match[2]), match[3])
        raise Refusal(404, "", "Cannot GET " + path)

    def open(self, repo: str) -> dict[str, Any]:
        meta = self.hub.meta(self.moved(repo) or repo)
        self.hub.check(meta, self.token)
        return meta

    def moved(self, repo: str) -> str:
        path = self.hub.folder / repo / "moved"
        return path.read_text("utf-8") if path.is_file() else ""

    def resolve(self, meta: dict[str, Any], commit: str, name: str) -> None:
        entry = next((entry for entry in self.hub.tree(meta, commit) if entry["path"] == name), None)
        if entry is None or entry["type"] != "file":
            raise Refusal(404, "EntryNotFound", "Entry not found")
        place = f"models/{meta['id']}/{commit}/{quote(name)}"
        headers = {"X-Repo-Commit": commit}
        if "lfs" in entry:
            headers |= {"X-Linked-ETag": f'"{entry["lfs"]["oid"]}"', "X-Linked-Size": str(entry["size"])}
            self.say(302, {}, {**headers, "Location": f"{self.hub.cdn_url}/{place}?signature=secret"})
        else:
            headers |= {"ETag": f'"{entry["oid"]}"'}
            self.say(307, {}, {**headers, "Location": f"/api/resolve-cache/{place}"})

    def say_page(self, items: list[dict[str, Any]]) -> None:
        begin, size = int(self.query.get("cursor", ["0"])[0]), self.hub.faults.page
        headers = {}
        if begin + size < len(items):
            page = f"{self.hub.url}{urlsplit(self.path).path}?recursive=true&cursor={begin + size}"
            headers["Link"] = f'<{page}>; rel="next"'
        self.say(200, items[begin : begin + size], headers)

    def say(self, status: int, value: object, headers: dict[str, str] | None = None) -> None:
        body = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, text)
        if "gzip" in self.fault:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    fault: dict[str, dict[str, Any]] = {}

    def send_file(self, path: Path) -> None:
        if not path.is_file():
            raise Refusal(404, "EntryNotFound", "Entry not found")
        data, etag = path.read_bytes(), f'"{self.hub.digests(path)[0][:32]}"'
        etag = self.fault.get("etag", {}).get("etag", etag)
        begin, status = self.begin(etag), 200
        headers = {"ETag": etag, "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        if begin and begin >= len(data):
            return self.say(416, {}, {"Content-Range": f"bytes */{len(data)}"})
        if begin:
            shown = begin + 1 if "bad_range" in self.fault else begin
            status, headers["Content-Range"] = 206, f"bytes {shown}-{len(data) - 1}/{len(data)}"
        if "gzip" in self.fault:
            headers["Content-Encoding"] = "gzip"
        if flip := self.fault.get("flip"):
            data = data[: flip["at"]] + bytes([data[flip["at"]] ^ 1]) + data[flip["at"] + 1 :]
        body = data[begin:] + (b"more" * 1000 if "longer" in self.fault else b"")
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name, text)
        if "longer" in self.fault:
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(body) // 2 if "shorter" in self.fault else len(body)))
        self.end_headers()
        return None if self.command == "HEAD" else self.stream(body)

    def begin(self, etag: str) -> int:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        same = self.headers["If-Range"] in (None, etag)
        return int(match[1]) if match and same and "ignore_range" not in self.fault else 0

    def stream(self, body: bytes) -> None:
        """The body, with what is to happen on its way."""
        over, rate = self.hub.faults.over, self.fault.get("slow", {}).get("rate", 0)
        cut, stall = self.fault.get("truncate"), self.fault.get("stall")
        ends = [fault["after"] for fault in (cut, stall) if fault]
        end = min([len(body), *ends])
        sent = 0
        while sent < end:
            step = min(BLOCK_BYTES, end - sent, max(1, int(rate / 20)) if rate else BLOCK_BYTES)
            self.wfile.write(body[sent : sent + step])
            sent += step
            self.seen["sent"] = sent
            if rate and over.wait(step / rate):
                rate = 0
        if stall:
            over.wait(stall.get("seconds", 3600))
        if cut or stall:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # a client that left is no news
            super().handle_error(request, client_address)


def main(folder: Path) -> None:
    hub = Hub(folder)
    urls = {}
    for side in ("hub", "cdn"):
        handler = type(side, (Handler,), {"hub": hub, "side": side})
        server = Server(("127.0.0.1", 0), handler)
        urls[side] = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.url, hub.cdn_url = urls["hub"], urls["cdn"]
    print(json.dumps({"url": hub.url, "cdn_url": hub.cdn_url}), flush=True)
    sys.stdin.read()  # ends with whoever started us, however it ended


if __name__ == "__main__":
    main(Path(sys.argv[1]))
