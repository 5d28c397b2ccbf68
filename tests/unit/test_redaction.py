"""Secrets in every way they are written: none stays, and what an expert needs does."""

import pytest

from console.redaction import (
    Redactor,
    command_without_secrets,
    configuration_without_secrets,
    is_secret_name,
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
        "127.0.0.1, localhost, root, a.person@example.org, /root/x"
    )
    assert said == (
        "<operator>@<host>: <data root>/db/t~1 and /srv/data/hotter, /home/<user>/x, <address>:9000, "
        "127.0.0.1, localhost, root, <mail>, /root/x"
    )
    assert redactor.removed == {"path": 2, "name": 4}
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
    shown = command_without_secrets(f"java -Xmx1g -Dpg.password={CANARY} --token {CANARY} --verbose -d /data/hot")
    assert shown == "java -Xmx1g -Dpg.password=*** --token *** --verbose -d /data/hot"


def test_bytes_that_are_no_text_stay_as_they_are() -> None:
    assert configuration_without_secrets(b"a=\xff\xfe\npassword=x\xff\n") == b"a=\xff\xfe\npassword=***\n"


def test_names_of_secrets() -> None:
    assert all(map(is_secret_name, ("pg.password", "API_KEY", "oidc.client.secret", "REDIS_PASS", "auth")))
    assert not any(map(is_secret_name, ("passed", "author", "compass", "key", "bypassed", "pg.user")))
