"""Jaeger, where there is one: what the traced services say about the request."""

from __future__ import annotations

import re

import requests

from whodunit.config import Config
from whodunit.sources import SourceError

_TRACE = re.compile(r"[0-9a-f]{32}")


class Jaeger:
    def __init__(self, config: Config) -> None:
        self._url = config.jaeger_url.rstrip("/")
        self._timeout = config.timeout_seconds

    def operations(self, trace: str) -> list[str]:
        """`service: operation` of the trace's spans in order of their start; empty when it is not there."""
        if not _TRACE.fullmatch(trace):
            return []
        try:
            response = requests.get(f"{self._url}/api/traces/{trace}", timeout=self._timeout)
            if response.status_code == 404:
                return []
            if response.status_code != 200:
                raise SourceError(f"it answered {response.status_code}")
            found = response.json()["data"][0]
            spans = sorted(found["spans"], key=lambda span: (span["startTime"], span["spanID"]))
            return [
                f"{found['processes'][span['processID']]['serviceName']}: {span['operationName']}" for span in spans
            ]
        except requests.RequestException as error:
            raise SourceError(f"no answer from {self._url} ({type(error).__name__})") from error
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise SourceError(f"its answer is not Jaeger's ({type(error).__name__})") from error
