"""Admin in a real browser: a model is pulled by its name, its bar moves by itself, and what it became is loaded."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import browser
import hub_repositories as repositories
import pytest
from browser import Page
from conftest import RunningServer, Serve
from hub_process import Hub

pytestmark = pytest.mark.skipif(
    not (browser.program() or os.environ.get("CI")),
    reason="no Chromium here: admin's scripts were not seen to run",
)
WEIGHTS = "openvino_model.bin"
SLOW = 256 * 1024
"""Bytes a second: the 2.5 MB of a tiny model take ten seconds."""
BAR = "document.querySelector('[data-download] progress').value"


@pytest.fixture
def site(serve: Serve, hub: Hub) -> RunningServer:
    return serve(HF_ENDPOINT=hub.url)


@pytest.fixture
def page(site: RunningServer, tmp_path: Path) -> Iterator[Page]:
    """Signed in, with the password that the first start has shown."""
    password = re.search(r"password\W+(\S{12,})", site.log())
    assert password, site.log()
    with browser.running(tmp_path) as page:
        page.open(f"{site.url}/admin/login/?next=/admin/")
        page.evaluate(
            f"document.querySelector('#id_username').value = 'admin'; "
            f"document.querySelector('#id_password').value = '{password[1]}'"
        )
        page.click("input[type=submit]")
        yield page


def test_a_model_comes_while_its_bar_moves_and_runs_at_a_click(
    site: RunningServer, page: Page, hub: Hub
) -> None:
    repositories.chat(hub.root)
    hub.fault("slow", WEIGHTS, rate=SLOW)
    page.open(f"{site.url}/admin/registry/model/")
    page.click(".object-tools .addlink")
    page.evaluate("document.querySelector('#id_name').value = 'tiny/chat'")
    page.click("input[name=look]")
    assert "apache-2.0" in page.evaluate("document.querySelector('.plan').innerText")
    page.click("input[name=pull]")

    page.wait("document.querySelector('[data-state]').innerText === 'running'")
    page.wait(f"{BAR} > 0 && {BAR} < 1")
    before = page.evaluate(BAR)
    page.wait(f"{BAR} > {before}")
    assert "/s" in page.evaluate("document.querySelector('[data-download] span').innerText")
    hub.reset()
    page.wait("document.querySelector('[data-state]').innerText === 'done'")
    page.wait("document.body.innerText.includes('Pull again')")

    page.open(f"{site.url}/admin/registry/model/?q=tiny%2Fchat")
    page.click("#result_list tbody th a")
    page.click("button[value=load]")
    page.wait("document.querySelector('[data-cell=runs_on]').innerText.includes('CPU')")
    page.click("button[value=unload]")
    page.wait("document.querySelector('[data-cell=runs_on]').innerText.includes('not loaded')")
    assert page.faults == []


def test_the_list_of_models_tells_by_itself_what_is_loaded(site: RunningServer, page: Page) -> None:
    page.open(f"{site.url}/admin/registry/model/?q=demo")
    place = "document.querySelector('[data-cell=runs_on]').innerText"
    assert page.evaluate(place) == "not loaded"
    ask = (
        "fetch('/api/generate', {method: 'POST', body: JSON.stringify({model: 'demo'})}).then(a => a.status)"
    )
    assert page.evaluate(ask) == 200
    page.wait(f"{place} === 'CPU'")
    page.evaluate("document.querySelector('.menu button').focus()")
    assert page.evaluate("getComputedStyle(document.querySelector('.menu ul')).display") == "block"
    assert page.faults == []
