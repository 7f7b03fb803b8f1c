from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("registry", "0002_blind_peers"),
    ]

    operations = [
        migrations.AddField(
            model_name="worker",
            name="run",
            field=models.CharField(blank=True, editable=False, max_length=32),
        ),
        migrations.AddField(
            model_name="worker",
            name="run_seq",
            field=models.PositiveBigIntegerField(default=0, editable=False),
        ),
        migrations.AddField(
            model_name="worker",
            name="former_run",
            field=models.CharField(blank=True, editable=False, max_length=32),
        ),
    ]
