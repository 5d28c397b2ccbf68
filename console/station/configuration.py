"""The station's configuration files: QuestDB's, Redis', supervisord's, and walmedic's own settings."""

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from console.recovery.server.jvm import ServerBinary, server_command, server_conf
from console.station.layout import STATION, STREAMS, UNITS, Layout

# Every process of a station carries its directory in this variable: that is how leftovers are recognized.
MARK = "DEMO_STATION_DIRECTORY"
_REDIS_MEMORY = "128mb"
_LATER = ("questdb", "batch-writer")  # started by the scenario, one after the other


def write_server_conf(layout: Layout) -> None:
    """Write QuestDB's server.conf: loopback only, the station's ports, two workers, purge sweeps every 10 s."""
    settings = {
        "http.bind.to": f"127.0.0.1:{layout.http_port}",
        "http.net.bind.to": f"127.0.0.1:{layout.http_port}",
        "http.min.bind.to": f"127.0.0.1:{layout.health_port}",
        "http.min.net.bind.to": f"127.0.0.1:{layout.health_port}",
        "metrics.enabled": "true",
        "pg.net.bind.to": f"127.0.0.1:{layout.pg_port}",
        # Each recovery waits for a sweep with its own eyes; 30 s, as shipped, is long for someone who watches.
        "cairo.wal.purge.interval": "10000",
    }
    (layout.data_root / "conf" / "server.conf").write_text(server_conf(settings))


def write_redis_conf(layout: Layout) -> Path:
    """Write redis.conf and return its path: bounded memory, nothing evicted, kept on disk."""
    path = layout.directory / "redis.conf"
    path.write_text(
        f"bind 127.0.0.1\nport {layout.redis_port}\ndir {json.dumps(str(layout.redis_dir))}\n"
        f'maxmemory {_REDIS_MEMORY}\nmaxmemory-policy noeviction\nsave ""\nappendonly yes\nappendfsync everysec\n'
        # A process title is written over the environment, and with it over the mark.
        "daemonize no\nprotected-mode yes\nset-proc-title no\n"
    )
    return path


def write_supervisor_conf(layout: Layout, binary: ServerBinary, redis_server: Path) -> None:
    """Write supervisord.conf with one program for each unit; Redis and the feeds start with supervisord."""
    redis_conf = write_redis_conf(layout)
    feed = [sys.executable, "-m", "console.station.feed", "--redis-port", str(layout.redis_port)]
    writer = [sys.executable, "-m", "console.station.batch_writer", "--redis-port", str(layout.redis_port)]
    commands: dict[str, tuple[Sequence[str], int]] = {  # with the seconds that make a start a good one
        # 0: a server that dies at once is started again at once and for ever, as under `Restart=always`.
        "questdb": (server_command(binary, layout.data_root, options=("-XX:-CreateCoredumpOnCrash",)), 0),
        "redis": ([str(redis_server), str(redis_conf)], 1),
        "binance-trades": ([*feed, "trades"], 1),
        "binance-bookticker": ([*feed, "bookticker"], 1),
        "batch-writer": ([*writer, "--questdb-port", str(layout.http_port)], 1),
    }
    sections = [
        f"[unix_http_server]\nfile={_escaped(layout.socket)}\nchmod=0600\n",
        f"[supervisord]\nnodaemon=true\nidentifier={STATION}\ndirectory={_escaped(layout.directory)}\n"
        f"logfile={_escaped(layout.log_dir / 'supervisord.log')}\nchildlogdir={_escaped(layout.log_dir)}\n"
        f"pidfile={_escaped(layout.directory / 'supervisord.pid')}\n",
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n",
        f"[supervisorctl]\nserverurl=unix://{_escaped(layout.socket)}\n",
    ]
    for name, (command, seconds) in commands.items():
        # What has the lower priority starts first and is stopped last: the queue outlives those that use it.
        priority = {"redis": 1, "questdb": 2}.get(name, 3)
        sections.append(
            f"[program:{name}]\npriority={priority}\ncommand={_escaped(shlex.join(command))}\n"
            f"autostart={_flag(name not in _LATER)}\nautorestart=true\n"
            f"startsecs={seconds}\nstartretries=20\nstopsignal=TERM\nstopwaitsecs=20\nstopasgroup=true\n"
            f"killasgroup=true\nredirect_stderr=true\nstdout_logfile={_escaped(layout.log_dir / f'{name}.log')}\n"
            "stdout_logfile_maxbytes=20MB\nstdout_logfile_backups=2\n"
        )
    layout.supervisor_file.write_text("\n".join(sections))


def write_settings(layout: Layout, binary: ServerBinary) -> None:
    """Write walmedic.toml for this station (mode 0600)."""
    streams = "".join(
        f"\n[[redis.streams]]\nname = {_toml(s.name)}\ngroup = {_toml(s.group)}\ntable = {_toml(s.table)}\n"
        f"max_length = {s.max_length}\n"
        for s in STREAMS
    )
    units = "".join(f"\n[[services.units]]\nname = {_toml(u.name)}\nrole = {_toml(u.role.value)}\n" for u in UNITS)
    layout.settings_file.touch(mode=0o600)
    layout.settings_file.write_text(
        f"station = {_toml(STATION)}\nstate_dir = {_toml(layout.state_dir)}\n\n"
        f"[questdb]\ndb_root = {_toml(layout.data_root)}\nhost = '127.0.0.1'\npg_port = {layout.pg_port}\n"
        f"http_port = {layout.http_port}\nhealth_port = {layout.health_port}\njar = {_toml(binary.jar)}\n"
        f"java = {_toml(binary.java)}\nlog = {_toml(layout.questdb_log)}\n\n"
        f"[redis]\nhost = '127.0.0.1'\nport = {layout.redis_port}\n{streams}\n"
        f"[services]\nbackend = 'supervisor'\nsocket = {_toml(layout.socket)}\n{units}"
    )


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _escaped(value: object) -> str:
    """Return `value` for supervisord's configuration, where % begins an expansion and ` ;` a comment."""
    return str(value).replace("%", "%%").replace(" ;", " \\;")


def _toml(value: object) -> str:
    return json.dumps(str(value), ensure_ascii=False)
