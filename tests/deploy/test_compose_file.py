"""docker-compose.yml keeps its containers apart, bounded and without rights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from seederfarm.containers import example
from seederfarm.containers.roles import ROLES

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
FARM_PROCESSES = {"migrate", "web", "control", "beat", "sources", "flower"}
each_service = pytest.mark.parametrize("name", sorted(SERVICES))


def volumes_of(name: str) -> set[str]:
    return {str(volume).partition(":")[0] for volume in SERVICES[name].get("volumes", [])}


def test_the_example_of_settings_is_made_from_the_tables() -> None:
    assert (ROOT / ".env.example").read_text() == example.example(), (
        "make it again: python -m seederfarm.containers.example > .env.example"
    )


def test_every_variable_of_the_compose_file_is_in_the_example_with_the_same_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    shown = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", example.example(), re.MULTILINE))
    found = dict(re.findall(r"\$\{([A-Z_]+):-([^{}$]*)\}", text))
    own = {name: value for name, value in found.items() if not name.startswith("SEEDERFARM_")}
    assert {name: shown.get(name) for name in own} == own
    assert found.keys() <= shown.keys()


def test_every_role_of_the_image_has_a_service() -> None:
    assert {"init", "migrate", *ROLES} <= SERVICES.keys()


@each_service
def test_a_container_has_no_rights_and_cannot_write_outside_of_its_volumes(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges"]
    assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "caddy" else [])
    assert not service.get("privileged") and not service.get("devices")
    assert "docker.sock" not in str(service)


@each_service
def test_no_container_runs_as_root(name: str) -> None:
    user = SERVICES[name].get("user")
    if user is None:  # that of our image
        assert "seederfarm" in SERVICES[name]["image"]
        assert re.search(r"^USER 10001:10001$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    else:
        assert int(user.partition(":")[0]) > 0


@each_service
def test_a_container_has_bounds_of_memory_and_of_logs(name: str) -> None:
    service = SERVICES[name]
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}
    if name != "init":
        assert service["mem_limit"]


@each_service
def test_a_container_that_goes_on_has_a_health_check_and_is_restarted(name: str) -> None:
    service = SERVICES[name]
    if name in ("init", "migrate"):
        assert service["restart"] == "no"
    else:
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"]


@each_service
def test_an_image_has_a_version_of_three_numbers_or_is_built_here(name: str) -> None:
    image = SERVICES[name]["image"]
    assert "seederfarm:latest" in image or re.search(r":v?\d+(\.\d+)+(-bookworm)?\}$", image), image


def test_what_handles_bytes_of_peers_reaches_neither_database_nor_secrets() -> None:
    for name in ("worker", "gateway"):
        service = SERVICES[name]
        assert not {"database", "broker", "pages"} & set(service["networks"])
        assert "home" not in volumes_of(name) and "env_file" not in service
        assert not {"DATABASE_URL", "REDIS_URL"} & {
            key.removesuffix("_FILE") for key in service["environment"]
        }


def test_only_the_farms_own_processes_have_its_identity_and_reach_the_database() -> None:
    with_home = {name for name in SERVICES if "home" in volumes_of(name)}
    assert with_home == {"init", *FARM_PROCESSES}
    in_database = {name for name in SERVICES if "database" in SERVICES[name].get("networks", [])}
    assert in_database <= {"postgres", *FARM_PROCESSES}


def test_only_https_the_broker_and_the_swarm_are_published_beyond_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published.keys() == {"caddy", "redis", "worker", "prometheus", "grafana"}
    for name in ("prometheus", "grafana"):
        assert all(":-127.0.0.1:" in port for port in published[name])
    assert published["redis"] == ["${FARM_BROKER_PORT:-6380}:6380"]
    assert "tls-port 6380" in (ROOT / "deploy/compose/redis.conf").read_text()


def test_networks_without_a_published_port_lead_nowhere() -> None:
    leading_out = {
        name for name, network in COMPOSE["networks"].items() if not (network or {}).get("internal")
    }
    assert leading_out == {"outside", "swarm", "boards"}


def test_no_secret_is_in_the_file() -> None:
    for name, service in SERVICES.items():
        for key, value in (service.get("environment") or {}).items():
            if re.search(r"PASSWORD|SECRET|TOKEN|_URL", key) and "PUBLIC_URL" not in key:
                public = (
                    key == "SEEDERFARM_WORKERS_REDIS_URL" and "@" not in value
                )  # an address without a login
                assert public or ("_FILE" in key and str(value).startswith("/")), f"{name}: {key}"
