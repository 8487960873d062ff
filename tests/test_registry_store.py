"""The rows in memory: when they are read, and that a hit reads nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
from django.db import IntegrityError, connection, connections, transaction
from pytest_django import DjangoDbBlocker

from inference.errors import BadRequest, ModelNotFound
from registry.models import Change, Model, change
from registry.names import CloudRefused
from registry.store import Store
from registry.watching import Watch

T = TypeVar("T")
pytestmark = pytest.mark.django_db(transaction=True)


def make(name: str, **fields: Any) -> Model:
    defaults = {"path": "/models/x", "digest": "0" * 64, "kind": "chat", "context_length": 4096}
    return Model.objects.create(name=name, **(defaults | fields))


@pytest.fixture
def store() -> Iterator[Store]:
    """A store that has read nothing yet."""
    fresh = Store()
    yield fresh
    fresh.close()


def on_a_loop(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run it as the server does: on an event loop in a thread that has no business with the database."""
    found: list[T | BaseException] = []

    def run() -> None:
        try:
            found.append(asyncio.run(asyncio.wait_for(work(), 20)))
            assert connections["default"].connection is None, "the loop's thread opened a database connection"
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    if isinstance(found[-1], BaseException):
        raise found[-1]
    return found[-1]


async def until(condition: Callable[[], object]) -> None:
    """Wait for what a watch brings in; `on_a_loop` bounds it."""
    while not condition():
        await asyncio.sleep(0.01)


@contextmanager
def another_process() -> Iterator[None]:
    """Writes in here reach the database only: no signal tells this process."""
    receivers, change.committed.receivers = change.committed.receivers, []
    change.committed.sender_receivers_cache.clear()
    try:
        yield
    finally:
        change.committed.receivers = receivers
        change.committed.sender_receivers_cache.clear()


@pytest.mark.parametrize("spelling", ["demo", "Demo:LATEST", "library/demo", "demo:local", " demo "])
def test_a_hit_makes_no_query_however_it_is_spelled(
    store: Store, spelling: str, django_db_blocker: DjangoDbBlocker
) -> None:
    make("demo:latest")

    async def find() -> str:
        await store.refresh()
        with django_db_blocker.block():
            return (await store.find(spelling)).name

    assert on_a_loop(find) == "demo:latest"
    with django_db_blocker.block():
        assert store.find_sync(spelling).name == "demo:latest"
        assert [model.name for model in store.all_models()] == ["demo:latest"]


def test_a_write_counts_at_once_while_another_thread_is_in_mid_read(store: Store) -> None:
    make("gone:latest")
    assert len(store.all_models()) == 1
    Model.objects.all().delete()
    begun, go_on = threading.Event(), threading.Event()

    def held(execute: Callable[..., Any], *arguments: Any) -> Any:
        begun.set()
        assert go_on.wait(20)
        return execute(*arguments)

    def read(slowly: bool) -> int:
        try:
            with connection.execute_wrapper(held) if slowly else nullcontext():
                return len(store.all_models())
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as threads:
        slow = threads.submit(read, True)
        assert begun.wait(20)
        quick = threads.submit(read, False)
        wait([quick], timeout=0.2)  # it may end here, with rows of before the deletion, or wait for the other
        go_on.set()
        assert (quick.result(20), slow.result(20)) == (0, 0)


def test_a_miss_queries_and_so_finds_what_another_process_just_installed(store: Store) -> None:

    async def find() -> str:
        await store.refresh()
        with another_process():
            await asyncio.to_thread(make, "new:latest")
            await asyncio.to_thread(connections.close_all)
        return (await store.find("new")).name

    assert on_a_loop(find) == "new:latest"


def test_a_miss_off_the_loop_queries_too(store: Store) -> None:
    assert store.all_models() == []
    with another_process():
        make("new:latest")
    assert store.find_sync("new").name == "new:latest"


def test_an_unknown_model_is_not_found_under_the_spelling_of_the_client(store: Store) -> None:
    with pytest.raises(ModelNotFound, match=r"^model 'Nope:1B' not found$"):
        on_a_loop(lambda: store.find("Nope:1B"))
    with pytest.raises(ModelNotFound, match=r"^model 'Nope:1B' not found$"):
        store.find_sync("Nope:1B")
    with pytest.raises(ModelNotFound, match=r"^model '' not found$"):
        store.find_sync("")


def test_an_invalid_name_and_a_cloud_name_are_refused_without_a_query(
    store: Store, django_db_blocker: DjangoDbBlocker
) -> None:
    with django_db_blocker.block():
        with pytest.raises(BadRequest, match="invalid model name"):
            store.find_sync("../etc")
        with pytest.raises(CloudRefused):
            store.find_sync("gpt-oss:20b-cloud")


def test_a_write_of_this_process_counts_at_once(store: Store) -> None:
    row = make("demo:latest", context_length=100)
    assert store.find_sync("demo").context_length == 100
    row.context_length = 200
    row.save()
    assert store.find_sync("demo").context_length == 200
    assert on_a_loop(lambda: store.find("demo")).context_length == 200
    row.delete()
    with pytest.raises(ModelNotFound):
        on_a_loop(lambda: store.find("demo"))
    assert store.all_models() == []


def test_the_watch_brings_in_what_another_process_changed(store: Store) -> None:
    row = make("demo:latest", context_length=100)

    async def follow() -> int:
        await store.refresh()
        watching = asyncio.create_task(Watch(store.follow).run(0.01))
        with another_process():
            await asyncio.to_thread(Model.objects.filter(pk=row.pk).update, context_length=200)
            await asyncio.to_thread(connections.close_all)
        await until(lambda: store.all_models()[0].spec.context_length != 100)
        watching.cancel()
        return store.all_models()[0].spec.context_length

    assert on_a_loop(follow) == 200


def test_the_watch_outlives_a_database_that_fails_and_the_rows_stay(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    make("demo:latest")

    def rename(old: str, new: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")
        connections.close_all()

    async def follow() -> None:
        await store.refresh()
        watching = asyncio.create_task(Watch(store.follow).run(0.01))
        await asyncio.to_thread(rename, "registry_change", "registry_away")
        try:
            await until(lambda: caplog.records)
            assert (await store.find("demo")).name == "demo:latest"
        finally:
            await asyncio.to_thread(rename, "registry_away", "registry_change")
        await asyncio.to_thread(make, "second:latest")
        await asyncio.to_thread(connections.close_all)
        await until(lambda: len(store.all_models()) == 2)
        assert not watching.done()
        watching.cancel()

    on_a_loop(follow)
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_connection_that_died_is_replaced_before_anyone_notices(store: Store) -> None:
    make("demo:latest")

    async def find() -> str:
        await store.refresh()
        await store._thread.run(lambda: connections["default"].connection.close())
        with another_process():
            await asyncio.to_thread(make, "new:latest")
            await asyncio.to_thread(connections.close_all)
        return (await store.find("new")).name

    assert on_a_loop(find) == "new:latest"


def test_models_are_listed_newest_first(store: Store) -> None:
    now = datetime.now(UTC)
    for name, age_h in (("old:latest", 3), ("new:latest", 1), ("middle:latest", 2)):
        make(name, modified_at=now - timedelta(hours=age_h))
    models = store.all_models()
    assert [model.name for model in models] == ["new:latest", "middle:latest", "old:latest"]
    assert all(model.modified_at.utcoffset() == timedelta(0) for model in models)


def _save() -> None:
    make("a:latest")


def _bulk_create() -> None:
    Model.objects.bulk_create(
        [Model(name="a:latest", path="/a", digest="0" * 64, kind="chat", context_length=1)]
    )


def _update() -> None:
    Model.objects.filter(name="kept:latest").update(system="Be brief.")


def _bulk_update() -> None:
    row = Model.objects.get(name="kept:latest")
    row.system = "Be brief."
    Model.objects.bulk_update([row], ["system"])


def _update_or_create() -> None:
    Model.objects.update_or_create(name="kept:latest", defaults={"system": "Be brief."})


def _delete() -> None:
    Model.objects.get(name="kept:latest").delete()


def _delete_many() -> None:
    Model.objects.filter(name="kept:latest").delete()


WRITES = [_save, _bulk_create, _update, _bulk_update, _update_or_create, _delete, _delete_many]


@pytest.mark.parametrize("write", WRITES, ids=[write.__name__.strip("_") for write in WRITES])
def test_every_way_to_write_draws_a_new_stamp(write: Callable[[], None]) -> None:
    make("kept:latest")
    before = change.stamps()
    write()
    assert set(change.stamps()) == set(before) == {"registry_model"}
    assert change.stamps() != before


def test_a_write_that_is_rolled_back_changes_no_stamp() -> None:
    make("kept:latest")
    before = change.stamps()
    with transaction.atomic():
        _update()
        assert change.stamps() != before
        transaction.set_rollback(True)
    assert change.stamps() == before
    assert Change.objects.count() == 1


BAD_ROWS: list[tuple[dict[str, Any], str]] = [
    ({"name": "Kept:Latest"}, "registry_model_name_is_unique"),
    ({"name": ""}, "registry_model_has_name_and_path"),
    ({"path": ""}, "registry_model_has_name_and_path"),
    ({"digest": "abc"}, "registry_model_digest_is_sha256"),
    ({"kind": "image"}, "registry_model_kind_is_known"),
    ({"pooling": "max"}, "registry_model_pooling_is_known"),
    ({"context_length": 0}, "registry_model_has_a_context"),
    ({"kind": "embedding", "embedding_length": 0}, "registry_model_vectors_have_a_length"),
]


@pytest.mark.parametrize(("fields", "constraint"), BAD_ROWS)
def test_the_database_refuses_a_row_that_cannot_be(fields: dict[str, Any], constraint: str) -> None:
    make("kept:latest")
    with pytest.raises(IntegrityError, match=constraint):
        make(**({"name": "a:latest"} | fields))


def test_only_rows_that_were_written_are_made_anew(store: Store) -> None:
    for name in ("a:latest", "b:latest", "c:latest", "d:latest"):
        make(name)
    before = {info.name: info for info in store.all_models()}
    row = Model.objects.get(name="a:latest")
    row.system = "Be brief."
    row.save(update_fields=["system"])
    Model.objects.filter(name="b:latest").update(pinned=True)
    Model.objects.get(name="c:latest").delete()
    after = {info.name: info for info in store.all_models()}
    assert after.keys() == {"a:latest", "b:latest", "d:latest"}
    assert after["d:latest"] is before["d:latest"]
    assert (after["a:latest"].system, after["b:latest"].pinned) == ("Be brief.", True)
