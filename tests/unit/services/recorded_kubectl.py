"""A `kubectl` that answers from files in the form of the Kubernetes API reference (apps/v1, v1), for lack of a cluster.

`tests/data/kubectl/*.json` are such answers. A scene names the two that belong together: a workload and its pods. Each
list of pods that is asked for moves to the next scene; `scale` puts the scenes of a stop or a start in their place.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

DATA: Final = Path(__file__).parents[2] / "data" / "kubectl"
UP, DOWN = "statefulset-ready pods-running", "statefulset-none pods-none"
DEPLOYMENT_DOWN = "deployment-none pods-none"
STOPS: Final = ("statefulset-scaling-down pods-terminating", "statefulset-none pods-terminating", DOWN)
STARTS: Final = ("statefulset-not-ready pods-none", "statefulset-not-ready pods-creating", UP)

_PROGRAM: Final = """#!{python} -IS
import json, pathlib, sys, time
here, data = pathlib.Path({folder!r}), pathlib.Path({data!r})
script = json.loads((here / "script.json").read_text())
words = [each for each in sys.argv[1:] if not each.startswith("--namespace=")]
with (here / "asked").open("a") as asked:
    asked.write(json.dumps(sys.argv[1:]) + "\\n")
refusal = script["refusals"].get(words[0])
if refusal:
    sys.exit(refusal)
workload, pods = script["scenes"][0].split()
kind = workload.partition("-")[0]
if words[0] in ("get", "scale") and "/" in words[1] and words[1] != kind + "/questdb":
    named = words[1].partition("/")
    sys.exit(f'Error from server (NotFound): {{named[0]}}s.apps "{{named[2]}}" not found')
if words[0] == "scale":
    script["scenes"] = script["stops" if words[2] == "--replicas=0" else "starts"]
    print(f"{{kind}}.apps/questdb scaled")
elif words[:2] == ["get", "pods"]:
    print((data / f"{{pods}}.json").read_text())
    script["scenes"] = script["scenes"][1:] or script["scenes"]
elif words[:2] == ["get", "events"]:
    print((data / "events.json").read_text())
elif words[0] == "get":
    print((data / f"{{workload}}.json").read_text())
elif words[0] == "logs":
    print("2026-11-28T06:12:21.318410992Z the-contract speaks", flush=True)
    time.sleep(60 if "--follow" in words else 0)
(here / "script.json.new").write_text(json.dumps(script))
(here / "script.json.new").replace(here / "script.json")
"""


class RecordedKubectl:
    """The program in `folder`, which goes to the front of PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._refusals: dict[str, str] = {}
        self.plays(UP)
        program = folder / "kubectl"
        program.write_text(_PROGRAM.format(python=sys.executable, folder=str(folder), data=str(DATA)))
        program.chmod(0o755)

    def plays(self, *scenes: str, stops: Sequence[str] = STOPS, starts: Sequence[str] = STARTS) -> None:
        """Answer with `scenes` from now on, and after a change of the number of replicas with `stops` or `starts`."""
        script = {"scenes": scenes, "stops": stops, "starts": starts, "refusals": self._refusals}
        (self.folder / "script.json").write_text(json.dumps(script))

    def refuses(self, verb: str, sentence: str) -> None:
        """Fail each `verb` with `sentence`."""
        self._refusals = {verb: sentence}
        self.plays(UP)

    def asked(self) -> list[list[str]]:
        """Return the arguments of each call so far."""
        file = self.folder / "asked"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
