"""Kinds of secrets that detect-secrets does not know: a Discord webhook, and what `make secrets` generates."""

from __future__ import annotations

import re
from typing import ClassVar

from detect_secrets.plugins.base import RegexBasedDetector


class DiscordWebhookDetector(RegexBasedDetector):
    """Who has the address may write to the channel."""

    secret_type = "Discord webhook"  # noqa: S105
    denylist: ClassVar = [re.compile(r"discord(?:app)?\.com/api/(?:v\d+/)?webhooks/\d{17,20}/([\w-]{60,})")]


class GeneratedSecretDetector(RegexBasedDetector):
    """A vault_* variable with a value as openssl rand -hex or make secrets give it."""

    secret_type = "generated secret"  # noqa: S105
    denylist: ClassVar = [re.compile(r"vault_\w+[\"']?\s*[:=]\s*[\"']?([0-9a-fA-F]{32,})\b")]
