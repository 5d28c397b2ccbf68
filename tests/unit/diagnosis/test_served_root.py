"""A server in a mount namespace of its own serves this directory under another name; that is proven by inode."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from console.diagnosis.server.served import serves

_HOLD = "import sys; held = open(sys.argv[1] + '/tables.d.0', 'r+b'); print('held', flush=True); sys.stdin.read()"


def _may_unshare() -> bool:
    words = ["unshare", "-m", "true"]
    return os.geteuid() == 0 and bool(shutil.which("unshare")) and subprocess.run(words, check=False).returncode == 0


@pytest.mark.skipif(not _may_unshare(), reason="mount namespaces are not to be had here")
def test_a_name_of_another_namespace_is_followed_by_inode(tmp_path: Path) -> None:
    db, inside, other = tmp_path / "db", tmp_path / "inside", tmp_path / "other"
    for folder in (db, inside, other):
        folder.mkdir()
        (folder / "tables.d.0").write_bytes(b"registry")
    script = 'mount --bind "$1" "$2" && exec "$3" -c "$4" "$2"'
    words = ["unshare", "-m", "sh", "-c", script, "sh", str(db), str(inside), sys.executable, _HOLD]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"held\n"
        assert serves(str(inside), db)
        assert not serves(str(other), db)
        assert not serves(str(inside), other)
        server.communicate()
    assert not serves(str(inside), db)
    assert serves(str(db), db)
