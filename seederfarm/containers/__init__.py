"""The farm in containers, a process in each: what `docker-compose.yml` runs in the image of the `Dockerfile`.

`python -m seederfarm.containers ROLE` becomes the process of a role (`roles`) or makes the secrets
(`secrets`); `health` is the health check of a role, `example` makes `.env.example`. The processes are those
of `seederfarm.supervisor.processes`; here the container engine supervises them.
"""
