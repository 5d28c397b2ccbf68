"""Steps: an entry that was cut off is finished by a process that has imported nothing but its action."""

import json
import subprocess
import sys

_SAY = """
import json, os
from console.recovery.gate import registry
from console.recovery.steps import steps
for action in registry.action_ids():
    if not os.fork():
        registry.action_module(action)
        print(json.dumps([action, sorted(steps._STEPS)]), flush=True)
        os._exit(0)
    os.wait()
"""


def test_importing_an_action_registers_the_steps_of_its_plans() -> None:
    done = subprocess.run([sys.executable, "-c", _SAY], capture_output=True, text=True, check=True)
    said: dict[str, list[str]] = dict(json.loads(line) for line in done.stdout.splitlines())
    assert [action for action, steps in said.items() if not steps] == []
    assert {"hold-wal", "start-server-unit", "verify-tables", "await-sweep"} <= set(said["start-server"])
    assert {"build-directory", "check-sequencer", "swap-directory"} <= set(said["rebuild-sequencer"])
