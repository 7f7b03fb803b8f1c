from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("registry", "0005_drive_max_fork")]

    operations = [
        migrations.AddField(
            model_name="drive",
            name="short",
            field=models.BooleanField(default=True, editable=False),
        ),
        migrations.AddIndex(
            model_name="drive",
            index=models.Index(condition=models.Q(("short", True)), fields=["id"], name="drive_short"),
        ),
        migrations.RemoveIndex(model_name="replica", name="replica_not_complete"),
        migrations.AddIndex(
            model_name="replica",
            index=models.Index(
                condition=models.Q(("phase", "complete"), _negated=True),
                fields=["worker", "phase", "desired"],
                name="replica_unfinished",
            ),
        ),
    ]
