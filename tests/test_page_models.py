"""The playground with a model that looks at images, and with models of another server."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pages
import pytest
import vision_models
from conftest import RunningServer, start_server
from pictures import picture
from playwright.sync_api import Browser, FilePayload, Page, expect
from server_rows import manage

pytestmark = pages.needs_chromium
PASTE = """png => {
  const data = new DataTransfer();
  data.items.add(new File([Uint8Array.from(atob(png), one => one.charCodeAt(0))], "a.png", {type: "image/png"}));
  const pasted = new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true});
  document.getElementById("text").dispatchEvent(pasted);
}"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with pages.chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def front(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """It has the model `eyes`, and the session's server behind it, whose `demo` goes by another name here."""
    folder = tmp_path_factory.mktemp("front")
    eyes = vision_models.make(folder / "eyes")
    running = start_server(folder, CHAT_MODEL_PATH=str(eyes), NPU_PROXY_DEVICE="CPU")
    try:
        running.wait_until_ready()
        added = manage(
            running.data_dir, "backend", "add", "cellar", "--protocol", "ollama", "--url", server.url,
            "--alias", "theirs=demo:latest",
        )  # fmt: skip
        assert added.returncode == 0, added.stderr
        yield running
    finally:
        running.stop()


@pytest.fixture
def page(chromium: Browser, front: RunningServer) -> Iterator[Page]:
    with pages.opened(chromium, f"{front.url}/playground?model=eyes:latest") as page:
        expect(page.locator("body[data-ready]")).to_be_visible(timeout=pages.WAIT_MS)
        yield page


def test_images_are_chosen_and_pasted_where_the_model_sees_them(page: Page) -> None:
    images = page.locator("#ask .images")
    page.locator("#settings [name=model]").select_option("demo:latest")
    expect(images).to_be_hidden()
    page.locator("#settings [name=model]").select_option("eyes:latest")
    expect(images).to_be_visible()
    red, blue = picture("red"), picture("blue")
    chosen: FilePayload = {"name": "a.png", "mimeType": "image/png", "buffer": red}
    page.get_by_label("Add images").set_input_files(chosen)
    page.evaluate(PASTE, base64.b64encode(blue).decode())
    expect(page.locator("#pending img")).to_have_count(2)
    assert pages.barriers(page) == []
    page.get_by_role("button", name="Remove image 2").click()
    expect(page.locator("#pending img")).to_have_count(1)
    page.get_by_label("Message", exact=True).fill("What is this?")
    with page.expect_request("**/api/chat") as sent:
        page.get_by_role("button", name="Send").click()
    (turn,) = json.loads(sent.value.post_data or "")["messages"]
    assert turn == {"role": "user", "content": "What is this?", "images": [base64.b64encode(red).decode()]}
    answer = page.locator("#log > article").last
    expect(answer.get_by_role("button", name="Copy", exact=True)).to_be_visible(timeout=pages.WAIT_MS)
    expect(answer.locator(".text")).to_contain_text("tool_calls")
    shown = page.locator("#log > article").first.locator("img")
    pages.until(lambda: bool(shown.evaluate("one => one.naturalWidth")), page)
    expect(page.locator("#pending img")).to_have_count(0)


KEEP = """async image => {
  const kept = await import("/static/page/conversations.js");
  const messages = [{role: "user", content: "a large one", images: [image]}, {role: "assistant", content: "seen"}];
  return kept.keep({id: "1", title: "", at: 1, messages});
}"""


def test_a_conversation_with_images_that_the_browser_has_no_room_for_is_kept_without_them(page: Page) -> None:
    assert page.evaluate(KEEP, "A" * 1000) == ""
    assert "images" in page.evaluate("localStorage.getItem('npuproxy.conversations')")
    assert "the texts are kept" in page.evaluate(KEEP, "A" * 8_000_000)
    kept = json.loads(page.evaluate("localStorage.getItem('npuproxy.conversations')"))
    assert kept[0]["messages"] == [
        {"role": "user", "content": "a large one"},
        {"role": "assistant", "content": "seen"},
    ]


def test_models_of_another_server_are_listed_under_its_name_and_asked_unless_that_is_forbidden(
    front: RunningServer, page: Page, tmp_path: Path
) -> None:
    group = page.locator("#settings [name=model] optgroup[label='On cellar']")
    for _ in range(20):
        if group.locator("option").count():
            break
        page.wait_for_timeout(500)
        page.reload()
        expect(page.locator("body[data-ready]")).to_be_visible(timeout=pages.WAIT_MS)
    assert "theirs:latest" in group.locator("option").all_inner_texts()
    page.locator("#settings [name=model]").select_option("theirs:latest")
    stay = page.get_by_label("Stay on this machine")
    stay.check()
    page.get_by_label("Message", exact=True).fill("How do I pull a model?")
    page.keyboard.press("Enter")
    last = page.locator("#log > article").last
    expect(last.locator(".bad")).to_contain_text("X-Remote-Allowed", timeout=pages.WAIT_MS)
    stay.uncheck()
    page.get_by_role("button", name="New conversation").click()
    page.get_by_label("Message", exact=True).fill("How do I pull a model?")
    page.keyboard.press("Enter")
    expect(last.get_by_role("button", name="Copy", exact=True)).to_be_visible(timeout=pages.WAIT_MS)
    expect(last.locator(".facts")).to_contain_text("cellar")
    expect(last.locator(".text")).not_to_be_empty()
