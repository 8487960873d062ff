"""A template of unknown origin can harm nobody: not by time, not by memory, not by reaching out of its sandbox."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from chat_templates import CHAT, USER, rendered, template_spec

from inference.chat_template import ChatTemplate
from inference.errors import BadRequest
from inference.template_threads import THREADS, RenderTimeout, TemplateThreads
from inference.types import ChatRequest, Message

ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
TOO_LARGE = "more text than any prompt needs"


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ messages.append(1) }}", "unsafe"),
        ("{{ raise_exception('only one system message') }}", "only one system message"),
        ("{{ messages[0].nothing.more }}", "nothing"),
        ("{% include 'x' %}", "no loader"),
        ("{{ 'a' * 10 ** 9 }}", TOO_LARGE),
        ("{{ ['a'] * 10 ** 9 }}", TOO_LARGE),
        ("{{ 10 ** 9 * 'a' }}", TOO_LARGE),
        ("{{ 9 ** 99999999 }}", TOO_LARGE),
        (
            "{% set n = namespace(v='aaaa') %}{% for i in range(60) %}{% set n.v = n.v ~ n.v %}{% endfor %}",
            TOO_LARGE,
        ),
        (
            "{% set n = namespace(v='aaaa') %}{% for i in range(60) %}{% set n.v = n.v + n.v %}{% endfor %}",
            TOO_LARGE,
        ),
        (
            "{% set n = namespace(v=[1]) %}{% for i in range(60) %}{% set n.v = [n.v, n.v] %}{% endfor %}",
            TOO_LARGE,
        ),
        (
            "{% set n = namespace(v=1) %}{% for i in range(60) %}{% set n.v = {'a': n.v, 'b': n.v} %}{% endfor %}",
            TOO_LARGE,
        ),
        (
            "{% set n = namespace(v=1) %}{% for i in range(60) %}{% set n.v = (n.v, n.v) %}{% endfor %}",
            TOO_LARGE,
        ),
        (
            "{% set n = namespace(v=1) %}{% for i in range(60) %}{% set n.v = dict(a=n.v, b=n.v) %}{% endfor %}",
            TOO_LARGE,
        ),
        (
            "{% set n = namespace(v='aaaa') %}{% for i in range(60) %}{% set x %}{{ n.v }}{{ n.v }}{% endset %}"
            "{% set n.v = x %}{% endfor %}",
            TOO_LARGE,
        ),
        ("{% set a = 'a' * 99999 %}{{ a | replace('a', a) }}", TOO_LARGE),
        ("{% set a = 'a' * 99999 %}{{ a.replace('a', a) }}", TOO_LARGE),
        ("{% set a = 'a' * 99999 %}{{ a.join(range(99999)) }}", TOO_LARGE),
        ("{% set a = 'a' * 99999 %}{{ range(99999) | join(a) }}", TOO_LARGE),
        ("{% set a = 'a\\n' * 99999 %}{{ a | indent(9999) }}", TOO_LARGE),
        ("{% for i in range(99999) %}{{ 'a' * 9999 }}{% endfor %}", TOO_LARGE),
        ("{% for i in range(9999) %}{% set x = 'a'.ljust(99999) %}{% endfor %}", TOO_LARGE),
        ("{% for i in range(99999) %}" + "a" * 1_000 + "{% endfor %}", TOO_LARGE),
        ("{{ 'a' | center(10 ** 9) }}", "above 100000"),
        ("{{ 'a'.ljust(10 ** 9) }}", "above 100000"),
        ("{{ range(10 ** 9) }}", "above 100000"),
        ("{{ '%999999999d' % 1 }}", "too wide"),
        ("{{ '%*d' % (999999999, 1) }}", "too wide"),
        ("{{ '%999999999d' | format(1) }}", "too wide"),
        ("{{ '{:999999999}'.format(1) }}", "too wide"),
        ("{{ '{:{}}'.format(1, 999) }}", "too wide"),
        ("{{ {} | tojson(indent=99999) }}", "indent"),
        ("{{ 'a'.translate({97: 'b'}) }}", "unsafe"),
        ("{{ (1).to_bytes(9, 'big') }}", "unsafe"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "recursion"),
    ],
)
def test_a_template_that_means_harm_is_refused(tmp_path: Path, template: str, fault: str) -> None:
    with pytest.raises(BadRequest, match="chat template of model 'm:latest' failed") as error:
        rendered(tmp_path, template)
    assert fault in str(error.value)


@pytest.mark.parametrize(
    "template",
    ["{% if %}", "{{ x y }}", "{% nothing %}", "{{ 1 | nofilter }}", "{{ " + "(" * 9_999, "x" * 600_000],
)
def test_a_template_that_does_not_compile_is_refused_when_it_is_opened(tmp_path: Path, template: str) -> None:
    with pytest.raises(BadRequest, match="chat template of model 'm:latest' failed"):
        ChatTemplate.open(template_spec(tmp_path, template))


def test_a_namespace_does_not_show_what_holds_itself(tmp_path: Path) -> None:
    knot = "{% set n = namespace() %}{% for i in range(60) %}{% set n.a = n %}{% set n.b = n %}{% endfor %}{{ n }}"
    assert rendered(tmp_path, knot).text == "<Namespace>"


def test_a_large_prompt_is_not_a_large_template(tmp_path: Path) -> None:
    messages = tuple(Message(role="user", content="word " * 20_000) for _ in range(20))
    text = rendered(tmp_path, CHAT, messages).text
    assert len(text) > 2_000_000


def test_an_endless_template_is_given_up_on_and_harms_no_other(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    endless = "{% if messages[0].content == 'loop' %}" + ENDLESS + "{% endif %}ok"
    bad, good = (
        ChatTemplate.open(template_spec(tmp_path / name, text))
        for name, text in (("a", endless), ("b", CHAT))
    )

    async def scenario() -> None:
        loop = ChatRequest(model="m", messages=(Message(role="user", content="loop"),))
        renders = [asyncio.create_task(bad.render(loop, False)) for _ in range(THREADS - 1)]
        await asyncio.sleep(0.1)
        assert (await good.render(ChatRequest(model="m", messages=USER), False)).text.endswith(
            "<|assistant|>"
        )
        assert not any(task.done() for task in renders)
        for result in await asyncio.gather(*renders, return_exceptions=True):
            assert isinstance(result, BadRequest)
            assert "did not end within 2 s" in str(result)
        assert (await bad.render(ChatRequest(model="m", messages=USER), False)).text == "ok"

    asyncio.run(scenario())


def _endless(stopped: threading.Event) -> Callable[[], None]:
    def work() -> None:
        try:
            while True:
                time.sleep(0)
        finally:
            stopped.set()

    return work


def test_work_that_does_not_end_is_interrupted_and_its_thread_replaced() -> None:
    async def scenario() -> None:
        threads, stopped = TemplateThreads(seconds=0.1), [threading.Event() for _ in range(2 * THREADS)]
        works = [threads.run(_endless(event)) for event in stopped]
        results = await asyncio.gather(*works, return_exceptions=True)
        assert [type(result) for result in results] == [RenderTimeout] * len(stopped)
        assert all(event.wait(10) for event in stopped)
        assert await threads.run(lambda: "after") == "after"

    asyncio.run(scenario())


def test_work_is_ended_although_nobody_waits_for_it_any_more() -> None:
    async def scenario() -> None:
        threads, stopped = TemplateThreads(seconds=0.1), threading.Event()
        task = asyncio.create_task(threads.run(_endless(stopped)))
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        assert await asyncio.to_thread(stopped.wait, 10)

    asyncio.run(scenario())


def test_what_the_work_raises_reaches_who_waits() -> None:
    def work() -> None:
        raise KeyError("x")

    threads = TemplateThreads()
    with pytest.raises(KeyError):
        threads.run_blocking(work)
    with pytest.raises(KeyError):
        asyncio.run(threads.run(work))
    assert threads.run_blocking(lambda: 5) == 5


def test_blocking_work_is_given_up_on_too() -> None:
    stopped = threading.Event()
    with pytest.raises(RenderTimeout):
        TemplateThreads(seconds=0.1).run_blocking(_endless(stopped))
    assert stopped.wait(10)


def test_work_that_ended_in_time_is_left_alone_although_its_caller_had_gone() -> None:
    async def scenario() -> None:
        faults: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        threads, ended = TemplateThreads(seconds=0.1), threading.Event()

        def work() -> threading.Thread:
            ended.wait(5)
            return threading.current_thread()

        task = asyncio.create_task(threads.run(work))
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.wait([task])
        ended.set()
        await asyncio.sleep(0.2)
        assert await threads.run(work) is await threads.run(work)
        assert faults == []

    asyncio.run(scenario())
