"""The chain of evidence tells of its own end, by a way that does not lead through what ended."""

from __future__ import annotations

import time

from .channel import firing
from .conftest import until

HOP_SECONDS = 180


def test_the_chain_tells_of_its_own_end(demo, channel):
    """Production's shipper and Alertmanager die together: the dead man's switch tells of the one, and Alertmanager,
    once it is back, of the other."""
    until(lambda: not firing(demo), 300, f"still firing: {firing(demo)}")
    channel.forget()
    killed = time.time()
    demo.watch.check_output("docker stop --time=1 alertmanager")
    demo.prod.check_output("docker stop --time=1 otelcol")
    try:
        silence = channel.wait("nobody hears Watchdog any more", seconds=HOP_SECONDS)
        demo.watch.check_output("docker start alertmanager")
        shipper = channel.wait("otelcol on tovplay-prod gives no figures", seconds=HOP_SECONDS)
    finally:
        demo.watch.check_output("docker start alertmanager")
        demo.prod.check_output("docker start otelcol")
    seconds = {"dead man's switch": silence["at"] - killed, "shipper": shipper["at"] - killed}
    print({alarm: round(after) for alarm, after in seconds.items()})
    assert max(seconds.values()) < HOP_SECONDS
    channel.wait("Over: Watchdog is heard again", seconds=60)
    # Besides the two: what the absence of either does to others, and the end of what was told before.
    right = ("nobody hears", "Over: ", "otelcol on tovplay-prod", "alertmanager on tovplay-watch", "heartbeat", "hand ")
    wrong = [title for title in channel.titles() if not any(word in title for word in right)]
    assert not wrong
