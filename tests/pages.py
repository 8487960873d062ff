"""The pages in Chromium, steered by Playwright; and what a page must never do.

with pages.chromium() as browser, pages.opened(browser, url) as page:
    page.get_by_role("button", name="Send").click()
"""

from __future__ import annotations

import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import browser as installed
import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from conftest import RunningServer
from playwright.sync_api import Browser, Page, sync_playwright

WAIT_MS = 30_000.0
needs_chromium = pytest.mark.skipif(
    not (installed.program() or os.environ.get("CI")),
    reason="no Chromium here: the pages were not seen",
)
HELLO = [{"role": "user", "content": "How do I pull a model?"}]
LONG = {"type": "string", "pattern": "[a-z]{990}"}
"""As the format of an answer: it takes seconds, whatever the model."""


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=installed.program(), args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, url: str, **context: Any) -> Iterator[Page]:
    """A page with a storage of its own; it fails where a script failed or the page's policy was broken.

    `context`: of `Browser.new_context`.
    """
    faults: list[str] = []
    made = browser.new_context(**context)
    made.set_default_timeout(WAIT_MS)
    page = made.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if _is_fault(said.text) else None)
    page.goto(url)
    yield page
    made.close()
    assert faults == []


def _is_fault(text: str) -> bool:
    return "Content Security Policy" in text or "Trusted" in text or "violates" in text


def until(condition: Callable[[], bool], page: Page, what: str = "") -> None:
    """Playwright's own waiting for a function is what the page's policy forbids."""
    for _ in range(int(WAIT_MS / 100)):
        if condition():
            return
        page.wait_for_timeout(100)
    raise AssertionError(
        what or f"not within {WAIT_MS / 1000:.0f} s; {page.locator('body').inner_text()[:2000]}"
    )


def barriers(page: Page) -> list[str]:
    """What keeps people out, by axe's rules."""
    found = Axe().run(page).response["violations"]
    return [f"{rule['id']}: {[node['target'] for node in rule['nodes']]}" for rule in found]


def is_too_wide(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


def chat(server: RunningServer, request_id: str = "", **fields: Any) -> dict[str, Any]:
    """Of /api/chat, whatever its status."""
    return post(
        server, "/api/chat", {"messages": HELLO, "stream": False, "think": False, **fields}, request_id
    )


def post(server: RunningServer, path: str, fields: dict[str, Any], request_id: str = "") -> dict[str, Any]:
    """To `demo`; the body of the answer, whatever its status."""
    headers = {"X-Request-ID": request_id} if request_id else {}
    body = json.dumps({"model": "demo", **fields}).encode()
    request = urllib.request.Request(server.url + path, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            found: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            found = json.load(error)
    return found


@contextmanager
def long_request(server: RunningServer, request_id: str) -> Iterator[list[dict[str, Any]]]:
    """Under way inside, for long on any machine; what came of it is in the list behind it."""
    schema = {"type": "json_schema", "json_schema": {"name": "long", "schema": LONG}}
    many = {"messages": HELLO, "n": 32, "response_format": schema, "reasoning_effort": "none"}
    post(
        server, "/v1/chat/completions", {**many, "n": 1, "max_tokens": 1}
    )  # its grammar is known from now on
    answers: list[dict[str, Any]] = []

    def ask() -> None:
        with suppress(OSError):
            answers.append(post(server, "/v1/chat/completions", many, request_id))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        thread.join(120)
