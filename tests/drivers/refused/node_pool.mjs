// node-postgres: a pool of one, whose client is refused again and again.
import pg from 'pg'

const pool = new pg.Pool({ max: 1 })
pool.on('error', (error) => console.log('pool', error.message))
const code = async (ask) => {
  try {
    await ask()
    return 'none'
  } catch (error) {
    return error.code
  }
}
const pid = async () => (await pool.query('SELECT pg_backend_pid() AS pid')).rows[0].pid
const count = async (by) => (await by.query('SELECT count(*)::int AS n FROM orders')).rows[0].n
const before = await pid()
for (const text of ['DROP TABLE orders', { text: 'TRUNCATE orders', name: 'prepared' }, 'DELETE FROM orders']) {
  console.log(await code(() => pool.query(text)), await count(pool))
}
const client = await pool.connect()
await client.query('BEGIN')
const refused = await code(() => client.query('DROP TABLE orders'))
const aborted = await code(() => client.query('SELECT 1'))
await client.query('ROLLBACK')
console.log('transaction', refused, aborted, await count(client))
client.release()
console.log('same', before === (await pid()))
await pool.end()
