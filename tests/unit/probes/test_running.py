"""Who holds the ends of connections, where networks name their ends alike."""

import os
import shutil
import socket
import subprocess
import sys

import pytest

from console.probes.running import pids_by_end

_UNSHARE = ["unshare", "--net"]
_CONNECTED = """
import fcntl, socket, struct, sys
port, other = int(sys.argv[1]), int(sys.argv[2])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:  # lo is down in a new network
    fcntl.ioctl(control, 0x8914, struct.pack("16sH14x", b"lo", 0x49))
server, client = socket.create_server(("127.0.0.1", port)), socket.socket()
client.bind(("127.0.0.1", other))
client.connect(("127.0.0.1", port))
print("connected", flush=True)
sys.stdin.read()
"""


def _may_unshare() -> bool:
    words = [*_UNSHARE, "true"]
    return os.geteuid() == 0 and bool(shutil.which("unshare")) and subprocess.run(words, check=False).returncode == 0


def _started(words: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.skipif(not _may_unshare(), reason="network namespaces are not to be had here")
def test_the_same_end_in_two_networks_is_held_by_the_process_near_the_one_who_names_it() -> None:
    ports = [str(_free_port()), str(_free_port())]
    words = [sys.executable, "-c", _CONNECTED, *ports]
    with _started(words) as here, _started([*_UNSHARE, *words]) as there:
        for each in (here, there):
            assert each.stdout is not None
            assert each.stdout.readline() == b"connected\n"
        end = ("127.0.0.1", int(ports[1]))
        assert [pids_by_end(each.pid).get(end) for each in (here, there)] == [here.pid, there.pid]
        assert end not in pids_by_end(None)
