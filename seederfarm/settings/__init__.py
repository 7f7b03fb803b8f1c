"""Settings of the farm.

`env` reads typed values from the environment and a TOML file, `table` has a row for each setting, `secrets`
makes files that only their owner may read, `base` is Django's settings module (DJANGO_SETTINGS_MODULE), and
`scratch` the one for tests and static checks.
"""
