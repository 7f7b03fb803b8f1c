from typing import Any

from django.db import migrations, models


def forget_what_sources_brought(apps: Any, schema_editor: Any) -> None:
    entries = apps.get_model("registry", "SourceEntry").objects.filter(added_drive=True)
    drives = apps.get_model("registry", "Drive").objects
    drives.filter(pk__in=entries.values("drive_id")).update(by_hand=False)


class Migration(migrations.Migration):
    dependencies = [("registry", "0002_worker_seen_window")]

    operations = [
        migrations.AddField(
            model_name="drive",
            name="by_hand",
            field=models.BooleanField(default=True, editable=False, verbose_name="added by a person"),
        ),
        migrations.RunPython(forget_what_sources_brought, migrations.RunPython.noop),
        migrations.RemoveField(model_name="sourceentry", name="added_drive"),
        migrations.AddField(
            model_name="sourceentry",
            name="kind",
            field=models.CharField(blank=True, default="", max_length=5),
        ),
        migrations.AddField(
            model_name="sourceentry",
            name="label",
            field=models.CharField(blank=True, default="", max_length=200),
        ),
    ]
