from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("registry", "0007_broker_accounts"),
    ]

    operations = [
        migrations.AddField(
            model_name="source",
            name="force",
            field=models.BooleanField(
                default=False,
                help_text="Without this, keys stay of which the farm has the only complete copies known.",
                verbose_name="remove last copies, too",
            ),
        ),
        migrations.AlterField(
            model_name="source",
            name="mirror",
            field=models.BooleanField(
                default=True,
                help_text="Remove keys that are no longer listed.",
                verbose_name="remove what is gone",
            ),
        ),
    ]
