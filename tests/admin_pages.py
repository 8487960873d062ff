"""Admin as a browser uses it: signed in, with its form's token, following where it is sent."""

from __future__ import annotations

import asyncio
import html
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client

from inference import engine
from inference.config import EngineConfig

ADMIN = "/admin/registry"


class Browser:
    """One signed-in user. Every answer is the text of a page that came with 200, unless it is asked otherwise."""

    def __init__(self, *permissions: str, name: str = "staff") -> None:
        """Without permissions: a superuser. Else staff with these (`view_model`) alone."""
        self.client = Client(enforce_csrf_checks=True)
        users = get_user_model().objects
        if permissions:
            user = users.create_user(name, is_staff=True)
            user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        else:
            user = users.create_superuser("admin")
        self.client.force_login(user)

    def get(self, path: str, status: int = 200, **query: Any) -> str:
        return _text(self.client.get(ADMIN + path, query), status)

    def post(self, path: str, status: int = 200, form: str = "", **fields: Any) -> str:
        """To `path`, with the token of the page `form`, else of `path` itself."""
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.get(form or path))
        assert token, "no form there"
        data = {"csrfmiddlewaretoken": token[1], **fields}
        return _text(self.client.post(ADMIN + path, data, follow=True), status)

    def act(self, table: str, action: str, *rows: Any, form: str = "", **fields: Any) -> str:
        """An action on these rows; the page that follows."""
        selected = [row.pk for row in rows]
        return self.post(f"/{table}/", form=form, action=action, _selected_action=selected, **fields)


def _text(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.content[:2000]
    return html.unescape(str(answer.content.decode())).replace("\xa0", " ")


def said(page: str) -> list[str]:
    """The messages on top of a page."""
    listed = page.partition('<ul class="messagelist">')[2].partition("</ul>")[0]
    return [
        re.sub(r"\s+", " ", item).strip() for item in re.findall(r"<li[^>]*>(.*?)</li>", listed, re.DOTALL)
    ]


def cells(page: str, column: str) -> list[str]:
    """The words of a column, from the top."""
    found = re.findall(rf'<t[dh] class="field-{column}[^"]*">(.*?)</t[dh]>', page, re.DOTALL)
    return [re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", cell)).strip() for cell in found]


@contextmanager
def engine_in_this_process(**config: Any) -> Iterator[engine.Engine]:
    """On a loop in a thread of its own, as admin's requests meet it in the server."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = engine.Engine(EngineConfig(**{"device": "CPU", **config}))
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(60)
    engine.install(server)
    try:
        yield server
    finally:
        engine.install(None)
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
