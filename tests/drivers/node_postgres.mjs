// node-postgres: prepared, types, transaction, cursor, COPY, cancel, pool.
import fs from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { Readable, Writable } from 'node:stream'
import pg from 'pg'
import Cursor from 'pg-cursor'
import copy from 'pg-copy-streams'

const mode = process.env.PGSSLMODE
delete process.env.PGSSLMODE
const ssl =
  mode === 'disable' ? false
  : mode === 'verify-full' ? { ca: fs.readFileSync(process.env.PGSSLROOTCERT, 'utf8') }
  : { rejectUnauthorized: false }
delete process.env.PGSSLROOTCERT

const client = new pg.Client({ ssl })
client.on('notice', (notice) => console.log('notice', notice.message))
await client.connect()
console.log('tls', (await client.query('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()')).rows)
const all = await client.query({
  name: 'all',
  text: 'SELECT $1::int4 i, $2::int8 b, $3::numeric n, $4::text s, $5::bytea y, $6::timestamptz at, $7::uuid u, $8::jsonb j, $9::int4[] a, $10::text x',
  values: [-7, '4611686018427387904', '1.00000001', 'Füße €', Buffer.alloc(1000, 7), new Date(0),
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', { k: [1, null] }, [1, null, 3], null],
})
console.log(JSON.stringify(all.rows), all.fields.map((f) => f.dataTypeID))
for (let n = 0; n < 3; n++) {
  console.log((await client.query({ name: 'again', text: 'SELECT $1::int + 1 AS n', values: [n] })).rows[0].n)
}
console.log((await client.query('SELECT 1; SELECT 2')).map((r) => r.rows))
await client.query('CREATE TEMP TABLE t (i int, s text)')
await client.query('BEGIN')
await client.query('INSERT INTO t VALUES (1, $1)', ['x'])
try {
  await client.query('SELECT nonsense')
} catch (error) {
  console.log(error.code, error.position, error.routine)
}
try {
  await client.query('SELECT 1')
} catch (error) {
  console.log(error.code)
}
await client.query('ROLLBACK')
console.log((await client.query('SELECT count(*) FROM t')).rows)
const lines = Array.from({ length: 20000 }, (_, n) => `${n}\t${'c'.repeat(n % 50)}\n`)
await pipeline(Readable.from(lines), client.query(copy.from('COPY t FROM STDIN')))
let bytes = 0
await pipeline(client.query(copy.to('COPY t TO STDOUT')), new Writable({
  write(chunk, _, done) { bytes += chunk.length; done() },
}))
console.log('copied', bytes)
const cursor = client.query(new Cursor('SELECT generate_series(1, $1::int) AS n', [1000]))
let sum = 0
for (let rows = await cursor.read(77); rows.length; rows = await cursor.read(77)) sum += rows.reduce((a, r) => a + r.n, 0)
await cursor.close()
console.log('cursor', sum)
await client.query("DO $$ BEGIN RAISE NOTICE 'heard'; END $$")
console.log((await Promise.all(Array.from({ length: 30 }, (_, n) => client.query('SELECT $1::int AS n', [n])))).map((r) => r.rows[0].n))
const sleeping = client.query('SELECT pg_sleep(30)')
const other = new pg.Client({ ssl })
await other.connect()
setTimeout(() => other.query("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(30)'"), 300)
await sleeping.catch((error) => console.log('cancelled', error.code))
const heard = new Promise((resolve) => client.on('notification', resolve))
await client.query('LISTEN tide')
await other.query("NOTIFY tide, 'rises'")
console.log((await heard).payload)
await client.end()
await other.end()
const pool = new pg.Pool({ ssl, max: 4 })
console.log((await Promise.all(Array.from({ length: 40 }, (_, n) => pool.query('SELECT $1::int AS n', [n])))).reduce((a, r) => a + r.rows[0].n, 0))
await pool.end()
await new pg.Client({ ssl, password: 'wrong' }).connect().catch((error) => console.log('refused', error.code))
