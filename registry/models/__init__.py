"""The tables, a file each."""

from registry.models.change import Change, Stamped
from registry.models.model import Model

__all__ = ["Change", "Model", "Stamped"]
