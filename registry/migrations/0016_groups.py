"""The groups viewer, operator and admin, for who shares a server.

viewer      looks at everything but keys
operator    works with models, downloads, devices, other servers, the efficiency mode; sees keys
admin       everything, keys and users included
"""

from django.apps import apps as installed
from django.contrib.auth.management import create_permissions
from django.db import migrations

SECRET = {"apikey", "apikeyuse"}
WORKED_WITH = {
    "alias", "backend", "compilecache", "device", "download", "efficiencychoice", "model", "profile", "substitution",
    "verification",
}  # fmt: skip


def make(apps, schema_editor):
    for label in ("registry", "auth"):  # Django makes them after the last migration, and they are needed now
        create_permissions(installed.get_app_config(label), verbosity=0)
    Group, Permission = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    ours = Permission.objects.filter(content_type__app_label="registry").select_related("content_type")
    looks = [p for p in ours if p.codename.startswith("view_")]
    works = [p for p in ours if p.content_type.model in WORKED_WITH]
    users = Permission.objects.filter(content_type__app_label="auth", content_type__model__in=("user", "group"))
    for name, allowed in (
        ("viewer", [p for p in looks if p.content_type.model not in SECRET]),
        ("operator", [*looks, *works]),
        ("admin", [*ours, *users]),
    ):
        group, _ = Group.objects.get_or_create(name=name)
        group.permissions.add(*allowed)


def keep(apps, schema_editor):
    """Whoever is in them stays in them."""


class Migration(migrations.Migration):
    dependencies = [
        ("registry", "0015_keys_have_a_usual_priority"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]
    operations = [migrations.RunPython(make, keep)]
