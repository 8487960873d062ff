"""The tables, and the rows of what ships with the program, as this version wants them."""

from __future__ import annotations

import logging

from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from registry.builtin import sync_builtin_models
from registry.in_place import sync_folders
from registry.reread import sync_readers

logger = logging.getLogger(__name__)


def prepare() -> None:
    """Blocking. Any command may be the first to run, before the server ever did."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        logger.info("the database is brought up to date")
        call_command("migrate", verbosity=0, interactive=False)
    sync_builtin_models()
    sync_folders()
    sync_readers()
