"""Names of models in forms of admin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.forms import BaseForm

from inference.errors import InferenceError
from registry import names


def parsed(form: BaseForm, cleaned: dict[str, Any], fields: Sequence[str]) -> dict[str, names.Name]:
    """The names in these fields by field, written into `cleaned` as they are shown. One that is none is told beside its
    field and left out, as is a field that failed before."""
    found: dict[str, names.Name] = {}
    for field in fields:
        if field in cleaned:
            try:
                found[field] = names.parse(cleaned[field])
            except InferenceError as error:
                form.add_error(field, str(error))
    cleaned |= {field: name.display for field, name in found.items()}
    return found
