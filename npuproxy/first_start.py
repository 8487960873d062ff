"""What the first start makes, and every later one finds: tables, built-in models, the admin's first user."""

from __future__ import annotations

import logging
import secrets

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from registry.builtin import sync_builtin_models
from registry.in_place import sync_folders

logger = logging.getLogger(__name__)

ADMIN = "admin"


def prepare_tables() -> None:
    """Tables, and rows of what ships with the program, as this version wants them."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        logger.info("the database is brought up to date")
        call_command("migrate", verbosity=0, interactive=False)
    sync_builtin_models()
    sync_folders()


def prepare_database() -> str | None:
    """What a server needs. Returns the admin's password if it was made just now."""
    prepare_tables()
    password = create_admin()
    connection.close()
    return password


def create_admin() -> str | None:
    """The first user of the admin pages, with a password that is shown once; None where there is a user
    already.
    """
    users = get_user_model().objects
    if users.filter(is_superuser=True).exists():
        return None
    password = secrets.token_urlsafe(12)
    users.create_superuser(ADMIN, password=password)
    return password
