"""Settings of the farm.

`env` reads typed values from the environment and a TOML file, `table` names every setting, `secrets` keeps
the files only their owner may read, `base` is what Django is pointed at (DJANGO_SETTINGS_MODULE), and
`scratch` is the same for tests and static checks, leaving nothing behind.
"""
