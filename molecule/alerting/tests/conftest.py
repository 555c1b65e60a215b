from __future__ import annotations

import pytest
from watch import forget


@pytest.fixture(autouse=True)
def clean_channel():
    forget()
