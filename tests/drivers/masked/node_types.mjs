// node-postgres decodes every type, as text and as binary.
import pg from "pg";

const client = new pg.Client({ ssl: false });
await client.connect();
for (const binary of [false, true]) {
  for (const table of ["kinds", "told()", "persons"]) {
    const { fields } = await client.query(`SELECT * FROM ${table} LIMIT 0`);
    for (const { name } of fields) {
      const { rows } = await client.query({ text: `SELECT ${name} FROM ${table}`, binary });
      if (rows.length !== 2) throw new Error(`${table} ${name}: ${rows.length} rows`);
      console.log(binary, table, name, typeof rows[0][name], rows[0][name]);
    }
  }
}
await client.end();
console.log("done");
