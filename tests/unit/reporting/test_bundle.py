"""The bundle of a damaged database: complete, without one secret or row, bounded, never in the way of anything."""

import gzip
import hashlib
import io
import json
import os
import socket
import stat
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from console.cli import run
from console.questdb.layout import DatabaseRoot
from console.reporting.bundle import archive, place_for, prepare, write
from console.reporting.output import OutputError
from console.settings import RedisSettings, Settings, Stream
from tests.unit.reporting.place import CANARIES, ROW, build

_LETTERS = bytes(b"abcdefghijklmnopqrstuvwxyzABCDEF"[n % 32] for n in range(256))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, DatabaseRoot]:
    """The damaged database; nothing here changes it."""
    return build(tmp_path_factory.mktemp("place").resolve())


def members(content: bytes) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    """Return the files of an archive by their name below its folder."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        for member in tar.getmembers():
            reader = tar.extractfile(member)
            assert reader is not None
            found[member.name.split("/", 1)[1]] = (member, reader.read())
    return found


def test_no_secret_no_row_no_person_is_in_it(place: tuple[Settings, DatabaseRoot]) -> None:
    made = prepare(place[0])
    content = archive(made)
    raw = gzip.decompress(content).decode("utf-8", "replace")
    found = members(content)
    assert len(found) == len(made.parts) + 1
    everything = raw + "".join(text.decode() for _, text in found.values())
    assert [name for name, canary in CANARIES.items() if canary in everything] == []
    assert ROW not in everything
    assert "joana" not in everything
    assert str(place[1].root) not in everything
    assert "a comment" not in everything
    assert made.removed["secret"] >= 8


def test_what_an_expert_asks_for_is_in_it(place: tuple[Settings, DatabaseRoot]) -> None:
    found = members(archive(prepare(place[0])))
    text = {name: content.decode() for name, (_, content) in found.items()}
    assert {
        "report.md", "findings.json", "crashes.json", "crashes/cause-1.log", "backups.json", "versions.json",
        "configuration/server.conf", "settings.json", "samples.json", "journal.json", "timeline.json",
        "sequencers/altered~5.txt", "logs/questdb.txt", "manifest.json",
    } <= set(text)  # fmt: skip
    assert next(iter(text)) == "report.md"
    assert "log-max-txn-past-end" in text["findings.json"]
    assert json.loads(text["crashes.json"])["total"] == 3
    assert "siginfo: si_signo: 11" in text["crashes/cause-1.log"]
    assert "-Xmx80g" in text["crashes/cause-1.log"]
    assert "/data/hot" not in text["crashes/cause-1.log"]  # where the log was written, not where it lies
    assert text["configuration/server.conf"] == (
        "shared.worker.count=2\npg.password=***\nacl.url=https://svc:***@idp.example.org/x\nhttp.min.enabled=true\n"
    )
    log = place[1].table("altered").sequencer / "_txnlog"
    assert log.read_bytes()[:16].hex(" ", 4) in text["sequencers/altered~5.txt"]
    copies = json.loads(text["backups.json"])["tables"]["altered~5"]
    hashes = {file["file"]: file["sha256"] for file in copies["files"]}
    copy = log.parent.with_name("txn_seq.backup.20251110_032600") / "_txnlog"
    assert hashes[f"altered~5/{copy.parent.name}/_txnlog"] == hashlib.sha256(copy.read_bytes()).hexdigest()
    same = [f"altered~5/{folder}/_wal_index.d" for folder in ("txn_seq", copy.parent.name)]
    assert same in copies["alike"]
    assert "3 crashes" in text["report.md"].splitlines()[0]
    assert "mangledLine=`…`" in text["logs/questdb.txt"]


def test_the_manifest_has_every_hash_and_names_what_is_missing(place: tuple[Settings, DatabaseRoot]) -> None:
    made = prepare(place[0])
    found = members(archive(made))
    manifest = json.loads(found["manifest.json"][1])
    assert {file["name"] for file in manifest["files"]} == set(found) - {"manifest.json"}
    for file in manifest["files"]:
        content = found[file["name"]][1]
        assert (file["size"], file["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    missing = {each["what"]: each["why"] for each in manifest["missing"]}
    assert {"SQL", "server", "services"} & set(missing)
    assert all("questdb" in each["address"] for each in manifest["take_it_to"])
    assert {member.mode for member, _ in found.values()} == {0o600}
    assert {(member.uid, member.uname, member.gname) for member, _ in found.values()} == {(0, "", "")}
    assert archive(made) == archive(made)


def test_it_is_written_once_for_its_owner_and_never_into_the_database(
    place: tuple[Settings, DatabaseRoot], tmp_path: Path
) -> None:
    settings, database = place
    made = prepare(settings)
    written = write(made, place_for(made, settings, tmp_path))
    assert written.path.parent == tmp_path
    assert stat.S_IMODE(written.path.stat().st_mode) == 0o600
    assert hashlib.sha256(written.path.read_bytes()).hexdigest() == written.sha256
    with pytest.raises(OutputError, match="exists already and is not overwritten"):
        write(made, written.path)
    link = tmp_path / "elsewhere"
    link.symlink_to(database.db)
    for inside in (database.root, database.db / "altered~5", link, link / "b.tar.gz"):
        with pytest.raises(OutputError, match="lies in the database"):
            place_for(made, settings, inside)
    dangling = tmp_path / "dangling.tar.gz"
    dangling.symlink_to(database.root / "b.tar.gz")
    with pytest.raises(OutputError, match="exists already"):
        place_for(made, settings, dangling)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [written.path.name, "elsewhere", "dangling.tar.gz"]
    )
    inside_state = Settings(state_dir=str(database.root / "state"), questdb=settings.questdb)
    with pytest.raises(OutputError, match="lies in the database"):
        place_for(made, inside_state, None)
    assert not (database.root / "state").exists()


def test_what_cannot_be_read_is_named_and_the_rest_is_there(tmp_path: Path) -> None:
    settings, database = build(tmp_path.resolve())
    conf = database.root / "conf" / "server.conf"
    conf.unlink()
    conf.symlink_to("/etc/passwd")
    log = Path(settings.questdb.log)
    log.unlink()
    os.mkfifo(log)
    newest = database.root / "hs_err_pid4713.log"
    newest.write_bytes(newest.read_bytes()[:900])
    made = prepare(settings)
    missing = {each.what: each.why for each in made.missing}
    assert "symbolic link" in missing["configuration/server.conf"]
    assert "no regular file" in missing["logs/questdb.txt"]
    names = {part.name for part in made.parts}
    assert {"report.md", "findings.json", "sequencers/altered~5.txt", "crashes.json"} <= names


def test_what_never_answers_is_given_up_and_named(place: tuple[Settings, DatabaseRoot]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as never:  # the kernel accepts, nobody ever says a word
        port = never.getsockname()[1]
        quest = replace(place[0].questdb, pg_port=port, http_port=port, health_port=port)
        queue = RedisSettings(port=port, streams=(Stream("market_trades_stream"),))
        started = time.monotonic()
        made = prepare(replace(place[0], questdb=quest, redis=queue))
    assert time.monotonic() - started < 60
    missing = {each.what: each.why for each in made.missing}
    assert "does not answer within" in missing["server"]
    assert "does not answer within" in missing["backlog"]
    assert "timeout" in missing["SQL"]
    assert "report.md" in {part.name for part in made.parts}


def test_a_copy_on_another_machine_needs_only_its_root(place: tuple[Settings, DatabaseRoot], tmp_path: Path) -> None:
    target = tmp_path / "b.tar.gz"
    assert (
        run(["bundle", "--db-root", str(place[1].root), "--state-dir", str(tmp_path / "s"), "--to", str(target)]) == 0
    )
    missing = json.loads(members(target.read_bytes())["manifest.json"][1])["missing"]
    assert any("no configured station" in each["why"] for each in missing)


def test_the_preview_writes_nothing(
    place: tuple[Settings, DatabaseRoot], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["bundle", "--db-root", str(place[1].root), "--state-dir", str(tmp_path / "state")]
    assert run([*arguments, "--preview", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == 1
    assert document["bundle"] is None
    assert {"report.md", "findings.json"} <= {file["name"] for file in document["files"]}
    assert not (tmp_path / "state" / "bundles").exists()
    assert run([*arguments, "--to", str(place[1].root / "x.tar.gz")]) == 8
    assert "lies in the database" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk is a mount of its own: root only")
@pytest.mark.parametrize(("pages", "code"), [(9, 0), (1, 1)])
def test_a_full_disk(place: tuple[Settings, DatabaseRoot], tmp_path: Path, pages: int, code: int) -> None:
    """On a real small tmpfs: with some room the largest parts are left out and named, with none a sentence says so."""
    settings, _ = place
    noise = tmp_path / "questdb.log"
    noise.write_text("".join(f"{os.urandom(60).translate(_LETTERS).decode()}\n" for _ in range(3_000)))
    (tmp_path / "s.toml").write_text(
        f'state_dir = "{tmp_path}/state"\n[questdb]\ndb_root = "{settings.questdb.db_root}"\npg_port = 9\n'
        f'http_port = 9\nhealth_port = 9\nlog = "{noise}"\n'
    )
    (tmp_path / "disk").mkdir()
    fill = f"head -c {pages * 4096} /dev/zero > {tmp_path}/disk/fill; " if code else ""
    script = (
        f"mount -t tmpfs -o size={pages * 4096} none {tmp_path}/disk && {fill}"
        f"{sys.executable} -m console bundle --config {tmp_path}/s.toml --to {tmp_path}/disk --json; status=$?; "
        f"ls -A {tmp_path}/disk >&2; exit $status"
    )
    told = subprocess.run(
        ["unshare", "-m", "bash", "-c", script], capture_output=True, text=True, check=False, timeout=120
    )
    assert told.returncode == code, told.stderr
    if code:
        assert "the disk is full" in told.stderr
        assert told.stderr.splitlines()[-1] == "fill"  # nothing half-written is left
        return
    document = json.loads(told.stdout)
    missing = {each["what"]: each["why"] for each in document["missing"]}
    assert "the disk is full" in missing["logs/questdb.txt"]
    assert "report.md" in {file["name"] for file in document["files"]}
    assert document["size"] <= pages * 4096
