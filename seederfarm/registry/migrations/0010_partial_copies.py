from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("registry", "0009_held_removals")]

    operations = [
        migrations.AddField(
            model_name="replica",
            name="unavailable_blocks",
            field=models.PositiveBigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="replica",
            name="unavailable_bytes",
            field=models.PositiveBigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="replica",
            name="gaps",
            field=models.TextField(blank=True, default="", editable=False),
        ),
        migrations.AddField(
            model_name="replica",
            name="look_again_sent_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AlterField(
            model_name="drive",
            name="expires_at",
            field=models.DateTimeField(
                blank=True,
                help_text="Removed from the farm then, unless it has the fullest copy known and the writer is "
                "silent.",
                null=True,
            ),
        ),
        migrations.AddIndex(
            model_name="replica",
            index=models.Index(
                condition=models.Q(("unavailable_blocks__gt", 0)), fields=["drive"], name="replica_with_gaps"
            ),
        ),
    ]
