// postgres.js decodes every type.
import postgres from "postgres";

const sql = postgres({ ssl: false, max: 1 });
for (const table of ["kinds", "told()", "persons"]) {
  const { columns } = await sql.unsafe(`SELECT * FROM ${table} LIMIT 0`, [], { prepare: true });
  for (const { name } of columns) {
    for (const prepare of [true, false]) {
      const rows = await sql.unsafe(`SELECT ${name} FROM ${table}`, [], { prepare });
      if (rows.length !== 2) throw new Error(`${table} ${name}: ${rows.length} rows`);
      console.log(table, name, typeof rows[0][name], rows[0][name]);
    }
  }
}
await sql.end();
console.log("done");
