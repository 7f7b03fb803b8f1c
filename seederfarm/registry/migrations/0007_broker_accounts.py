from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("registry", "0006_drive_short")]

    operations = [
        migrations.AddField(
            model_name=model,
            name="broker_hash",
            field=models.CharField(blank=True, default="", editable=False, max_length=64),
            preserve_default=False,
        )
        for model in ("enrolmenttoken", "worker")
    ]
