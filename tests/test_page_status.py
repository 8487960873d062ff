"""The status page in a real browser: live, with its buttons, for everybody's eyes, and proof against hostile names."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import hub_repositories as repositories
import pages
import pytest
from conftest import RunningServer, Serve, start_server
from hub_process import Hub
from playwright.sync_api import Browser, Page, expect
from workers import worker_of

pytestmark = pages.needs_chromium
PHONE = {"width": 360, "height": 740}
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with pages.chromium() as browser:
        yield browser


@pytest.fixture
def page(chromium: Browser, server: RunningServer) -> Iterator[Page]:
    with pages.opened(chromium, server.url) as page:
        is_live(page)
        yield page


def is_live(page: Page) -> None:
    expect(page.locator("#link[data-state=live]")).to_be_visible(timeout=pages.WAIT_MS)


def test_a_request_is_seen_under_way_is_stopped_there_and_its_client_is_told(
    server: RunningServer, page: Page
) -> None:
    with pages.long_request(server, "page-long") as answers:
        running = page.locator("[data-rows=running] > [data-key]").filter(has_text="page-long")
        expect(running.locator("[data-text=state]")).to_have_text("answering", timeout=pages.WAIT_MS)
        before = running.locator("[data-text=tokens]").inner_text()
        expect(running.locator("[data-text=tokens]")).not_to_have_text(before, timeout=pages.WAIT_MS)
        running.get_by_role("button", name="Stop page-long").click()
        expect(running).to_have_count(0, timeout=pages.WAIT_MS)
    assert "ended by the operator" in answers[0]["error"]["message"]
    ended = page.locator("[data-rows=requests] > tr").filter(has_text="page-long")
    expect(ended.locator("[data-text=status]")).to_have_text("403", timeout=pages.WAIT_MS)
    assert pages.chat(server)["done"], "the device is free again"


def test_a_model_is_loaded_and_unloaded_and_a_killed_worker_is_seen_to_die_and_to_come_back(
    server: RunningServer, page: Page
) -> None:
    model = page.locator("[data-rows=models] > [data-key='demo:latest']")
    worker = model.locator("[data-rows=workers] > [data-key]")
    if worker.count() == 0:
        model.get_by_role("button", name="Load demo:latest", exact=True).click()
    expect(worker.locator("[data-tag]").first).to_have_text("CPU", timeout=pages.WAIT_MS)
    assert re.search(r"leaves in \d min|running", worker.first.inner_text())
    first = worker.first.get_attribute("data-key")
    crash = model.locator("[data-rows=crashes] > [data-key=CPU]")
    device = page.locator("[data-rows=devices] > [data-key=CPU] [data-text=deaths]")
    before = device.text_content()
    worker_of(server).send_signal(signal.SIGKILL)
    expect(crash.locator("[data-text=state]")).to_have_text("died on CPU", timeout=pages.WAIT_MS)
    expect(crash.locator("[data-text=words]")).to_contain_text("the next request restarts it")
    expect(worker).to_have_count(0)
    expect(device).not_to_have_text(before or "")
    pages.chat(server)
    expect(crash.locator("[data-text=state]")).to_have_text("restarted on CPU", timeout=pages.WAIT_MS)
    expect(crash.locator("[data-text=words]")).to_contain_text("another was ready at")
    expect(worker.locator("[data-tag]").first).to_have_text("CPU", timeout=pages.WAIT_MS)
    assert worker.first.get_attribute("data-key") != first
    model.get_by_role("button", name="Unload demo:latest").click()
    expect(worker).to_have_count(0, timeout=pages.WAIT_MS)


def test_a_model_that_is_to_stay_is_restarted_unasked_and_its_deaths_are_counted(
    server: RunningServer, page: Page
) -> None:
    pages.post(server, "/api/generate", {"keep_alive": -1})
    model = page.locator("[data-rows=models] > [data-key='demo:latest']")
    crash = model.locator("[data-rows=crashes] > [data-key=CPU] [data-text=words]")
    try:
        for _ in range(2):
            before = crash.text_content() if crash.count() else ""
            worker_of(server).send_signal(signal.SIGKILL)
            expect(crash).not_to_have_text(before or "", timeout=pages.WAIT_MS)
            expect(crash).to_contain_text("another was ready at", timeout=pages.WAIT_MS)
            expect(model.locator("[data-rows=workers] [data-text=stays]")).to_have_text("stays")
        expect(crash).to_contain_text(re.compile(r"its worker died \d+ times, last at \d\d:\d\d:\d\d"))
        assert pages.chat(server)["done"], "and the breaker counts from one again"
    finally:
        pages.post(server, "/api/generate", {"keep_alive": "5m"})


def test_the_mode_is_switched_and_every_page_follows(
    server: RunningServer, chromium: Browser, page: Page
) -> None:
    with pages.opened(chromium, server.url) as other:
        is_live(other)
        try:
            page.get_by_label("Efficiency mode").select_option("Quiet")
            expect(other.get_by_label("Efficiency mode")).to_have_value("Quiet", timeout=pages.WAIT_MS)
            expect(other.locator("[data-text=mode_words]")).to_have_text("least fan noise")
        finally:
            page.get_by_label("Efficiency mode").select_option("Auto")
        expect(other.get_by_label("Efficiency mode")).to_have_value("Auto", timeout=pages.WAIT_MS)


def test_what_clients_call_things_is_text_at_first_and_when_it_comes_live(
    server: RunningServer, chromium: Browser, page: Page
) -> None:
    pages.chat(server, "page-hostile", model=HOSTILE)
    live = page.locator("[data-rows=requests] > tr").filter(has_text="page-hostile")
    expect(live.locator("[data-text=model]")).to_have_text(HOSTILE, timeout=pages.WAIT_MS)
    assert page.locator("img[src=x]").count() == 0
    with pages.opened(chromium, server.url, java_script_enabled=False) as plain:
        first = plain.locator("[data-rows=requests] > tr").filter(has_text="page-hostile")
        expect(first.locator("[data-text=model]")).to_have_text(HOSTILE)
        assert plain.locator("img[src=x]").count() == 0


def test_without_a_script_the_page_is_complete_and_has_no_dead_buttons(
    server: RunningServer, chromium: Browser
) -> None:
    with pages.opened(chromium, server.url, java_script_enabled=False) as page:
        text = page.locator("body").inner_text()
        for word in (
            "CPU",
            "demo:latest",
            "all-minilm:latest",
            "Efficiency mode",
            "Auto",
            "Memory of models",
        ):
            assert word in text, word
        assert page.locator("button:visible, select:visible, input:visible").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_kept_out_and_a_phone_need_not_be_swiped_sideways(
    server: RunningServer, chromium: Browser, scheme: str
) -> None:
    pages.chat(server, "page-" + "long-id" * 12)
    with pages.opened(chromium, server.url, color_scheme=scheme, viewport=PHONE) as page:
        is_live(page)
        expect(page.locator("[data-rows=requests] > tr").first).to_be_visible()
        assert pages.barriers(page) == []
        assert not pages.is_too_wide(page)
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert sum(map(int, re.findall(r"\d+", ground))) > 600 if scheme == "light" else True
        assert sum(map(int, re.findall(r"\d+", ground))) < 150 if scheme == "dark" else True
        page.set_viewport_size({"width": 1280, "height": 900})
        assert pages.barriers(page) == []
        page.goto(f"{server.url}/login")
        assert pages.barriers(page) == []


def test_keys_alone_reach_everything(page: Page) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    seen = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        seen.add(
            page.evaluate(
                "document.activeElement.id || document.activeElement.getAttribute('aria-label') || ''"
            )
        )
    assert {"mode", "pull-name"} <= seen


def test_a_pull_is_found_begun_and_watched_to_its_end(
    hub_server: RunningServer, hub: Hub, chromium: Browser
) -> None:
    repositories.chat(hub.root, "tiny/page")
    hub.fault("slow", "openvino_model.bin", rate=512 * 1024)
    with pages.opened(chromium, hub_server.url) as page:
        is_live(page)
        page.get_by_label("Name, repository, or words to search for").fill("page")
        page.get_by_role("button", name="Search", exact=True).click()
        page.get_by_role("button", name="Pull tiny/page").click()
        download = page.locator("[data-rows=downloads] > [data-key]").filter(has_text="tiny/page")
        bar = download.locator("progress")
        pages.until(lambda: download.count() > 0 and 0 < bar.evaluate("one => one.value") < 100, page)
        hub.reset()
        expect(download.locator("[data-text=state]")).to_have_text("done", timeout=pages.WAIT_MS)
        expect(page.locator("[data-rows=models]").get_by_text("tiny/page").first).to_be_visible()


def test_a_pull_is_cancelled_when_that_was_meant_and_is_pulled_again(
    hub_server: RunningServer, hub: Hub, chromium: Browser
) -> None:
    repositories.chat(hub.root, "tiny/cancelled")
    hub.fault("slow", "openvino_model.bin", rate=64 * 1024)
    with pages.opened(chromium, hub_server.url) as page:
        is_live(page)
        page.get_by_label("Name, repository, or words to search for").fill("tiny/cancelled")
        page.get_by_role("button", name="Pull", exact=True).click()
        download = page.locator("[data-rows=downloads] > [data-key]").filter(has_text="tiny/cancelled")
        cancel = download.get_by_role("button", name="Cancel the pull of tiny/cancelled")
        cancel.click()
        assert pages.barriers(page) == []
        page.get_by_role("button", name="No, keep it").click()
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(download.locator("[data-text=state]")).to_have_text("running")
        cancel.click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel the pull").click()
        expect(download.locator("[data-text=state]")).to_have_text("cancelled", timeout=pages.WAIT_MS)
        expect(cancel).to_be_hidden()
        hub.reset()
        download.get_by_role("button", name="Pull again tiny/cancelled").click()
        expect(download.locator("[data-text=state]").first).to_have_text("done", timeout=pages.WAIT_MS)


def test_it_says_that_it_is_not_connected_and_finds_the_server_again(
    serve: Serve, chromium: Browser, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    first = serve(NPU_PROXY_PORT=port, NPU_PROXY_DATA_DIR=str(tmp_path / "data"))
    with pages.opened(chromium, first.url) as page:
        is_live(page)
        pages.chat(first, "page-before")
        old = page.locator("[data-rows=requests] > tr").filter(has_text="page-before")
        expect(old).to_have_count(1, timeout=pages.WAIT_MS)
        first.stop()
        expect(page.get_by_text("not connected")).to_be_visible(timeout=pages.WAIT_MS)
        again = start_server(
            tmp_path / "again", NPU_PROXY_PORT=port, NPU_PROXY_DATA_DIR=str(tmp_path / "data")
        )
        try:
            again.wait_until_ready()
            is_live(page)
            expect(old).to_have_count(0, timeout=pages.WAIT_MS)
        finally:
            again.stop()
