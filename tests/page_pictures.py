"""The pictures of the README, taken from a real server: `python tests/page_pictures.py`.

It writes docs/pictures/*.png, each below MOST_BYTES.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pages
from conftest import ROOT, RunningServer, start_server
from PIL import Image
from playwright.sync_api import Browser, Page

FOLDER = ROOT / "docs" / "pictures"
MOST_BYTES = 120_000
DESKTOP, TALL, PHONE = ({"width": 1180, "height": height} for height in (850, 1180, 780))
PHONE["width"] = 390
_QUESTIONS = (
    "How do I pull a model?",
    "Which devices are there?",
    "How do I set the port?",
    "What is keep_alive?",
)


def _busy(server: RunningServer) -> None:
    """Some requests that have ended, on both devices."""
    for device in ("NPU", "CPU"):
        pages.post(server, "/api/generate", {"options": {"device": device}, "stream": False})
    for question in _QUESTIONS:
        pages.chat(server, messages=[{"role": "user", "content": question}])
    pages.chat(server, messages=[{"role": "user", "content": "Hello"}], options={"device": "CPU"})
    pages.post(server, "/api/embed", {"model": "all-minilm", "input": ["a text", "another one"]})


def _save(page: Page, name: str) -> None:
    """In few colours: flat pages need no more."""
    picture = Image.open(io.BytesIO(page.screenshot()))
    path = FOLDER / f"{name}.png"
    picture.convert("RGB").quantize(192, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size:,} bytes")
    assert path.stat().st_size < MOST_BYTES


@contextmanager
def _status(browser: Browser, server: RunningServer, **context: Any) -> Iterator[Page]:
    with pages.opened(browser, server.url, **context) as page:
        page.locator("#link[data-state=live]").wait_for()
        with pages.long_request(server, "agent-17"):
            page.locator("[data-rows=running] [data-text=state]", has_text="answering").first.wait_for()
            page.wait_for_timeout(3500)
            yield page


def _conversation(browser: Browser, server: RunningServer, **context: Any) -> None:
    url = f"{server.url}/playground?model=demo:latest"
    with pages.opened(browser, url, viewport=DESKTOP, **context) as page:
        page.locator("body[data-ready]").wait_for()
        for question in _QUESTIONS[:2]:
            page.get_by_label("Message", exact=True).fill(question)
            page.keyboard.press("Enter")
            page.locator("#log > article").last.get_by_role("button", name="Regenerate").wait_for()
        page.locator("#log").evaluate("log => log.scrollTo(0, 0)")
        _save(page, "playground")


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, pages.chromium() as browser:
        server = start_server(Path(folder), NPU_PROXY_NPU_EMULATION="true").wait_until_ready()
        try:
            _busy(server)
            _conversation(browser, server)
            with _status(browser, server, viewport=TALL) as page:
                _save(page, "status")
            with _status(browser, server, viewport=TALL, color_scheme="dark") as page:
                _save(page, "dark")
            with _status(browser, server, viewport=PHONE) as page:
                _save(page, "phone")
        finally:
            server.stop()


if __name__ == "__main__":
    main()
