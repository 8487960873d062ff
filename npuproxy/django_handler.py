"""Django's ASGI handler with one change of thread a request: middleware, view and clean-up run there together.

Django's own goes to a thread and back for each middleware, for the view and for each signal, and starts that thread
anew for each request: 2 ms of CPU and more, where this one takes a third. No view here is asynchronous; an answer that
is made while it is read (an export) is sent from the event loop as Django does it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Final

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

THREADS: Final = 64
"""Requests at once; some wait for long (a model that is unloaded when its answers have ended). Made when needed."""


class Handler(ASGIHandler):
    """ASGI application: everything that Django answers."""

    def __init__(self) -> None:
        BaseHandler.__init__(self)
        self.load_middleware(is_async=False)
        self._threads = ThreadPoolExecutor(THREADS, "django")

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        loop = asyncio.get_running_loop()
        response = await loop.run_in_executor(self._threads, copy_context().run, self._answer, scope, body)
        if response.streaming:  # of what is made while it is read: the others came whole
            await self._send_stream(response, receive, send)
        else:
            await self.send_response(response, send)

    def _answer(self, scope: dict[str, Any], body: Any) -> HttpResponseBase:
        """In a thread: the answer, whole and with nothing left to close; a stream is neither."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=type(self), scope=scope)
        request, fault = self.create_request(scope, body)
        response: Any = fault if request is None else self.get_response(request)
        response._handler_class = type(self)
        whole: HttpResponseBase = response
        if response.streaming:
            if response.is_async:
                return whole
            whole = HttpResponse(b"".join(response), status=response.status_code)
            whole.headers, whole.cookies = response.headers, response.cookies
        response.close()
        return whole

    async def _send_stream(self, response: Any, receive: Receive, send: Send) -> None:
        """Until its end, or until its reader has left."""
        sending = asyncio.current_task()
        gone = asyncio.ensure_future(receive())
        gone.add_done_callback(lambda left: None if left.cancelled() or sending is None else sending.cancel())
        async with (
            ThreadSensitiveContext()
        ):  # its queries, and the end of their connection, have a thread of their own
            try:
                await self.send_response(response, send)
            finally:
                gone.cancel()
                await sync_to_async(response.close)()
