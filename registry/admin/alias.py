"""Aliases in admin: further names of models. What may not be is said beside its field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from registry import names, store
from registry.admin import cells, name_fields
from registry.models import Alias, Model

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[Alias]
    _Form = forms.ModelForm[Alias]
else:
    _Admin = admin.ModelAdmin  # takes no parameter at run time
    _Form = forms.ModelForm


class AliasForm(_Form):
    class Meta:
        model = Alias
        fields = ("name", "target")
        widgets = {
            "name": forms.TextInput(attrs={"size": 60, "spellcheck": "false", "autofocus": True}),
            "target": forms.TextInput(attrs={"size": 60, "spellcheck": "false", "list": "installed"}),
        }

    def clean(self) -> dict[str, Any]:
        """Beyond the grammar, which the table checks: no name that a model has, and no alias of an alias, so that
        none ever leads in a circle."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        parsed = name_fields.parsed(self, cleaned, ("name", "target"))
        others = Alias.objects.exclude(pk=self.instance.pk)
        if "name" in parsed and (fault := _fault_of_name(parsed["name"], others)):
            self.add_error("name", fault)
        if "target" in parsed and (fault := _fault_of_target(parsed["target"], parsed.get("name"), others)):
            self.add_error("target", fault)
        return cleaned


def _fault_of_name(name: names.Name, others: QuerySet[Alias]) -> str:
    model = Model.by_name(name).values_list("name", flat=True).first()
    if model is not None:
        return f"a model '{model}' is installed, and it would answer"
    if others.filter(name__iexact=name.display).exists():
        return f"there is an alias '{name.display}' already"
    if (first := others.filter(target__iexact=name.display).first()) is not None:
        return f"'{first.name}' is an alias of this name, and an alias of an alias leads nowhere"
    return ""


def _fault_of_target(target: names.Name, name: names.Name | None, others: QuerySet[Alias]) -> str:
    if name is not None and name.key == target.key:
        return "an alias stands for another name"
    further = others.filter(name__iexact=target.display).first()
    return f"'{further.name}' is an alias itself: name its model, '{further.target}'" if further else ""


@admin.register(Alias)
class AliasAdmin(_Admin):
    form = AliasForm
    list_display = ("name", "target", "answers")
    search_fields = ("name", "target")
    list_per_page = 50
    show_full_result_count = False
    empty_words = "No aliases yet. One lets a client ask for `gpt-4o` and a model of yours answer."
    change_form_template = "admin/registry/alias_page.html"

    class Media:
        css = cells.STYLES

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        context["installed"] = sorted(info.name for info in store.all_models())
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description="answers")
    def answers(self, row: Alias) -> SafeString:
        """From the rows in memory: no query for each line."""
        installed = {info.name.lower() for info in store.all_models()}
        if row.name.lower() in installed:
            return cells.tag("shadowed", "warn", "a model of that name is installed, and it answers")
        if row.target.lower() in installed:
            return cells.tag("yes", "good")
        return cells.tag("target not installed", "bad", "pull it, or name another one")
