"""Files of the db directory, and the block files of views."""

from typing import Final

from console.questdb.formats.model import Code, FieldFormat, RecordFormat

REGISTRY_HEADER: Final = RecordFormat("`tables.d.N`, header", "TableNameRegistryStore", fields=(
    FieldFormat("end", 0, "<i8", "where the next entry will be; zero in a fresh file", shown="append offset"),
))  # fmt: skip
REGISTRY_ENTRY: Final = RecordFormat(
    "`tables.d.N`, entry; name and directory follow (str), then the rest", "TableNameRegistryStore", fields=(
    FieldFormat("operation", 0, "<i4", codes=(Code(0, "add"), Code(-1, "remove"))),
))  # fmt: skip
REGISTRY_REST: Final = RecordFormat(
    "`tables.d.N`, rest of an entry; an add has 64 zero bytes more", "TableNameRegistryStore", fields=(
    FieldFormat("table_id", 0, "<i4"),
    FieldFormat("type", 4, "<i4", codes=(Code(0, "not a WAL table"), Code(1, "WAL table"), Code(2,
        "materialised view", (9, 0, 0)), Code(3, "view", (9, 3, 0)))),
))  # fmt: skip
UPGRADE: Final = RecordFormat("`_upgrade.d`", "EngineMigration", fields=(
    FieldFormat("table_version", 0, "<i4", "426 in every version up to 9.3.4"),
    FieldFormat("migration_version", 4, "<i4", "427 in 9.1.0, 426 again from 9.3.0 on"),
))  # fmt: skip
CONVERSION: Final = RecordFormat("`_convert` of a table", "TableConverter", fields=(
    FieldFormat("type", 0, "u1", codes=REGISTRY_REST["type"].codes[:3]),
))  # fmt: skip
BLOCK_FILE: Final = RecordFormat(
    "`_mv`, `_mv.s`, `_view`: header of a block file; offsets count from its end",
    "BlockFileUtils", since=(9, 0, 0), fields=(
    FieldFormat("version", 0, "<i8", "odd: region A counts, even: B; zero: an empty file"),
    FieldFormat("a_offset", 8, "<i8", shown="A: offset"),
    FieldFormat("a_length", 16, "<i8", shown="A: length"),
    FieldFormat("b_offset", 24, "<i8", shown="B: offset"),
    FieldFormat("b_length", 32, "<i8", shown="B: length"),
))  # fmt: skip
BLOCK_REGION: Final = RecordFormat("Block file, head of a region", "BlockFileUtils", since=(9, 0, 0), fields=(
    FieldFormat("checksum", 0, "<u4", "CRC-32 of the region behind its first 12 bytes"),
    FieldFormat("blocks", 4, "<i4"),
))  # fmt: skip
BLOCK: Final = RecordFormat("Block file, head of a block", "BlockFileUtils", since=(9, 0, 0), fields=(
    FieldFormat("length", 0, "<i4", "bytes of the whole block"),
    FieldFormat("type", 4, "<i4", "of `_mv`: 0 definition, 1 timer and period; "
        "of `_mv.s`: 0 state, 1 refresh time, 2 period, 3 intervals"),
))  # fmt: skip
VIEW_STATE: Final = RecordFormat("`_mv.s`, block 0; the reason follows (str)", "MatViewState", since=(9, 0, 0), fields=(
    FieldFormat("invalid", 0, "i1", "1: the view is invalid"),
    FieldFormat("base_txn", 1, "<i8", "base table's transaction of the last refresh; -1: never"),
))  # fmt: skip
VIEW_TIME: Final = RecordFormat("`_mv.s`, blocks 1 and 2", "MatViewState", since=(9, 0, 0), fields=(
    FieldFormat("time", 0, "<i8", "block 1: of the last refresh, µs; block 2: end of the last period"),
))  # fmt: skip
VIEW_INTERVALS: Final = RecordFormat(
    "`_mv.s`, block 3; the bounds of the intervals follow", "MatViewState", since=(9, 0, 0), fields=(
    FieldFormat("base_txn", 0, "<i8", "base table's transaction up to which intervals are cached; -1: none"),
    FieldFormat("count", 8, "<i4", "numbers that follow, i64 each; -1: none"),
))  # fmt: skip
