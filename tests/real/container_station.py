"""The demo station moved into containers: QuestDB, Redis, the writer and both feeds, each with namespaces of its own.

QuestDB runs as uid 10001 on a bind mount at another path, as in the official image, and restarts always.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from console.recovery.server.jvm import ServerBinary, server_command
from console.station import answers, build, downloads
from console.station.build import Station
from console.station.configuration import write_redis_conf
from console.station.scenario import Scenario
from console.waiting import wait_until
from tests.real.podman import Podman

UID = 10001
INSIDE = "/var/lib/questdb"
UNITS = {
    "questdb": "database", "redis": "queue", "binance-trades": "feed", "binance-bookticker": "feed",
    "batch-writer": "writer",
}  # fmt: skip


@dataclass(frozen=True)
class ContainerStation:
    """The station, and the engine that runs its containers."""

    station: Station
    podman: Podman


@contextmanager
def container_station(folder: Path) -> Iterator[ContainerStation]:
    """Build the incident in `folder`, stop its processes, and start them again in containers."""
    for name in ("station", "engine"):
        (folder / name).mkdir()
    podman = Podman(folder / "engine")
    with build.station(Scenario.INCIDENT, directory=folder / "station") as station:
        station.processes.close()
        try:
            _start(station, podman, folder)
            yield ContainerStation(station, podman)
        finally:
            podman.close()


def _start(station: Station, podman: Podman, folder: Path) -> None:
    layout = station.layout
    binary = downloads.questdb_binary()
    program = folder / "questdb"
    program.mkdir()
    shutil.copy(binary.jar, program / "questdb.jar")
    for each in (layout.data_root, *layout.data_root.rglob("*")):
        os.chown(each, UID, UID, follow_symlinks=False)
    # What the feeds number begins anew with them, so that the queue does too.
    shutil.rmtree(layout.redis_dir)
    layout.redis_dir.mkdir()
    ours = {str(each): str(each) for each in (sys.prefix, sys.base_prefix, Path(build.__file__).parents[2])}
    ours[str(layout.directory)] = str(layout.directory)
    redis = [str(downloads.redis_server()), str(write_redis_conf(layout))]
    module = [sys.executable, "-m"]
    port = ["--redis-port", str(layout.redis_port)]
    podman.run("redis", redis, volumes=ours)
    build._make_groups(layout)
    for name, kind in (("binance-trades", "trades"), ("binance-bookticker", "bookticker")):
        podman.run(name, [*module, "console.station.feed", *port, kind], volumes=ours)
    server = server_command(ServerBinary(Path("/opt/questdb/questdb.jar"), binary.java), Path("/var/lib"))
    command = [word.replace("/var/lib", INSIDE) for word in server]
    volumes = {str(layout.data_root): INSIDE, str(program): "/opt/questdb"}
    variables = {"QDB_PG_NET_BIND_TO": f"127.0.0.1:{layout.pg_port}"}
    labels = {"com.docker.compose.project": "market", "com.docker.compose.service": "questdb"}
    podman.run("questdb", command, volumes=volumes, user=UID, environment=variables, labels=labels)
    answers.wait_until_read(layout, build._applied(station.tables))
    writer = [*module, "console.station.batch_writer", *port, "--questdb-port", str(layout.http_port)]
    podman.run("batch-writer", writer, volumes=ours)
    assert wait_until(lambda: all(podman.inspect(name)["State"]["Running"] for name in UNITS), 30)
