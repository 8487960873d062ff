from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("registry", "0002_downloads_aliases_caches_usage"),
    ]

    operations = [
        migrations.AddField(
            model_name="download",
            name="device",
            field=models.CharField(
                blank=True,
                default="",
                help_text="device it is meant for; decides about build and precision",
                max_length=16,
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="download",
            name="variant",
            field=models.CharField(
                blank=True, default="", help_text="quantisation of the GGUF file asked for", max_length=80
            ),
            preserve_default=False,
        ),
    ]
