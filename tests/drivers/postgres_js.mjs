// postgres.js: it pipelines by itself.
import fs from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { Readable } from 'node:stream'
import postgres from 'postgres'

const mode = process.env.PGSSLMODE
const ssl =
  mode === 'disable' ? false
  : mode === 'verify-full' ? { ca: fs.readFileSync(process.env.PGSSLROOTCERT, 'utf8') }
  : { rejectUnauthorized: false }
const options = {
  host: process.env.PGHOST, port: +process.env.PGPORT, user: process.env.PGUSER,
  password: process.env.PGPASSWORD, database: process.env.PGDATABASE, ssl, max: 3,
  onnotice: (notice) => console.log('notice', notice.message),
}
const sql = postgres({ ...options, max: 1 })
console.log(await sql`SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()`)
console.log(JSON.stringify(await sql`SELECT ${-7}::int4 i, ${'4611686018427387904'}::int8 b, ${'1.00000001'}::numeric n,
  ${'Füße €'}::text s, ${Buffer.alloc(100, 7)}::bytea y, ${new Date(0)}::timestamptz at,
  ${'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'}::uuid u, ${sql.json({ k: [1, null] })}::jsonb j,
  ${sql.array([1, 2, 3])}::int4[] a, ${null}::text x`))
await sql`CREATE TEMP TABLE t (i int, s text)`
try {
  await sql.begin(async (sql) => {
    await sql`INSERT INTO t VALUES (1, 'x')`
    await sql`SELECT nonsense`
  })
} catch (error) {
  console.log(error.code, error.position)
}
console.log(await sql`SELECT count(*) FROM t`)
await sql`INSERT INTO t ${sql(Array.from({ length: 100 }, (_, i) => ({ i, s: 'r' + i })))}`
let sum = 0
for await (const rows of sql`SELECT generate_series(1, 1000) AS n`.cursor(90)) for (const row of rows) sum += row.n
console.log('cursor', sum)
console.log((await Promise.all(Array.from({ length: 60 }, (_, n) => sql`SELECT ${n}::int AS n, repeat('p', ${n}) AS p`))).map((r) => r[0].n).join())
console.log((await sql`SELECT 1 AS a; SELECT 2 AS a`.simple()).map((r) => r[0].a))
const sleeping = sql`SELECT pg_sleep(30)`
setTimeout(() => sleeping.cancel(), 400)
await sleeping.catch((error) => console.log('cancelled', error.code))
// The server signals twice, and the second may come while something else runs.
await new Promise((over) => setTimeout(over, 300))
console.log(await sql`SELECT 'usable' AS u`)
await pipeline(Readable.from(Array.from({ length: 5000 }, (_, n) => `${n}\tc\n`)), await sql`COPY t FROM STDIN`.writable())
let bytes = 0
for await (const chunk of await sql`COPY t TO STDOUT`.readable()) bytes += chunk.length
console.log('copied', bytes)
await sql.end()
const many = postgres(options)
const heard = new Promise((resolve) => many.listen('tide', resolve).then(() => many.notify('tide', 'rises')))
console.log(await heard)
console.log((await Promise.all(Array.from({ length: 60 }, (_, n) => many`SELECT ${n}::int AS n`))).reduce((a, r) => a + r[0].n, 0))
await many.end()
const wrong = postgres({ ...options, password: 'wrong' })
await wrong`SELECT 1`.catch((error) => console.log('refused', error.code))
await wrong.end()
