"""Models in admin: the list, a model's page, and the actions, which run in an engine with real workers."""

from __future__ import annotations

import asyncio
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from inference import engine
from inference.config import EngineConfig
from registry import builtin
from registry.models import Model

LIST = "/admin/registry/model/"
pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(client: Client) -> Client:
    """Signed in as the first user; demo and all-minilm are there."""
    builtin.sync_builtin_models()
    client.force_login(get_user_model().objects.create_superuser("admin"))
    return client


@pytest.fixture(scope="module")
def running_engine() -> Iterator[engine.Engine]:
    """An engine on a loop in a thread of its own, as admin's requests meet it in the server."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = engine.Engine(EngineConfig(device="CPU"))
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(30)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@pytest.fixture
def in_the_server(running_engine: engine.Engine) -> Iterator[engine.Engine]:
    engine.install(running_engine)
    yield running_engine
    engine.install(None)


def act(client: Client, action: str, *names: str) -> str:
    """Run an action on these models as the page's form does; the page that follows."""
    selected = [Model.objects.get(name=name).pk for name in names]
    answer = client.post(LIST, {"action": action, "_selected_action": selected}, follow=True)
    return page(answer)


def page(answer: Any) -> str:
    assert answer.status_code == 200
    return str(answer.content.decode()).replace("\xa0", " ")


def cells(text: str, column: str) -> list[str]:
    """The words of a column, from the top."""
    found = re.findall(rf'<td class="field-{column}">(.*?)</td>', text, re.DOTALL)
    return [re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", cell)).strip() for cell in found]


def test_the_list_says_what_each_model_is_and_that_its_place_is_unknown_without_a_server(
    admin: Client,
) -> None:
    text = page(admin.get(LIST))
    for fact in ("demo:latest", "all-minilm:latest", "INT8", ">tools<", ">embedding<", "22.6M", "4,096"):
        assert fact in text
    assert cells(text, "runs_on") == ["unknown", "unknown"]


def test_a_model_s_page_shows_its_files_and_can_be_neither_changed_nor_deleted(admin: Client) -> None:
    row = Model.objects.get(name="demo:latest")
    text = page(admin.get(f"{LIST}{row.pk}/change/"))
    assert row.digest in text
    assert all(name in text and sha256 in text for name, (_, sha256) in row.files.items())
    assert "<textarea" not in text
    assert admin.get(f"{LIST}{row.pk}/delete/").status_code == 403
    assert admin.get(f"{LIST}add/").status_code == 403
    admin.post(f"{LIST}{row.pk}/change/", {"name": "other:latest"})
    assert Model.objects.get(pk=row.pk).name == "demo:latest"


def test_a_stranger_is_sent_to_sign_in(client: Client) -> None:
    answer = client.get(LIST)
    assert answer.status_code == 302
    assert "/login/" in answer.headers["Location"]


def test_verify_tells_good_models_from_damaged_ones_and_names_the_file(admin: Client, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(builtin.ROOT / "demo", tmp_path / "demo"))
    (copy / "tokenizer.json").write_text("{}")
    Model.objects.filter(name="demo:latest").update(path=str(copy))
    text = act(admin, "verify", "demo:latest", "all-minilm:latest")
    assert "Damaged files of demo:latest: tokenizer.json has 2 bytes instead of" in text
    assert "files of all-minilm:latest are good" in text


@pytest.mark.parametrize("action", ["load", "unload"])
def test_loading_without_a_server_says_what_to_do(admin: Client, action: str) -> None:
    assert "Models load in the server: start it with `serve`" in act(admin, action, "demo:latest")


def test_load_and_unload_run_in_the_engine_and_the_list_shows_where(
    admin: Client, in_the_server: engine.Engine
) -> None:
    text = act(admin, "load", "demo:latest")
    assert "Loaded demo:latest on CPU" in text
    assert sorted(cells(text, "runs_on")) == ["CPU", "not loaded"]
    assert [model.name for model in in_the_server.snapshot().models] == ["demo:latest"]
    assert "Unloaded demo:latest" in act(admin, "unload", "demo:latest")
    assert in_the_server.snapshot().models == ()
    assert "demo:latest was not loaded" in act(admin, "unload", "demo:latest")


def test_a_model_that_cannot_load_says_why(
    admin: Client, in_the_server: engine.Engine, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(builtin.ROOT / "demo", tmp_path / "demo"))
    (copy / "openvino_model.bin").unlink()
    Model.objects.filter(name="demo:latest").update(path=str(copy), digest="b" * 64)
    text = act(admin, "load", "demo:latest")
    assert (
        "Failed for demo:latest: model &#x27;demo:latest&#x27; is damaged: openvino_model.bin is missing"
        in text
    )
    assert str(tmp_path) not in text.partition('<ul class="messagelist">')[2].partition("</ul>")[0]
