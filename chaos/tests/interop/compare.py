"""Reads the tier's Parquet with pyarrow and compares it, field by field, with what send.py wrote down.

usage: compare.py TIER_DIR TENANT EXPECTED.json
"""

import glob
import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq


def plain(value, kind):
    """An Arrow value as JSON has it: maps as objects, times as nanoseconds."""
    if pa.types.is_map(kind):
        return {key: plain(item, kind.item_type) for key, item in (value or [])}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [plain(item, kind.value_type) for item in (value or [])]
    return value


def nanoseconds(column):
    """Timestamps, also within lists, as integers, so that no nanosecond is lost on the way to Python."""
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.int64())
    if pa.types.is_list(column.type) and pa.types.is_timestamp(column.type.value_type):
        return column.cast(pa.list_(pa.int64()))
    return column


def read(folder):
    rows = []
    for path in sorted(glob.glob(f"{folder}/**/*.parquet", recursive=True)):
        table = pq.ParquetFile(path).read().combine_chunks()
        columns = {name: nanoseconds(table.column(name)) for name in table.column_names}
        plains = {name: [plain(value, column.type) for value in column.to_pylist()] for name, column in columns.items()}
        rows += [dict(zip(plains, values)) for values in zip(*plains.values())]
    return rows


def key(row):
    return json.dumps(row, sort_keys=True)


def compare(table, expected, found):
    names = list(expected[0])
    missing = [name for name in names if found and name not in found[0]]
    assert not missing, f"{table}: no column {missing}; columns are {list(found[0])}"
    want = sorted(key(row) for row in expected)
    have = sorted(key({name: row[name] for name in names}) for row in found)
    for wanted, had in zip(want, have):
        if wanted != had:
            wanted, had = json.loads(wanted), json.loads(had)
            fields = {name: (wanted[name], had[name]) for name in names if wanted[name] != had[name]}
            raise AssertionError(f"{table}: (exported, found) differ in {fields}")
    assert len(want) == len(have), f"{table}: exported {len(want)} rows, found {len(have)}"
    print(f"{table}: {len(have)} rows equal in {len(names)} fields")


def main(tier, tenant, path):
    expected = json.load(open(path))
    assert {"otel_traces", "otel_logs", "otel_metrics_sum", "otel_metrics_gauge", "otel_metrics_histogram", "otel_metrics_exponential_histogram"} == set(expected)
    for table, rows in expected.items():
        services = {row["ServiceName"] for row in rows}
        assert services == {"interop-grpc", "interop-http"}, f"{table}: {services}"
        found = [row for row in read(f"{tier}/tenant={tenant}/table={table}") if row["ServiceName"] in services]
        compare(table, rows, found)


main(*sys.argv[1:])
