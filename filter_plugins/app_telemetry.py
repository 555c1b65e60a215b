"""Role app_telemetry: the environment that switches the package on inside a container, and what cannot work."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import yaml

JSON = Mapping[str, Any]
NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*\Z")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
# Where a container sees the package and the key that signs its contexts.
PACKAGE = "/opt/tovplay/telemetry"
KEY = "/run/secrets/tovplay_context_key"


def telemetry_environment(application: JSON, settings: JSON) -> dict[str, str]:
    """Variables of one container; what the application's entry gives under `environment` wins.

    The names are OpenTelemetry's (SDK environment variables) where it has one, and the package's own otherwise.
    """
    variables = {
        "PYTHONPATH": ":".join([PACKAGE, *filter(None, [application.get("pythonpath", "")])]),
        "OTEL_SERVICE_NAME": application.get("service") or application["name"],
        "OTEL_EXPORTER_OTLP_ENDPOINT": settings["endpoint"],
        # By the trace's own id, not by the parent's mark: nginx, the parent of all, marks every trace as sampled.
        "OTEL_TRACES_SAMPLER": "traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": str(settings["sampling_ratio"]),
        "TOVPLAY_TRUSTED_PROXIES": ",".join(settings["trusted_proxies"]),
        "TOVPLAY_LOG_EMAIL": settings["log_email"],
    }
    if settings["context_key"]:
        variables["TOVPLAY_AUDIT_CONTEXT_KEY_FILE"] = KEY
    if application.get("database_password"):
        variables["DATABASE_URL"] = database_url(application, settings)
    return variables | {name: str(value) for name, value in (application.get("environment") or {}).items()}


def database_url(application: JSON, settings: JSON) -> str:
    """The way to the database through the pooler, as a container reaches it (RFC 3986: special characters as %xx)."""
    user, password, name = (
        quote(str(application.get(key, "")), safe="") for key in ("database_user", "database_password", "database")
    )
    return f"{application.get('database_scheme', 'postgresql')}://{user}:{password}@{settings['pooler_address']}/{name}"


def telemetry_files(applications: Sequence[JSON], settings: JSON, directory: str) -> list[dict[str, Any]]:
    """Files of every application, as config_files takes them, below `directory`: environment, Compose override, key."""
    files: list[dict[str, Any]] = []
    for application in applications:
        name = application["name"]
        environment = telemetry_environment(application, settings)
        lines = [f"{variable}={value}" for variable, value in sorted(environment.items())]
        files.append(
            {"path": f"{name}/telemetry.env", "content": "\n".join(lines) + "\n", "mode": "0600", "secret": True}
        )
        override = yaml.safe_dump(telemetry_compose(application, settings, directory))
        files.append({"path": f"{name}/compose.yml", "content": override})
        if settings["context_key"]:
            files.append(
                {
                    "path": f"{name}/context_key",
                    "content": settings["context_key"] + "\n",
                    "owner": str(application.get("user", "0")),
                    "mode": "0400",
                    "secret": True,
                }
            )
    return files


def telemetry_directories(applications: Sequence[JSON], directory: str) -> list[dict[str, str]]:
    """The folder of every application, as config_files takes it. The engine mounts out of it; nobody else looks in."""
    return [{"path": f"{directory}/{application['name']}", "mode": "0700"} for application in applications]


def telemetry_compose(application: JSON, settings: JSON, directory: str) -> dict[str, Any]:
    """An override for Docker Compose: `docker compose -f compose.yml -f <this> up -d`."""
    mounts = [f"{PACKAGE}/current:{PACKAGE}:ro"]
    if settings["context_key"]:
        mounts.append(f"{directory}/{application['name']}/context_key:{KEY}:ro")
    service = {"env_file": [f"{directory}/{application['name']}/telemetry.env"], "volumes": mounts}
    # A plain string: YAML knows no strings that carry Ansible's tags.
    return {"services": {str(application.get("compose_service") or application["name"]): service}}


def telemetry_problems(applications: Sequence[JSON], settings: JSON) -> list[str]:
    """One sentence about each thing that cannot work, with what to do; never a password or a key."""
    problems = []
    names = [str(application.get("name", "")) for application in applications]
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.append(f"Two applications are named {name}; name each container once.")
    for application, name in zip(applications, names, strict=True):
        if not NAME.match(name):
            problems.append(f"{name!r} is no container's name; correct it in app_telemetry_applications.")
        if not str(application.get("user", "0")).isdecimal():
            problems.append(
                f"{name}: user is {application['user']!r}; give the number of the container's user "
                f"(docker exec {name} id -u)."
            )
        odd = [variable for variable in application.get("environment") or {} if not VARIABLE.match(str(variable))]
        if odd:
            problems.append(f"{name}: {odd[0]!r} is no name of an environment variable; correct it.")
        many = [v for v, text in telemetry_environment({"name": name, **application}, settings).items() if "\n" in text]
        if many:
            problems.append(
                f"{name}: {many[0]} has more than one line, which Docker's file of variables cannot hold; shorten it."
            )
        if bool(application.get("database_user")) != bool(application.get("database")):
            problems.append(f"{name}: database_user and database belong together; give both or neither.")
        if application.get("database_password") and not application.get("database_user"):
            problems.append(f"{name}: database_password belongs to no database_user; name it.")
    host = str(settings["pooler_address"]).rpartition(":")[0]
    if host in ("localhost", "127.0.0.1", "[::1]"):
        problems.append(
            f"app_telemetry_pooler_address is {settings['pooler_address']}, which inside a container is the container "
            "itself; use the address of Docker's bridge, 172.17.0.1:6432."
        )
    if not 0 <= float(settings["sampling_ratio"]) <= 1:
        problems.append(f"app_telemetry_sampling_ratio is {settings['sampling_ratio']}; choose between 0 and 1.")
    for proxy in settings["trusted_proxies"]:
        try:
            ipaddress.ip_network(proxy)
        except ValueError:
            problems.append(
                f"app_telemetry_trusted_proxies: {proxy!r} is no network; write it like 172.17.0.1 or 10.0.0.0/8."
            )
    if settings["context_key"] and len(settings["context_key"]) < 32:
        problems.append("app_telemetry_context_key has less than 32 characters; make one with `openssl rand -hex 32`.")
    return problems


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {
            "telemetry_files": telemetry_files,
            "telemetry_directories": telemetry_directories,
            "telemetry_problems": telemetry_problems,
        }
