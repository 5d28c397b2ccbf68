"""A damaged database with everything around it that a bundle takes, a canary in each place where a secret can be."""

from pathlib import Path

from console.questdb.layout import DatabaseRoot
from console.settings import QuestDBSettings, RedisSettings, Settings
from tests.ui.database import damaged
from tests.unit.crash_text import LOG, Mapped, crash_text, write_log

CANARIES = {
    place: f"CaNaRy{number}x{place.title().replace('-', '')}"
    for number, place in enumerate(
        ("server-conf", "conf-url", "command-line", "jvm-args", "java-options", "questdb-password", "readonly",
         "redis-password", "log-line", "log-url", "log-of-conf"), 10,
    )
}  # fmt: skip
"""A secret for each input; each is looked for in all that is written."""
ROW = "b1d_pr1ce=67000.25"
_BASE = 0x7F0100000000


def settings_of(folder: Path) -> Settings:
    """Return settings of a station whose server and queue do not answer: port 9 is nobody's."""
    return Settings(
        station="night-station",
        state_dir=str(folder / "state"),
        questdb=QuestDBSettings(
            db_root=str(folder / "home" / "joana" / "hot"),
            pg_port=9, http_port=9, health_port=9,
            password=CANARIES["questdb-password"],
            readonly_password=CANARIES["readonly"],
            log=str(folder / "questdb.log"),
        ),
        redis=RedisSettings(port=9, password=CANARIES["redis-password"]),
    )  # fmt: skip


def build(folder: Path) -> tuple[Settings, DatabaseRoot]:
    """Write the place below `folder` and return its settings and its root."""
    settings = settings_of(folder)
    database, _ = damaged(Path(settings.questdb.db_root))
    conf = database.root / "conf"
    conf.mkdir()
    (conf / "server.conf").write_text(
        f"# a comment with {CANARIES['server-conf']}\nshared.worker.count=2\npg.password={CANARIES['server-conf']}\n"
        f"acl.url=https://svc:{CANARIES['conf-url']}@idp.example.org/x\nhttp.min.enabled=true\n"
    )
    command = f"-Xmx80g -Dpg.password={CANARIES['command-line']} io.questdb/io.questdb.ServerMain -d /home/joana/hot"
    text = crash_text((Mapped(LOG, _BASE, 4096),), fault=_BASE + 4100, rdx=4100, command=command)
    more = (
        "\nVM Arguments:\n"
        f"jvm_args: -Dtoken={CANARIES['jvm-args']} -Xmx80g\n\n"
        "Environment Variables:\n"
        f"JAVA_TOOL_OPTIONS=-Dsecret={CANARIES['java-options']}\nUSERNAME=joana\nLANG=C\n\n"
    )
    for pid in (4711, 4712, 4713):
        write_log(database.root, text.replace("END.", more + "END."), pid)
    (folder / "questdb.log").write_text(
        "2025-11-10T02:27:01Z A server-main QuestDB 9.1.0\n"
        f"2025-11-10T02:27:02Z I pg connect [user=joe, password={CANARIES['log-line']}]\n"
        f"2025-11-10T02:27:02Z E could not reach redis://:{CANARIES['log-url']}@10.1.2.3:6379/0\n"
        f"2025-11-10T02:27:02Z I odd {CANARIES['server-conf']} and {CANARIES['redis-password']}\n"
        f"2025-11-10T02:27:03Z C could not process line data [mangledLine=`trades,s=X {ROW}\\x0A`, errno=2]\n"
        f"2025-11-10T02:27:03Z I fin [id=1, sql=`INSERT INTO trades VALUES ('X', {ROW})`, principal=admin]\n"
        f"2025-11-10T02:27:04Z I config pg.password={CANARIES['log-of-conf']}\n"
    )
    return settings, database
