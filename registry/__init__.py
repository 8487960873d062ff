"""Knows what exists: models now; files, downloads, backends and keys beside them. All of the ORM lives
here."""
