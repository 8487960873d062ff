"""The pictures of README and docs, taken from a real server and the tests' hub.

`PYTHONPATH=. python tests/page_pictures.py` writes docs/pictures/*.png, each below MOST_BYTES.
"""

from __future__ import annotations

import io
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hub_process
import hub_repositories as repositories
import pages
from conftest import ROOT, RunningServer, start_server
from hub_process import Hub
from PIL import Image
from playwright.sync_api import Browser, Page
from server_rows import manage
from workers import worker_of

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
_USER = """
from django.contrib.auth import get_user_model
get_user_model().objects.create_superuser("keeper", password="for this picture")
"""


def _busy(server: RunningServer) -> None:
    """Some requests that have ended, on both devices."""
    for device in ("NPU", "CPU"):
        pages.post(server, "/api/generate", {"options": {"device": device}, "stream": False})
    for question in _QUESTIONS:
        pages.chat(server, messages=[{"role": "user", "content": question}])
    pages.chat(server, messages=[{"role": "user", "content": "Hello"}], options={"device": "CPU"})
    pages.post(server, "/api/embed", {"model": "all-minilm", "input": ["a text", "another one"]})


def _save(page: Page, name: str, part: str = "") -> None:
    """In few colours: flat pages need no more. `part`: the selector of what is shown alone."""
    page.locator("#said:not(:empty)").wait_for(state="detached")
    if not part:
        page.evaluate("scrollTo(0, 0)")
    shot = page.locator(part).screenshot() if part else page.screenshot()
    picture = Image.open(io.BytesIO(shot))
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


def _moments(browser: Browser, server: RunningServer, hub: Hub) -> None:
    """What happens while the page is open: a pull, a worker that dies, another mode, a server that is gone."""
    with pages.opened(browser, server.url, viewport=DESKTOP) as page:
        page.locator("#link[data-state=live]").wait_for()
        page.get_by_label("Efficiency mode").select_option("Quiet")
        page.locator("[data-text=mode_words]", has_text="least fan noise").wait_for()
        _save(page, "mode")
        page.get_by_label("Efficiency mode").select_option("Auto")
        worker_of(server).send_signal(signal.SIGKILL)
        page.locator("[data-rows=crashes] [data-text=state]", has_text="died on").first.wait_for()
        _save(page, "restart", "section:has(#models-head)")
        _pull(page, hub)
        server.stop()
        page.get_by_text("not connected").wait_for()
        _save(page, "reconnect")


def _pull(page: Page, hub: Hub) -> None:
    repositories.chat(hub.root, "tiny/page")
    hub.fault("slow", "openvino_model.bin", rate=128 * 1024)
    page.get_by_label("Name, repository, or words to search for").fill("tiny/page")
    page.get_by_role("button", name="Pull", exact=True).click()
    bar = page.locator("[data-rows=downloads] > [data-key] progress").first
    bar.wait_for()
    pages.until(lambda: 30 < bar.evaluate("one => one.value") < 100, page)
    _save(page, "pull", "section:has(#downloads-head)")
    hub.reset()
    page.locator("[data-rows=downloads] [data-text=state]", has_text="done").first.wait_for()


def _admin(browser: Browser, server: RunningServer) -> None:
    assert manage(server.data_dir, "shell", "-v", "0", "-c", _USER).returncode == 0
    with pages.opened(browser, f"{server.url}/admin/", viewport=DESKTOP) as page:
        page.get_by_label("Username").fill("keeper")
        page.get_by_label("Password").fill("for this picture")
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("heading", name="What this server knows").wait_for()
        _save(page, "admin")


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name, pages.chromium() as browser:
        folder = Path(name)
        with hub_process.running(folder) as hub:
            server = start_server(folder, NPU_PROXY_NPU_EMULATION="true", HF_ENDPOINT=hub.url)
            try:
                _take(browser, server.wait_until_ready(), hub)
            finally:
                server.stop()


def _take(browser: Browser, server: RunningServer, hub: Hub) -> None:
    _busy(server)
    _conversation(browser, server)
    with _status(browser, server, viewport=TALL) as page:
        _save(page, "status")
    with _status(browser, server, viewport=TALL, color_scheme="dark") as page:
        _save(page, "dark")
    with _status(browser, server, viewport=PHONE) as page:
        _save(page, "phone")
    with pages.opened(browser, server.url, viewport=DESKTOP, java_script_enabled=False) as page:
        _save(page, "plain")
    _admin(browser, server)
    _moments(browser, server, hub)


if __name__ == "__main__":
    main()
