import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("registry", "0003_by_hand")]

    operations = [
        migrations.CreateModel(
            name="PlanState",
            fields=[
                ("id", models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("unfinished", models.BooleanField(default=False)),
                ("wanted", models.BooleanField(default=False)),
                ("swept_at", models.DateTimeField(null=True)),
                ("swept_seconds", models.FloatField(default=0.0)),
            ],
        ),
        migrations.AddConstraint(
            model_name="planstate",
            constraint=models.CheckConstraint(condition=models.Q(("id", 1)), name="plan_state_only_one"),
        ),
        migrations.AddIndex(
            model_name="replica",
            index=models.Index(fields=["worker", "drive"], name="replica_of_worker"),
        ),
        migrations.RemoveIndex(model_name="replica", name="replica_manifest"),
        migrations.AlterField(
            model_name="replica",
            name="drive",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="replicas",
                to="registry.drive",
            ),
        ),
        migrations.AlterField(
            model_name="replica",
            name="worker",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="replicas",
                to="registry.worker",
            ),
        ),
    ]
