// pgjdbc: its own pool, of one connection, which is refused again and again.
import java.sql.*;
import org.postgresql.ds.PGPoolingDataSource;

public class JdbcPool {
    interface Asks { void ask() throws SQLException; }

    static String code(Asks asks) {
        try {
            asks.ask();
            return "none";
        } catch (SQLException error) {
            return error.getSQLState();
        }
    }

    static String value(Connection c, String sql) throws SQLException {
        try (Statement s = c.createStatement(); ResultSet r = s.executeQuery(sql)) {
            r.next();
            return r.getString(1);
        }
    }

    static void run(Connection c, String sql) throws SQLException {
        try (PreparedStatement s = c.prepareStatement(sql)) { s.execute(); }
    }

    static final String COUNT = "SELECT count(*) FROM orders", PID = "SELECT pg_backend_pid()";

    @SuppressWarnings("deprecation")
    public static void main(String[] none) throws Exception {
        PGPoolingDataSource pool = new PGPoolingDataSource();
        pool.setServerNames(new String[] {System.getenv("PGHOST")});
        pool.setPortNumbers(new int[] {Integer.parseInt(System.getenv("PGPORT"))});
        pool.setUser(System.getenv("PGUSER"));
        pool.setPassword(System.getenv("PGPASSWORD"));
        pool.setDatabaseName(System.getenv("PGDATABASE"));
        pool.setSslMode("disable");
        pool.setDataSourceName("refused");
        pool.setMaxConnections(1);
        String before;
        try (Connection c = pool.getConnection()) { before = value(c, PID); }
        for (String sql : new String[] {"DROP TABLE orders", "TRUNCATE orders", "DELETE FROM orders"}) {
            try (Connection c = pool.getConnection()) {
                System.out.print(code(() -> run(c, sql)));
            }
            try (Connection c = pool.getConnection()) { System.out.println(" " + value(c, COUNT)); }
        }
        try (Connection c = pool.getConnection()) {
            c.setAutoCommit(false);
            value(c, COUNT);
            String refused = code(() -> run(c, "DROP TABLE orders"));
            String aborted = code(() -> value(c, "SELECT 1"));
            c.rollback();
            System.out.println("transaction " + refused + " " + aborted + " " + value(c, COUNT));
            c.rollback();
            c.setAutoCommit(true);
        }
        try (Connection c = pool.getConnection()) { System.out.println("same " + before.equals(value(c, PID))); }
        pool.close();
    }
}
