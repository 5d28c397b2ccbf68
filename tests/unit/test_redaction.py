"""Secrets in every way they are written: none stays, and what an expert needs does."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.redaction import (
    _SECRET_NAME,
    Redactor,
    configuration_without_secrets,
    without_secrets,
)

CANARY = "CanarY-4711-xyzzy"


@pytest.mark.parametrize(
    "line",
    [
        f"pg.password={CANARY}",
        f"pg.readonly.password = {CANARY}",
        f"acl.oidc.client.secret:{CANARY}",
        f"requirepass {CANARY}",
        f"masterauth {CANARY}",
        f"pg.password=some\\\n   {CANARY}",
        f"redis_url=redis://:{CANARY}@10.1.2.3:6379/0",
        f"redis_url=rediss://writer:{CANARY}@cache.example.com",
        f"proxy=http://{CANARY}@proxy:8080/",
        f"Environment=QDB_PG_PASSWORD={CANARY}",
        f"Environment=QDB_PG_PASSWORD=two {CANARY}",
        f'Environment="LANG=C" "DSN=host=x {CANARY}"',
        f"Environment=ANYTHING={CANARY}",
        f"Environment=REDIS_URL=redis://u:{CANARY}@h/",
        f"Environment=JAVA_OPTS=-Dpassword={CANARY}",
        f"ExecStart=/usr/bin/java -Dpg.password={CANARY} -jar questdb.jar",
        f"ExecStart=/usr/bin/redis-cli -a {CANARY} ping",
        f"ExecStart=/opt/writer --token {CANARY} --batch 100",
        f"SetCredential=questdb:{CANARY}",
        f'"api_key": "{CANARY}",',
        f"AWS_SECRET_ACCESS_KEY: {CANARY}",
        f"store=azblob::account_name=x;account_key={CANARY};",
        f"ExecStartPre=/usr/bin/curl -u joe:{CANARY} http://localhost/",
        f"ExecStartPre=/bin/sh -c 'PGPASSWORD={CANARY} psql -c x'",
        f"dsn=writer:{CANARY}@db.example.com/qdb",
        f"PGPASSWORD={CANARY} psql",
        f"-----BEGIN EC PRIVATE KEY-----\n{CANARY}\nabc\n-----END EC PRIVATE KEY-----",
    ],
)
def test_no_secret_stays_in_a_configuration(line: str) -> None:
    before, after = "shared.worker.count=2\n", "\ncairo.wal.purge.interval=10000\n"
    shown = configuration_without_secrets((before + line + after).encode()).decode()
    assert CANARY not in shown
    assert "shared.worker.count=2" in shown
    assert "cairo.wal.purge.interval=10000" in shown


@pytest.mark.parametrize(
    "line",
    [
        f"connecting with password {CANARY} to it",
        f"the password is {CANARY}",
        f"auth=[user=joe, password={CANARY}]",
        f"redis.exceptions.ConnectionError: redis://:{CANARY}@localhost:6379",
        f"GET /exec?query=select&token={CANARY} 200",
        f"Authorization: Bearer {CANARY}",
        f"sent header Bearer {CANARY}",
        "slack xoxb-1234567890-abcdefghij",
        "key AKIAABCDEFGHIJKLMNOP",
        "jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc",
        "clone with ghp_abcdefghijklmnopqrst",
    ],
)
def test_no_secret_stays_in_a_log(line: str) -> None:
    shown = without_secrets(f"2026-11-23 line before\n{line}\nline after")
    secrets = (CANARY, "1234567890", "AKIAABCD", "eyJzdWIi", "ghp_abc")
    assert not any(secret in shown for secret in secrets)
    assert shown.startswith("2026-11-23 line before\n")
    assert shown.endswith("\nline after")


@pytest.mark.parametrize(
    "line",
    [
        "password authentication failed for user writer",
        "invalid password",
        "java.lang.Error at io.questdb.cairo.vm.api.MemoryCR.getLong(MemoryCR.java:1)",
        "could not open read-write [file=/data/hot/db/market_trades~8/txn_seq/_wal_index.d] errno: 2",
        "bypass of the compass passed",
        "pg.user=admin",
        "QuestDB 9.1.0, JRE 17.0.16+8, kernel 6.1.0",
        "http://127.0.0.1:9000/exec?query=x",
        "user@1000.service",
        "J 2009 c1 io.questdb.cairo.vm.api.MemoryCR.getLong(J)J io.questdb@9.1.0 (52 bytes) @ 0x00007f018d8dfc0e",
        "V  [libjvm.so+0x8282d2]  JavaCalls::call_helper(JavaValue*, methodHandle const&)+0x302",
        "12:11:38 file=wal.c:12, key capacity 2048, ::1",
    ],
)
def test_what_is_no_secret_stays(line: str) -> None:
    assert Redactor().text(line) == line


def test_what_a_name_gave_away_is_hidden_everywhere() -> None:
    redactor = Redactor(secrets=["other-secret-1"])
    assert CANARY not in redactor.configuration(f"pg.password={CANARY}")
    assert redactor.text(f"odd line {CANARY}, then other-secret-1.") == "odd line ***, then ***."
    assert redactor.text("questdb is the quest") == "questdb is the quest"
    redactor.configuration("pg.password=quest")
    assert redactor.text("the quest of questdb") == "the quest of questdb"
    assert redactor.removed["secret"] == 4


def test_people_and_places_go_and_are_counted() -> None:
    redactor = Redactor()
    redactor.place("/srv/data/hot", "<data root>")
    redactor.people("<host>", "trading-01", "localhost")
    redactor.people("<operator>", "joana", "root")
    said = redactor.text(
        "joana@trading-01: /srv/data/hot/db/t~1 and /srv/data/hotter, /home/joana/x, 10.20.30.40:9000, "
        "2001:db8::17, 127.0.0.1, localhost, root, a.person@example.org, /root/x"
    )
    assert said == (
        "<operator>@<host>: <data root>/db/t~1 and /srv/data/hotter, /home/<user>/x, <address>:9000, "
        "<address>, 127.0.0.1, localhost, root, <mail>, /root/x"
    )
    assert redactor.removed == {"path": 2, "name": 5}
    assert Redactor(private=False).text("/home/joana 10.2.3.4") == "/home/joana 10.2.3.4"


def test_json_loses_what_stands_under_a_secret_name() -> None:
    document = {
        "password": CANARY,
        "list": [{"apiKey": [CANARY]}],
        "note": f"--token {CANARY}",
        "port": 8812,
        "no": None,
    }
    shown = Redactor().value(document)
    assert CANARY not in repr(shown)
    assert (shown["port"], shown["no"]) == (8812, None)


def test_a_command_line_keeps_its_shape() -> None:
    shown = Redactor(private=False).command(
        f"java -Xmx1g -Dpg.password={CANARY} --token {CANARY} --verbose -d /data/hot"
    )
    assert shown == "java -Xmx1g -Dpg.password=*** --token *** --verbose -d /data/hot"


def test_bytes_that_are_no_text_stay_as_they_are() -> None:
    assert configuration_without_secrets(b"a=\xff\xfe\npassword=x\xff\n") == b"a=\xff\xfe\npassword=***\n"


_WAYS = st.sampled_from(
    [
        "pg.password={0}", "password: {0}", '"token": "{0}"', "--secret {0} -x", "redis://u:{0}@h:1/0",
        "api_key => {0}", "with password {0} at", "Bearer {0}", "u:{0}@host",
    ]
)  # fmt: skip


@given(
    _WAYS,
    st.from_regex(r"[A-Za-z][A-Za-z0-9]{6,20}[0-9][A-Za-z]{2}", fullmatch=True),
    st.text(max_size=30),
    st.sampled_from(["", " ", "\n", ", ", "[", "|"]),
)
def test_a_secret_is_gone_whatever_stands_before_it(way: str, secret: str, before: str, between: str) -> None:
    """And once it was seen in one text, it is gone from every other."""
    redactor = Redactor()
    assert secret not in redactor.configuration(f"{before}\n{way.format(secret)}")
    if way not in ("--secret {0} -x",):
        assert secret not in Redactor().text(f"{before}{between or ' '}{way.format(secret)}")


@pytest.mark.parametrize(
    "piece",
    ["a.", "token", "pass ", "http:", "a:b", "1.", "x@", "-----BEGIN PRIVATE KEY-----", "2001:", " password", "/home/"],
)
def test_a_hostile_line_costs_no_more_than_an_honest_one(piece: str) -> None:
    """Time grows with the length, not with its square: 16 times the text may cost 64 times, never 256."""

    def cost(length: int) -> float:
        text = piece * (length // len(piece))
        spent = []
        for _ in range(3):  # a busy core's other thread makes any one of them dear
            started = time.process_time()
            Redactor().configuration(text)
            spent.append(time.process_time() - started)
        return min(spent)

    assert cost(160_000) < max(64 * cost(10_000), 0.5)


def test_names_of_secrets() -> None:
    assert all(map(_SECRET_NAME.search, ("pg.password", "API_KEY", "oidc.client.secret", "REDIS_PASS", "auth")))
    assert not any(map(_SECRET_NAME.search, ("passed", "author", "compass", "key", "bypassed", "pg.user")))
