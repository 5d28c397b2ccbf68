"""`walmedic inspect`: decode one file, whole or around a transaction or an offset."""

import dataclasses
from contextlib import closing
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from console.commands.options import Invocation, station_options
from console.diagnosis.findings.file import findings_of
from console.diagnosis.inspection import Field, FileDescription, FileKind, Inspector, RecordView
from console.errors import WalmedicError
from console.records import to_json
from console.text import clean_line, plural
from screens.browser_column import ColumnFile
from screens.browser_parquet import ParquetRows

Decoder = Inspector | ColumnFile | ParquetRows


def _offset(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Return a byte offset written in decimal or as 0x…; commas and underscores may part its digits."""
    if value is None:
        return None
    try:
        number = int(value.replace(",", "").replace("_", ""), 0)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << 63:
        raise click.BadParameter(f"{value!r} is no offset; write it as 0x0cb261f4 or 213017076", ctx, param)
    return number


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--txn", type=click.IntRange(min=1), help="Show the record of this transaction.")
@click.option(
    "--offset", callback=_offset, metavar="0xHEX", help="Show the record and the field that this byte belongs to."
)
@click.option("--around", type=click.IntRange(0, 1000), default=2, help="Neighbours to show on each side.")
@station_options
def inspect(invocation: Invocation, file: Path, txn: int | None, offset: int | None, around: int) -> int:
    """Decode one file of QuestDB: header, summary, findings, and any record; of a column any row.

    Exit 0: nothing found wrong, 1: findings, the byte or record asked for is not right, or not a file of the family.
    """
    if txn is not None and offset is not None:
        raise click.UsageError("name --txn or --offset, not both")
    with Inspector(file) as inspector, closing(_stored(inspector) or inspector) as decoder:
        description = inspector.describe(findings_of(file))
        if not isinstance(decoder, Inspector):
            description = dataclasses.replace(description, kind=decoder.kind, summary=decoder.summary())
        asked = _asked(inspector, decoder, txn, offset)
        views = _around(inspector, decoder, asked, around) if asked else _overview(inspector, decoder)
    field = asked.field_at(offset) if asked and offset is not None else None
    if invocation.as_json:
        invocation.emit(_document(description, views, asked, field, offset))
    else:
        show(Console(highlight=False, soft_wrap=True), description, views, asked, field, offset)
    wrong = asked is not None and not all(each.is_normal for each in asked.fields)
    problems = [finding for finding in description.findings if finding.severity != "note"]
    return 1 if problems or wrong or description.kind is FileKind.OTHER else 0


def _stored(inspector: Inspector) -> ColumnFile | ParquetRows | None:
    """Return the decoder of a file that holds values of a partition, None if it is none."""
    if inspector.kind is not FileKind.OTHER:
        return None
    path = inspector.path.parent.resolve() / inspector.path.name
    return ColumnFile.of(path) or ParquetRows.of(path)


def _asked(inspector: Inspector, decoder: Decoder, txn: int | None, offset: int | None) -> RecordView | None:
    if txn is not None:
        view = inspector.record_of(txn)
        if view is None:
            raise WalmedicError(f"{clean_line(str(inspector.path))} has no record of a transaction {txn:,}")
        return view
    if offset is None:
        return None
    view = decoder.record_at(offset)
    if view is None:
        path, size = clean_line(str(inspector.path)), plural(inspector.size, "byte")
        if offset >= inspector.size:
            raise WalmedicError(f"offset {offset:#x} lies outside of {path}, which has {size}")
        if isinstance(decoder, ColumnFile):
            raise WalmedicError(f"offset {offset:#x} of {path} belongs to no row: {decoder.summary()}")
        raise WalmedicError(f"offset {offset:#x} of {path} belongs to no field that walmedic knows")
    return view


def _around(inspector: Inspector, decoder: Decoder, asked: RecordView, count: int) -> list[RecordView]:
    """Return the record asked for between its neighbours, in the order of the file."""
    if asked.seq_txn is not None:
        found = [inspector.record_of(txn) for txn in range(asked.seq_txn - count, asked.seq_txn + count + 1)]
        return [view for view in found if view is not None]
    views = [asked]
    for _ in range(count):
        before = decoder.record_at(views[0].offset - 1)
        if before is None or before.offset >= views[0].offset:
            break
        views.insert(0, before)
    for _ in range(count):
        after = decoder.record_at(views[-1].offset + views[-1].size)
        if after is None or after.offset <= views[-1].offset:
            break
        views.append(after)
    return views


def _overview(inspector: Inspector, decoder: Decoder) -> list[RecordView]:
    views = list(inspector.views())
    header = decoder.record_at(0)
    return views or ([header] if header else [])


def _document(
    description: FileDescription,
    views: list[RecordView],
    asked: RecordView | None,
    field: Field | None,
    offset: int | None,
) -> dict[str, Any]:
    document: dict[str, Any] = {"schema": 1, **to_json(description), "records": [_record(view) for view in views]}
    if asked is not None:
        document["asked"] = {**_record(asked), "asked_offset": offset, "field": to_json(field)}
    return document


def _record(view: RecordView) -> dict[str, Any]:
    return {
        "title": clean_line(view.title),
        "offset": view.offset,
        "size": view.size,
        "seq_txn": view.seq_txn,
        "fields": to_json(view.fields),
    }


def show(
    out: Console,
    description: FileDescription,
    views: list[RecordView],
    asked: RecordView | None,
    field: Field | None,
    offset: int | None,
) -> None:
    """Print the description for people; foreign text never as markup."""
    out.print(Text(f"{clean_line(str(description.path))}", style="bold"))
    out.print(Text(f"{description.kind.value}, {plural(description.size, 'byte')}: {description.summary}"))
    for finding in description.findings:
        place = f" at offset {finding.offset:#x}" if finding.offset is not None else ""
        out.print(Text(f"  {finding.severity.value}  {finding.code.value}{place}  {finding.message}"))
    if field is not None and offset is not None:
        inside = f", byte {offset - field.offset} of it" if offset != field.offset else ""
        out.print()
        out.print(Text(f"offset {offset:#x} ({offset:,}) is {field.name}{inside}: {field.meaning}", style="bold"))
    for view in views:
        out.print()
        mark = ">" if asked is not None and view.offset == asked.offset else " "
        out.print(Text(f"{mark} {clean_line(view.title)}  offset {view.offset:#x}, {plural(view.size, 'byte')}"))
        for each in view.fields:
            sign = " " if each.is_normal else "✗"
            value = "missing" if each.missing else each.value
            out.print(Text(f"  {sign} {each.offset:#012x}  {each.name:<28} {value}  {each.meaning}".rstrip()))
