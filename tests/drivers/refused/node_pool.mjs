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
// What its own `query` finds an error in it throws away; a client is given back as it is.
const lent = async (use) => {
  const client = await pool.connect()
  try {
    return await use(client)
  } finally {
    client.release()
  }
}
const pid = () => lent(async (by) => (await by.query('SELECT pg_backend_pid() AS pid')).rows[0].pid)
const count = async (by) => (await by.query('SELECT count(*)::int AS n FROM orders')).rows[0].n
const before = await pid()
for (const text of ['DROP TABLE orders', { text: 'TRUNCATE orders', name: 'prepared' }, 'DELETE FROM orders']) {
  console.log(await lent((by) => code(() => by.query(text))), await lent(count))
}
await lent(async (by) => {
  await by.query('BEGIN')
  const refused = await code(() => by.query('DROP TABLE orders'))
  const aborted = await code(() => by.query('SELECT 1'))
  await by.query('ROLLBACK')
  console.log('transaction', refused, aborted, await count(by))
})
console.log('same', before === (await pid()))
await pool.end()
