"""The playground in a real browser: conversations with `demo`, what is told of each answer, and programs that run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pages
import pytest
from conftest import RunningServer
from playwright.sync_api import Browser, Locator, Page, expect

pytestmark = pages.needs_chromium
PHONE = {"width": 360, "height": 740}
LONG_SCHEMA = json.dumps(pages.LONG)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with pages.chromium() as browser:
        yield browser


@pytest.fixture
def page(chromium: Browser, server: RunningServer) -> Iterator[Page]:
    with pages.opened(chromium, f"{server.url}/playground?model=demo:latest") as page:
        is_ready(page)
        yield page


def is_ready(page: Page) -> None:
    expect(page.locator("body[data-ready]")).to_be_visible(timeout=pages.WAIT_MS)


def setting(page: Page, name: str) -> Locator:
    return page.locator(f"#settings [name={name}]")


def ask(page: Page, text: str) -> Locator:
    """The answer, once it is whole."""
    page.get_by_label("Message", exact=True).fill(text)
    page.keyboard.press("Enter")
    last = page.locator("#log > article").last
    expect(last.get_by_role("button", name="Copy", exact=True)).to_be_visible(timeout=pages.WAIT_MS)
    return last


def test_a_conversation_goes_on_is_told_of_is_kept_and_goes_when_it_is_deleted(page: Page) -> None:
    answer = ask(page, "How do I pull a model?")
    expect(answer.locator(".text")).to_contain_text("pull")
    facts = answer.locator(".facts").inner_text()
    for fact in ("ran on", "CPU", "because", "first token", "tokens/s", "energy"):
        assert fact in facts, facts
    expect(answer.locator("summary", has_text="Thoughts")).to_be_visible()
    assert not answer.locator(".thoughts > div").is_visible(), "thoughts are folded"
    ask(page, "And how do I remove one?")
    assert page.locator("#log > article").count() == 4
    page.locator("#log > article").last.get_by_role("button", name="Regenerate").click()
    expect(page.locator("#log > article").last.get_by_role("button", name="Copy", exact=True)).to_be_visible()
    assert page.locator("#log > article").count() == 4

    page.reload()
    is_ready(page)
    assert page.locator("#log > article").count() == 4
    with page.expect_download() as saved:
        page.get_by_role("button", name="Export").click()
    exported = json.loads(Path(saved.value.path()).read_text("utf-8"))
    assert [message["role"] for message in exported["messages"]] == ["user", "assistant"] * 2
    page.get_by_role("button", name="New conversation").click()
    assert page.locator("#log > article").count() == 0
    page.get_by_role("button", name="Delete “How do I pull a model?”").click()
    page.keyboard.press("Escape")
    assert page.evaluate("localStorage.getItem('npuproxy.conversations')") != "[]", "it was not meant"
    page.get_by_role("button", name="Delete “How do I pull a model?”").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete it").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert page.evaluate("localStorage.getItem('npuproxy.conversations')") == "[]"


def test_the_energy_of_an_answer_is_the_servers_own_with_where_it_is_from(
    server: RunningServer, page: Page
) -> None:
    with page.expect_response(re.compile("/playground/energy")) as told:
        answer = ask(page, "How do I pull a model?")
    known = told.value.json()
    request_id = told.value.url.partition("id=")[2]
    line = next(line for line in server.log().splitlines() if request_id in line)
    assert f"energy_source={known['energy_source']}" in line
    shown = answer.locator(".facts > div").filter(has_text="energy").locator("dd").inner_text()
    assert known["energy_source"] in shown
    if known["energy_j"] is not None:
        assert re.fullmatch(r"[\d.e-]+ J/token, [\d.]+ J (measured|estimated)", shown), shown


def test_an_answer_is_stopped_in_its_middle_and_the_server_is_told(server: RunningServer, page: Page) -> None:
    setting(page, "format").select_option("schema")
    setting(page, "schema").fill(LONG_SCHEMA)
    page.get_by_label("Message", exact=True).fill("Go on and on")
    page.get_by_role("button", name="Send").click()
    text = page.locator("#log > article").last.locator(".text")
    pages.until(lambda: len(text.inner_text()) > 20, page)
    page.get_by_role("button", name="Stop").click()
    last = page.locator("#log > article").last
    expect(last.get_by_text("stopped", exact=True)).to_be_visible(timeout=pages.WAIT_MS)
    assert len(text.inner_text()) < 900
    pages.until(lambda: "status=499" in server.log(), page)


def test_a_schema_holds_a_tool_is_called_and_its_result_is_given_back(page: Page) -> None:
    setting(page, "think").select_option("off")
    setting(page, "format").select_option("schema")
    answer = ask(page, "How do I pull a model?")
    assert set(json.loads(answer.locator(".text").inner_text())) == {"answer"}

    page.get_by_role("button", name="New conversation").click()
    setting(page, "format").select_option("")
    weather = {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    }
    setting(page, "tools").fill(json.dumps([{**weather, "description": "Current weather of a city"}]))
    answer = ask(page, "What is the weather in Paris?")
    expect(answer.locator(".call strong")).to_have_text("get_weather")
    expect(answer.locator(".call code")).to_contain_text("Paris")
    answer.get_by_label("Result of get_weather").fill("18 degrees, sunny")
    answer.get_by_role("button", name="Send result").click()
    expect(page.locator("#log > article")).to_have_count(4, timeout=pages.WAIT_MS)
    last = page.locator("#log > article").last
    expect(last.get_by_role("button", name="Copy", exact=True)).to_be_visible(timeout=pages.WAIT_MS)
    expect(last.locator(".text")).not_to_be_empty()


def test_the_programs_for_an_answer_give_that_answer(page: Page) -> None:
    """With a quote in the question, a system prompt, options and a device."""
    setting(page, "system").fill("Be brief; don't guess.")
    setting(page, "temperature").fill("0")
    setting(page, "device").select_option("CPU")
    setting(page, "think").select_option("off")
    answer = ask(page, 'How do I "pull" a model, and what\'s its size?')
    told = answer.locator(".text").inner_text()
    answer.locator("summary", has_text="Code").click()
    languages = {"curl": ["bash", "-c"], "Python": [sys.executable, "-W", "ignore", "-c"]}
    if node := shutil.which("node"):
        languages["JavaScript"] = [node, "--input-type=module", "-e"]
    for language, runs in languages.items():
        answer.get_by_label("Language").select_option(language)
        program = answer.locator(".programs code").inner_text()
        done = subprocess.run([*runs, program], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, (program, done.stderr)
        found = json.loads(done.stdout)["message"]["content"] if language == "curl" else done.stdout
        assert _words(found) == _words(told), program


def _words(text: str) -> str:
    return re.sub(r"[\s`*]+", " ", text).strip()


HOSTILE = """<img src=x onerror="alert(1)"> [a](javascript:alert(1)) [b](https://example.org/?q="><script>) **bold**
- `<b>` <script>alert(1)</script>
  1. deeper

```html
<iframe src="https://example.org"></iframe>
```
https://example.org/page and data:text/html,x"""


def test_what_a_model_writes_is_drawn_as_text_and_links_lead_to_the_web_alone(page: Page) -> None:
    kept = [{"id": "1", "title": "<b>x</b>", "at": 1, "messages": [
        {"role": "user", "content": "<script>alert(1)</script>"},
        {"role": "assistant", "content": HOSTILE, "thinking": "<b>t</b>", "facts": {"reason": "<i>r</i>", "ttft_s": 1}},
        {"role": "tool", "tool_name": "<u>n</u>", "content": "<img src=x>"},
    ]}]  # fmt: skip
    page.evaluate("kept => localStorage.setItem('npuproxy.conversations', kept)", json.dumps(kept))
    page.reload()
    is_ready(page)
    log = page.locator("#log")
    assert log.locator("img, script, iframe, b, i, u").count() == 0
    assert [link.get_attribute("href") for link in log.locator("a").all()] == [
        'https://example.org/?q="><script>',
        "https://example.org/page",
    ]
    assert log.locator(".text li li").inner_text() == "deeper"
    assert log.locator("strong", has_text="bold").count() == 1
    assert log.locator("pre code").inner_text() == '<iframe src="https://example.org"></iframe>'


def test_texts_are_compared(page: Page) -> None:
    page.get_by_role("tab", name="Chat").focus()
    page.keyboard.press("ArrowRight")
    page.get_by_label("Texts, one a line").fill("a dog\na puppy\nthe stock market")
    page.get_by_role("button", name="Compare").click()
    cells = page.locator(".heat tbody td")
    expect(cells).to_have_count(9, timeout=pages.WAIT_MS)
    values = [float(text) for text in cells.all_inner_texts()]
    assert values[0] == values[4] == values[8] == 1.0
    assert values[1] > values[2] + 0.2
    expect(page.get_by_text("384 numbers each")).to_be_visible()
    expect(page.get_by_text(re.compile(r"energy (unknown|[\d.]+ J (measured|estimated))"))).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_kept_out_and_a_phone_need_not_be_swiped_sideways(
    server: RunningServer, chromium: Browser, scheme: str
) -> None:
    url = f"{server.url}/playground?model=demo:latest"
    with pages.opened(chromium, url, color_scheme=scheme, viewport=PHONE) as page:
        is_ready(page)
        answer = ask(page, "How do I pull a model?")
        answer.locator("summary", has_text="Code").click()
        assert pages.barriers(page) == []
        assert not pages.is_too_wide(page)
        page.get_by_role("tab", name="Embeddings").click()
        page.get_by_role("button", name="Compare").click()
        expect(page.locator(".heat")).to_be_visible(timeout=pages.WAIT_MS)
        assert pages.barriers(page) == []
        assert not pages.is_too_wide(page)


def test_without_a_script_it_says_so(server: RunningServer, chromium: Browser) -> None:
    with pages.opened(chromium, f"{server.url}/playground", java_script_enabled=False) as page:
        expect(page.get_by_text("The playground needs a script")).to_be_visible()
        expect(page.locator("pre.nojs")).to_contain_text(f"curl {server.url}/api/chat")
