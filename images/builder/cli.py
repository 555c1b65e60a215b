"""The command line: which images, what is at hand, build the rest one after the other."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from filelock import AcquireReturnProxy, FileLock, Timeout

from . import engine, go, inputs, registry
from .catalog import Catalog, Image, load
from .errors import BuildError
from .keys import image_key
from .progress import Step, say
from .store import Store

ROOT = Path(__file__).resolve().parents[2]


def main(argv: list[str] | None = None) -> int:
    """Parse, work, and turn every refusal into one sentence and an exit code."""
    # A terminated build unwinds like an interrupted one: children end, half-written files go.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    options = _parser().parse_args(argv)
    cache = Path(os.environ.get("TOVPLAY_CACHE") or "~/.cache/tovplay").expanduser()
    try:
        catalog = load(options.root)
        if options.list:
            _list(catalog, cache, options.names)
        else:
            _work(catalog, cache, options)
    except BuildError as error:
        print(f"images: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("images: interrupted; finished images are kept", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="images/build.py",
        description="Build the platform's images from package registries and cache them in $TOVPLAY_CACHE "
        "(default ~/.cache/tovplay). What is at hand is not built again.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="images, with all they stand on; default: every image")
    parser.add_argument("--list", action="store_true", help="show the images and which are at hand")
    parser.add_argument("--load", action="store_true", help="also load the named images into this machine's engine")
    parser.add_argument(
        "--refresh", action="store_true", help="build even what is at hand: takes in Debian's security updates"
    )
    parser.add_argument(
        "--source",
        choices=["auto", "registry", "local"],
        default="local",
        help="registry: leave out what upstream publishes, hosts pull it; auto: ask whether a registry answers",
    )
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    return parser


def _list(catalog: Catalog, cache: Path, names: list[str]) -> None:
    store = Store(cache / "images")
    for image in catalog.closure(names):
        state = "at hand" if _at_hand(catalog, image, store, cache) else f"to build, {_minutes(image)}"
        say(f"{image.name:20} {image.ref:45} {state}")


def _work(catalog: Catalog, cache: Path, options: argparse.Namespace) -> None:
    store = Store(cache / "images")
    images = catalog.closure(options.names or registry.names_to_build(catalog, options.source))
    to_load = {image.name for image in catalog.select(options.names)} if options.load else set()
    (store.folder / "logs").mkdir(parents=True, exist_ok=True)
    with _alone(store.folder / ".lock"):
        for number, image in enumerate(images, start=1):
            step = Step(f"[{number}/{len(images)}] {image.title}", store.folder / "logs" / f"{image.name}.log")
            if not options.refresh and _at_hand(catalog, image, store, cache):
                step.say("at hand")
            else:
                _build(step, catalog, image, store, cache, options.refresh)
            if image.name in to_load:
                key = image_key(catalog, image)
                engine.load(step, image.ref, key, store.archive(image, key))
        store.write_index(catalog)


def _build(step: Step, catalog: Catalog, image: Image, store: Store, cache: Path, fresh: bool) -> None:
    step.say(f"to build ({_minutes(image)})")
    engine.check()
    step.log.unlink(missing_ok=True)
    for base in catalog.bases(image):
        base_key = image_key(catalog, base)
        engine.load(step, base.ref, base_key, store.archive(base, base_key))
    key = image_key(catalog, image)
    with tempfile.TemporaryDirectory(dir=store.folder, prefix=f".{image.name}-") as name:
        context = Path(name, "context")
        context.mkdir()
        inputs.lay(step, catalog, image, cache, context)
        engine.build(step, image.ref, key, context, image.build_args, fresh)
    engine.save(step, image.ref, store.archive(image, key))
    store.write_index(catalog)
    store.remove_stale(image, key)
    step.say(f"ready, {step.elapsed}")


def _at_hand(catalog: Catalog, image: Image, store: Store, cache: Path) -> bool:
    module = catalog.modules[image.go_module] if image.go_module else None
    archived = store.archive(image, image_key(catalog, image)).is_file()
    return archived and (module is None or go.at_hand(catalog, module, cache))


def _minutes(image: Image) -> str:
    return f"first time about {image.minutes:g} min" if image.minutes >= 1 else "less than a minute"


def _alone(path: Path) -> AcquireReturnProxy[FileLock]:
    """One builder at a time per cache: two would compile the same twice and race for the same names."""
    lock = FileLock(path)
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        say("another build is using this cache; waiting for it")
        return lock.acquire()
