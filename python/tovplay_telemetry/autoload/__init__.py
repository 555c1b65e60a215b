"""Python imports `sitecustomize` at its start; with the parent of this folder in PYTHONPATH, telemetry needs no code.

It acts only there: installed among other packages, it does nothing. The folder goes to the end of the search path, so
that the application's own packages win over ours; its own sitecustomize runs, too.
"""

import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path


def _start() -> None:
    home = Path(__file__).absolute().parent.parent
    named = [Path(path).absolute() for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    others = [path for path in sys.path if Path(path).absolute() != home]
    if home in named:
        sys.path[:] = [*others, str(home)]
        if os.environ.get("TOVPLAY_TELEMETRY", "on").strip().lower() != "off":
            _activate()
    following = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if following is not None and following.loader is not None:
        module = importlib.util.module_from_spec(following)
        sys.modules["sitecustomize"] = module
        following.loader.exec_module(module)


def _activate() -> None:
    try:
        from tovplay_telemetry.activation import activate

        activate()
    except Exception as error:  # an application without telemetry is better than none
        sys.stderr.write(
            '{"level":"ERROR","logger":"tovplay_telemetry","message":"telemetry is off",'
            f'"error_type":"{type(error).__name__}"}}\n'
        )


_start()
