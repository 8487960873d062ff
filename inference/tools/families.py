"""Every family, and which one a model is of: by the words of its template, or as PARAMETER tool_parser says."""

from __future__ import annotations

from inference.tools.family import Family
from inference.tools.hermes import HERMES

FAMILIES = {family.name: family for family in (HERMES,)}


def family_of(template: str) -> Family:
    """The first whose words are in the text of the template; Hermes where there are none."""
    return HERMES
