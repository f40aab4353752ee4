"""psycopg 3: sync, prepared, binary, COPY, pipeline, cancel."""
import datetime
import decimal
import threading
import time
import uuid

import psycopg
from psycopg.types.json import Jsonb

with psycopg.connect() as conn:
    print("tls", conn.pgconn.ssl_in_use)
    cur = conn.cursor()
    cur.execute("CREATE TEMP TABLE t (i int, b bigint, n numeric, s text, y bytea, at timestamptz, u uuid, j jsonb, a int[], x text)")
    row = (
        -7, 2**62, decimal.Decimal("123456789.000000001"), "Füße \u20ac", b"\x00\xff" * 1000,
        datetime.datetime(2024, 2, 29, 12, 0, 0, 123456, tzinfo=datetime.timezone.utc),
        uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), Jsonb({"k": [1, None, "x"]}), [1, None, 3], None,
    )
    cur.execute("INSERT INTO t VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)", row)
    for binary in (False, True):
        with conn.cursor(binary=binary) as cur:
            for _ in range(3):
                cur.execute("SELECT * FROM t WHERE i = %s", (-7,), prepare=True)
                print(binary, cur.fetchone())
            print([(c.name, c.type_code, c.internal_size) for c in cur.description])
    print("prepared", conn.execute("SELECT count(*) FROM pg_prepared_statements").fetchone())
    conn.commit()
    try:
        with conn.transaction():
            conn.execute("INSERT INTO t (i) VALUES (1)")
            conn.execute("SELECT 1/0")
    except psycopg.errors.DivisionByZero as error:
        print(error.sqlstate, error.diag.message_primary, error.diag.source_function)
    print("after", conn.execute("SELECT count(*) FROM t").fetchone())
    with conn.cursor() as cur:
        with cur.copy("COPY t (i, s) FROM STDIN") as copy:
            for n in range(20000):
                copy.write_row((n, str(n)))
        with cur.copy("COPY t (i, s) FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int4", "text"])
            for n in range(1000):
                copy.write_row((n, "b" * n))
        try:
            with conn.transaction(), cur.copy("COPY t (i) FROM STDIN") as copy:
                copy.write("no number\n")
        except psycopg.errors.InvalidTextRepresentation as error:
            print(error.diag.context)
        total = 0
        with cur.copy("COPY (SELECT i, s FROM t ORDER BY i, s) TO STDOUT") as copy:
            for piece in copy:
                total += len(piece)
        print("copied", total)
        cur.executemany("INSERT INTO t (i) VALUES (%s) RETURNING i", [(n,) for n in range(5)], returning=True)
        while True:
            print("returned", cur.fetchall())
            if not cur.nextset():
                break
    with conn.pipeline() as pipeline:
        first = conn.execute("SELECT 1")
        second = conn.execute("SELECT %s::text", ["two"])
        pipeline.sync()
        print(first.fetchone(), second.fetchone())
        # The error may be there before the statement's own call returns, before the
        # next one is sent, or behind it; which of them raises is a matter of time.
        try:
            conn.execute("SELECT 1/0")
            third = conn.execute("SELECT 3")
            pipeline.sync()
            third.fetchone()
        except (psycopg.errors.DivisionByZero, psycopg.errors.PipelineAborted):
            print("pipeline failed")
    conn.rollback()
    with conn.cursor("served") as cur:
        cur.itersize = 100
        cur.execute("SELECT generate_series(1, 1000)")
        print("served", sum(r[0] for r in cur))
    conn.rollback()
    conn.add_notice_handler(lambda diag: print("notice", diag.message_primary))
    conn.execute("DO $$ BEGIN RAISE NOTICE 'heard'; END $$")
    threading.Timer(0.3, conn.cancel_safe).start()
    try:
        conn.execute("SELECT pg_sleep(30)")
        print("not cancelled")
    except psycopg.errors.QueryCanceled as error:
        print("cancelled", error.sqlstate)
    # The server signals twice, and the second may come while something else runs.
    time.sleep(0.3)
    conn.rollback()

with psycopg.connect(autocommit=True) as conn:
    conn.add_notify_handler(lambda n: print(n.channel, n.payload))
    conn.execute("LISTEN tide")
    conn.execute("NOTIFY tide, 'rises'")
try:
    psycopg.connect(password="wrong")
    print("let in")
except psycopg.OperationalError as error:
    print("refused", "password authentication failed" in str(error))
