"""The Celery application: `celery -A npuproxy worker --pool threads` for a node of its own, `npuproxy.jobs` for the
child of the server. Messages are JSON and nothing else; results are not kept, since rows are the truth.
"""

from __future__ import annotations

import os
from typing import Final

from celery import Celery, signals

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "npuproxy.settings")

from django.conf import settings

from npuproxy import broker, broker_folder

QUEUE: Final = "npuproxy"
AT_ONCE: Final = 3
"""Pulls at a time. Each takes several connections to the hub, so more would only share one line."""

broker_folder.install()
app = Celery("npuproxy")
app.set_default()  # of all threads, not of this one alone
app.conf.update(
    broker_url=settings.CELERY_BROKER_URL,
    broker_transport_options=broker.transport_options(
        settings.CELERY_BROKER_URL, settings.DATA_DIR / broker.FOLDER
    ),
    broker_connection_retry_on_startup=True,
    broker_connection_timeout=2,
    task_serializer="json",
    result_serializer="json",
    event_serializer="json",
    accept_content=["json"],
    task_ignore_result=True,
    task_default_queue=QUEUE,
    task_publish_retry_policy={"max_retries": 1, "interval_start": 0.1},
    worker_concurrency=AT_ONCE,
    worker_prefetch_multiplier=1,
    worker_enable_remote_control=False,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    imports=("registry.tasks",),
)


@signals.setup_logging.connect
def _leave_logging_alone(**_: object) -> None:
    """Django's LOGGING is in force; Celery keeps its hands off when somebody listens here."""
