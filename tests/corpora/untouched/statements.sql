-- Each gives the same with masks on as without.
SELECT * FROM products ORDER BY id;
SELECT id, sku, title, price, weight, measures, tags, attributes, created_at FROM products WHERE sku LIKE 'SKU-0000%' ORDER BY 1;
SELECT (measures).width, (measures).unit, tags[1], attributes -> 'sizes', attributes ->> 'colour' FROM products ORDER BY id;
SELECT * FROM orders ORDER BY id;
SELECT * FROM order_items ORDER BY 1, 2;
SELECT * FROM events ORDER BY at;
SELECT * FROM builds ORDER BY id;
SELECT * FROM audit ORDER BY id;
SELECT * FROM open_orders ORDER BY id;
SELECT * FROM sales ORDER BY 1;
SELECT o.order_number, p.title, i.quantity, i.unit_price FROM orders o JOIN order_items i ON i.order_id = o.id JOIN products p ON p.id = i.product_id ORDER BY 1, 2;
SELECT state, count(*), sum(total), avg(total), min(placed_at), max(placed_at) FROM orders GROUP BY state;
SELECT customer_id, count(*), sum(total) FROM orders GROUP BY 1 ORDER BY 1;
SELECT c.id, count(o.id), sum(o.total) FROM customers c LEFT JOIN orders o ON o.customer_id = c.id GROUP BY c.id ORDER BY 1;
SELECT o.id, o.order_number, o.total FROM customers c JOIN orders o ON o.customer_id = c.id WHERE c.full_name IS NOT NULL ORDER BY 1;
SELECT EXISTS (SELECT 1 FROM customers WHERE id = 1), (SELECT count(*) FROM customers);
SELECT row_number() OVER (ORDER BY total DESC), rank() OVER (PARTITION BY currency ORDER BY total), total - lag(total) OVER (ORDER BY id), id FROM orders ORDER BY id;
SELECT date_trunc('day', placed_at), to_char(placed_at, 'YYYY-MM-DD HH24:MI:SS.MS'), extract(epoch FROM placed_at), placed_at::date FROM orders ORDER BY id;
SELECT row_to_json(p) FROM products p ORDER BY id;
SELECT jsonb_agg(jsonb_build_object('id', id, 'total', total)) FROM orders;
SELECT json_build_object('orders', (SELECT json_agg(o ORDER BY id) FROM (SELECT id, order_number, total, placed_at FROM orders) o));
SELECT lower(sku), upper(title), length(title), substr(title, 1, 6), md5(title), reverse(title) FROM products ORDER BY id;
SELECT order_total(id), id FROM orders ORDER BY id;
SELECT md5(order_number), encode(sha256(order_number::bytea), 'hex') FROM orders ORDER BY id;
SELECT 'A' || id, format('%s/%s', order_number, total), concat_ws('-', id, currency) FROM orders ORDER BY id;
SELECT unnest(tags), id FROM products ORDER BY 2, 1;
SELECT string_agg(sku, ',' ORDER BY sku), array_agg(id ORDER BY id) FROM products;
WITH RECURSIVE t (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 20) SELECT n, n * 123456789 FROM t;
SELECT n, n::text, lpad(n::text, 9, '0'), 100000000 + n * 7654321 AS reference FROM generate_series(1, 50) n;
BEGIN; INSERT INTO orders (order_number, total) VALUES ('SO-X1', 1) RETURNING id > 0, order_number, state, uuid, version; ROLLBACK;
BEGIN; UPDATE products SET price = price + 1 WHERE id = 1 RETURNING id, price, updated_at; ROLLBACK;
BEGIN; DELETE FROM order_items WHERE order_id = 1 RETURNING *; ROLLBACK;
BEGIN; INSERT INTO orders (order_number, total, customer_id, checksum) VALUES ('SO-X2', 0, 1, 'none'); SELECT order_number, total, checksum FROM orders WHERE order_number = 'SO-X2'; ROLLBACK;
BEGIN; CREATE TEMP TABLE scratch AS SELECT id, sku, title FROM products; SELECT * FROM scratch ORDER BY id; ROLLBACK;
BEGIN; CREATE TABLE made (id serial PRIMARY KEY, label text, at timestamptz DEFAULT '2024-01-01'); INSERT INTO made (label) VALUES ('one'), ('two') RETURNING id, label, at; SELECT * FROM made; SELECT count(*), max(label) FROM made; ROLLBACK;
BEGIN; ALTER TABLE products ADD COLUMN grade text DEFAULT 'A'; SELECT id, sku, title FROM products ORDER BY id; ROLLBACK;
BEGIN; DECLARE c CURSOR FOR SELECT id, order_number FROM orders ORDER BY id; FETCH 5 FROM c; MOVE 2 FROM c; FETCH ALL FROM c; ROLLBACK;
PREPARE q (int) AS SELECT * FROM products WHERE id = $1; EXECUTE q (3); EXECUTE q (4); DEALLOCATE q;
COPY products TO STDOUT;
COPY orders TO STDOUT WITH (FORMAT csv, HEADER);
COPY (SELECT id, total, placed_at, payload FROM orders ORDER BY id) TO STDOUT (FORMAT csv);
COPY events TO STDOUT;
EXPLAIN (COSTS OFF) SELECT * FROM orders WHERE state = 'open' AND total > 5;
EXPLAIN (COSTS OFF, FORMAT json) SELECT * FROM products WHERE sku = 'SKU-000001';
SHOW server_version; SHOW search_path; SHOW TimeZone; SHOW client_encoding;
SELECT current_setting('server_version_num'), current_database(), current_schema(), current_user, version();
SELECT table_schema, table_name, table_type FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1, 2;
SELECT table_name, column_name, ordinal_position, column_default, is_nullable, data_type, character_maximum_length, udt_name FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 3;
SELECT constraint_name, table_name, constraint_type FROM information_schema.table_constraints WHERE table_schema = 'public' ORDER BY 1, 2;
SELECT * FROM information_schema.key_column_usage WHERE table_schema = 'public' ORDER BY constraint_name, ordinal_position;
SELECT trigger_name, event_manipulation, event_object_table, action_statement FROM information_schema.triggers ORDER BY 1, 2;
SELECT routine_name, routine_type, data_type, routine_definition FROM information_schema.routines WHERE routine_schema = 'public' ORDER BY 1;
SELECT * FROM information_schema.views WHERE table_schema = 'public' ORDER BY table_name;
SELECT n.nspname, c.relname, c.relkind, pg_get_userbyid(c.relowner), obj_description(c.oid, 'pg_class') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' ORDER BY 2;
SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid), col_description(a.attrelid, a.attnum) FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attrelid = 'customers'::regclass AND a.attnum > 0 ORDER BY a.attnum;
SELECT conname, contype, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1;
SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1;
SELECT proname, pg_get_function_arguments(oid), pg_get_function_result(oid), prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1;
SELECT typname, typtype, typcategory FROM pg_type WHERE typnamespace = 'public'::regnamespace ORDER BY 1;
SELECT enumlabel FROM pg_enum ORDER BY enumsortorder;
SELECT viewname, definition FROM pg_views WHERE schemaname = 'public' ORDER BY 1;
SELECT rolname, rolsuper, rolcanlogin FROM pg_roles WHERE rolname NOT LIKE 'pg\_%' ORDER BY 1;
SELECT datname, pg_encoding_to_char(encoding), datcollate, datallowconn FROM pg_database ORDER BY 1;
SELECT name, setting, unit, category FROM pg_settings WHERE name LIKE 'work%' ORDER BY 1;
SELECT extname, extversion FROM pg_extension ORDER BY 1;
SELECT pid = pg_backend_pid(), usename, datname, state FROM pg_stat_activity WHERE pid = pg_backend_pid();
SELECT relname, n_live_tup >= 0 FROM pg_stat_user_tables ORDER BY 1;
SELECT pg_size_pretty(1048576::bigint), pg_typeof(1), gen_random_uuid() IS NOT NULL, clock_timestamp() > now() - interval '1 hour';
SELECT 1 / 0;
SELECT nonsense FROM products;
SELECT * FROM nowhere;
SELECT 'abc'::int;
DROP TABLE IF EXISTS not_there;
CREATE TABLE IF NOT EXISTS products (id int);
TRUNCATE members ;; INSERT INTO members (id, email) SELECT id, email FROM customers ON CONFLICT (id) DO UPDATE SET plan = 'Pro' RETURNING id, state, plan, seen_at
UPDATE members SET plan = 'Team', email = (SELECT email FROM customers LIMIT 1) RETURNING id, state, plan, seen_at
SELECT DISTINCT id, state, plan, seen_at FROM members
SELECT DISTINCT operation, member, state, at FROM member_trail WHERE operation = 'UPDATE' ORDER BY 2
SELECT plan, title FROM member_plans
\d
\d+ products
\d customers
\d+ orders
\dt+
\di
\dv
\dm
\ds
\df
\df+ place
\dT+
\dD
\dn+
\du
\dx
\dy
\db
\dc
\dp
\l
\dC
\dconfig work*
\sf place
\sv open_orders
\do +
\crosstabview
