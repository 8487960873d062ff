"""What the first start makes, and every later one finds: tables, built-in models, the admin's first user."""

from __future__ import annotations

import secrets

from django.contrib.auth import get_user_model
from django.db import connection

from registry import tables

ADMIN = "admin"


def prepare_database() -> str | None:
    """What a server needs. Returns the admin's password if it was made just now."""
    tables.prepare()
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
