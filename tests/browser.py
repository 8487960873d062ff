"""A real browser, steered over its debugging pipe: Chromium where there is one. No driver, no dependency.

with browser.running(tmp_path) as page:
    page.open(url)
    page.evaluate("document.title")
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
DEADLINE_S = 60.0


def program() -> str:
    """'' where no browser is installed."""
    return next((found for name in NAMES if (found := shutil.which(name))), "")


class Page:
    """One tab. Answers and errors come as JSON that ends with a zero byte."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read = write, read
        self._left = b""
        self._id = 0
        self._session = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.faults: list[str] = []
        """Exceptions of the page's scripts."""
        self.call("Page.enable")
        self.call("Runtime.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._id += 1
        message: dict[str, Any] = {"id": self._id, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._id:
                assert "error" not in answer, answer["error"]
                result: dict[str, Any] = answer["result"]
                return result
            if answer.get("method") == "Runtime.exceptionThrown":
                self.faults.append(json.dumps(answer["params"]["exceptionDetails"])[:2000])

    def open(self, url: str) -> None:
        """Waits until the page is whole."""
        self.evaluate("window.before = true")
        self.call("Page.navigate", url=url)
        self.wait("!window.before && document.readyState === 'complete' && location.href !== 'about:blank'")

    def evaluate(self, script: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str, deadline_s: float = DEADLINE_S) -> None:
        """Until it is true in the page."""
        until = time.monotonic() + deadline_s
        while time.monotonic() < until:
            try:
                if self.evaluate(f"Boolean({condition})"):
                    return
            except AssertionError:  # the page is changing
                pass
            time.sleep(0.1)
        raise AssertionError(f"not within {deadline_s} s: {condition}; the page: {self.evaluate(TEXT)}")

    def click(self, selector: str) -> None:
        """And waits for the page that follows."""
        self.evaluate("window.before = true")
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")
        self.wait("!window.before && document.readyState === 'complete'")

    def screenshot(self, path: Path) -> None:
        """The whole page, not only what fits a window."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _next(self) -> dict[str, Any]:
        until = time.monotonic() + DEADLINE_S
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._read], [], [], max(0.0, until - time.monotonic()))
            data = os.read(self._read, 1 << 20) if ready else b""
            assert data, "the browser has ended or does not answer"
            self._left += data
        first, _, self._left = self._left.partition(b"\0")
        message: dict[str, Any] = json.loads(first)
        return message


TEXT = "document.body ? document.body.innerText.slice(0, 2000) : ''"


@contextmanager
def running(folder: Path, dark: bool = False, width: int = 1400, height: int = 900) -> Iterator[Page]:
    """The browser ends with this. It reads its orders from descriptor 3 and answers on 4."""
    to_browser, orders = os.pipe()
    answers, from_browser = os.pipe()

    def adopt() -> None:
        first, second = os.dup(to_browser), os.dup(from_browser)
        os.dup2(first, 3)
        os.dup2(second, 4)

    command = [
        program(), "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
        "--no-first-run", "--disable-extensions", "--disable-dev-shm-usage", "--hide-scrollbars",
        f"--user-data-dir={folder / 'browser'}", f"--window-size={width},{height}",
        *(["--blink-settings=preferredColorScheme=0"] if dark else []), "about:blank",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, preexec_fn=adopt, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(to_browser)
    os.close(from_browser)
    try:
        yield Page(orders, answers)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(orders)
        os.close(answers)
