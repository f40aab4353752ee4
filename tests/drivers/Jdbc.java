// pgjdbc: prepared (named after five runs), batches, COPY, cursor, cancel.
import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.*;
import java.util.*;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

public class Jdbc {
    static Connection open(String password, String... more) throws SQLException {
        Properties p = new Properties();
        p.put("user", System.getenv("PGUSER"));
        p.put("password", password);
        p.put("sslmode", System.getenv("PGSSLMODE"));
        p.put("gssEncMode", "disable");
        if (System.getenv("PGSSLROOTCERT") != null) p.put("sslrootcert", System.getenv("PGSSLROOTCERT"));
        for (int n = 0; n < more.length; n += 2) p.put(more[n], more[n + 1]);
        return DriverManager.getConnection("jdbc:postgresql://" + System.getenv("PGHOST") + ":"
            + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE"), p);
    }

    static String value(Connection c, String sql) throws SQLException {
        try (Statement s = c.createStatement(); ResultSet r = s.executeQuery(sql)) {
            r.next();
            return r.getString(1);
        }
    }

    static void run(String... more) throws Exception {
        try (Connection c = open(System.getenv("PGPASSWORD"), more)) {
            System.out.println("tls " + value(c, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"));
            try (PreparedStatement s = c.prepareStatement("SELECT ?::int4, ?::int8, ?::numeric, ?::text, ?::bytea, ?::timestamptz, ?::uuid, ?::json, ?::int4[], ?::text")) {
                for (int turn = 0; turn < 8; turn++) {
                    s.setInt(1, -turn);
                    s.setLong(2, 1L << 62);
                    s.setBigDecimal(3, new BigDecimal("1.0000000001"));
                    s.setString(4, "Füße €");
                    s.setBytes(5, new byte[] {0, -1, 7});
                    s.setTimestamp(6, new Timestamp(0));
                    s.setObject(7, UUID.fromString("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"));
                    s.setString(8, "{\"a\": 1}");
                    s.setArray(9, c.createArrayOf("int4", new Integer[] {1, null, 3}));
                    s.setNull(10, Types.VARCHAR);
                    try (ResultSet r = s.executeQuery()) {
                        r.next();
                        System.out.println(r.getInt(1) + " " + r.getLong(2) + " " + r.getBigDecimal(3) + " " + r.getString(4) + " "
                            + Arrays.toString(r.getBytes(5)) + " " + r.getTimestamp(6).getTime() + " " + r.getObject(7) + " "
                            + r.getString(8) + " " + r.getArray(9) + " " + r.getString(10) + " " + r.getMetaData().getColumnTypeName(9));
                    }
                }
            }
            try (Statement s = c.createStatement()) { s.execute("CREATE TEMP TABLE t (i int PRIMARY KEY, s text)"); }
            c.setAutoCommit(false);
            try (PreparedStatement s = c.prepareStatement("INSERT INTO t VALUES (?, ?)", Statement.RETURN_GENERATED_KEYS)) {
                for (int n = 0; n < 500; n++) { s.setInt(1, n); s.setString(2, "b" + n); s.addBatch(); }
                System.out.println("batch " + Arrays.stream(s.executeBatch()).sum());
                c.commit();
                for (int n = 498; n < 502; n++) { s.setInt(1, n); s.setString(2, "again"); s.addBatch(); }
                s.executeBatch();
            } catch (BatchUpdateException e) {
                System.out.println("batch " + e.getSQLState() + " " + e.getUpdateCounts().length);
            }
            try { value(c, "SELECT 1"); } catch (SQLException e) { System.out.println(e.getSQLState()); }
            c.rollback();
            System.out.println("rows " + value(c, "SELECT count(*) FROM t"));
            try (Statement s = c.createStatement()) {
                s.setFetchSize(50);
                long sum = 0;
                try (ResultSet r = s.executeQuery("SELECT generate_series(1, 1000)")) { while (r.next()) sum += r.getInt(1); }
                System.out.println("cursor " + sum);
            }
            Savepoint point = c.setSavepoint();
            try { value(c, "SELECT nonsense"); } catch (SQLException e) { System.out.println(e.getSQLState() + " " + e.getMessage().replace("\n", "|")); }
            c.rollback(point);
            c.commit();
            c.setAutoCommit(true);
            CopyManager copy = c.unwrap(PGConnection.class).getCopyAPI();
            StringBuilder text = new StringBuilder();
            for (int n = 1000; n < 6000; n++) text.append(n).append("\tc\n");
            System.out.println("in " + copy.copyIn("COPY t FROM STDIN", new StringReader(text.toString())));
            StringWriter out = new StringWriter();
            System.out.println("out " + copy.copyOut("COPY (SELECT * FROM t ORDER BY i) TO STDOUT", out) + " " + out.toString().hashCode());
            try (Statement s = c.createStatement()) {
                s.setQueryTimeout(1);
                s.execute("SELECT pg_sleep(30)");
            } catch (SQLException e) { System.out.println("cancelled " + e.getSQLState()); }
            // The server signals twice, and the second may come while something else runs.
            Thread.sleep(300);
            System.out.println(value(c, "SELECT 'usable'"));
            try (ResultSet r = c.getMetaData().getColumns(null, null, "t", null)) {
                while (r.next()) System.out.println(r.getString("COLUMN_NAME") + " " + r.getString("TYPE_NAME"));
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        TimeZone.setDefault(TimeZone.getTimeZone("UTC"));
        run();
        run("preferQueryMode", "extendedCacheEverything");
        run("binaryTransfer", "true", "prepareThreshold", "-1");
        try { open("wrong"); } catch (SQLException e) { System.out.println("refused " + e.getSQLState()); }
    }
}
