CREATE TYPE contact AS (mail text, tel text);
CREATE DOMAIN mailbox AS text;
CREATE TABLE customers (id int PRIMARY KEY, email text UNIQUE, full_name varchar(60), phone text, \
  ssn char(11), card_number numeric, born date, iban text, address jsonb, notes text, tags text[], ip inet, \
  reach contact, box mailbox, passwd_hash text, photo bytea, api_key text);
INSERT INTO customers SELECT n, 'canary.wren' || n || '@secret-mail.example', 'Xandra Canarybird', \
  '+49 170 5550199', '536-22-8177', 4532015112830366, date '1984-03-17', 'DE89370400440532013000', \
  jsonb_build_object('street', 'Kanarienweg 17', 'email', 'canary.wren' || n || '@secret-mail.example', 'list', jsonb_build_array('canary.wren@secret-mail.example')), \
  'please write to canary.wren' || n || '@secret-mail.example today', ARRAY['vip', 'canary.wren@secret-mail.example'], '203.0.113.77', \
  ROW('canary.wren@secret-mail.example', '+49 170 5550199')::contact, 'canary.wren@secret-mail.example', \
  '$2b$12$KANARIENVOGELKANARIENVOKANARIENVOGELKANARIENVOGELKANA', convert_to('canary.wren@secret-mail.example', 'UTF8'), \
  'AKIAKANARIENVOGEL234' FROM generate_series(1, 3) n;
CREATE TABLE c (c1 int, c2 text, c3 text, c4 bytea, c5 json);
INSERT INTO c SELECT id, email, iban, photo, to_json(customers) FROM customers;
CREATE VIEW contacts AS SELECT id, upper(email) AS code, full_name AS label FROM customers;
CREATE VIEW deeper AS SELECT id, code AS x, label AS y FROM contacts;
CREATE MATERIALIZED VIEW frozen AS SELECT id, email AS a, reverse(full_name) AS b FROM customers;
CREATE TABLE parts (id int, email text, full_name text) PARTITION BY RANGE (id);
CREATE TABLE part_one PARTITION OF parts FOR VALUES FROM (0) TO (10);
INSERT INTO parts SELECT id, email, full_name FROM customers;
CREATE TABLE generated (a int, b int GENERATED ALWAYS AS (a + 1) STORED, email text, full_name text);
INSERT INTO generated (a, email, full_name) SELECT id, email, full_name FROM customers;
CREATE FUNCTION mail_of(n int) RETURNS text LANGUAGE sql AS $$ SELECT email FROM customers WHERE id = n $$;
CREATE FUNCTION whisper(n int) RETURNS text LANGUAGE plpgsql AS $$ DECLARE v text; BEGIN SELECT reverse(full_name) INTO v FROM customers WHERE id = n; RETURN v; END $$;
CREATE FUNCTION people() RETURNS SETOF customers LANGUAGE sql AS $$ SELECT * FROM customers $$;
CREATE FUNCTION pairs() RETURNS TABLE (k int, v text) LANGUAGE sql AS $$ SELECT id, full_name FROM customers $$;
CREATE SCHEMA other;
CREATE TABLE other.people (k int, name text, mail text);
INSERT INTO other.people SELECT id, full_name, email FROM customers;
