"""Substitutions in admin: which model answers instead of another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin

from registry.admin import name_fields
from registry.models import Substitution

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[Substitution]
    _Form = forms.ModelForm[Substitution]
else:
    _Admin = admin.ModelAdmin  # takes no parameter at run time
    _Form = forms.ModelForm


class SubstitutionForm(_Form):
    class Meta:
        model = Substitution
        fields = ("model", "substitute", "when")

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        parsed = name_fields.parsed(self, cleaned, ("model", "substitute"))
        if len({name.key for name in parsed.values()}) < len(parsed):
            self.add_error("substitute", "a model cannot stand in for itself")
        return cleaned


@admin.register(Substitution)
class SubstitutionAdmin(_Admin):
    form = SubstitutionForm
    list_display = ("model", "substitute", "when")
    search_fields = ("model", "substitute")
    list_per_page = 50
    show_full_result_count = False
    empty_words = "No model stands in for another one. Without a row here none ever does."
