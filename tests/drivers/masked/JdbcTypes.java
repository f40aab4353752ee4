// pgjdbc decodes every type: as text, and as binary once a statement is prepared.
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.Types;

public class JdbcTypes {
    public static void main(String[] arguments) throws Exception {
        String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT")
            + "/app?user=app&sslmode=disable&prepareThreshold=1&binaryTransfer=true";
        try (Connection connection = DriverManager.getConnection(url)) {
            for (String table : new String[] {"kinds", "told()", "persons"}) {
                try (PreparedStatement all = connection.prepareStatement("SELECT * FROM " + table)) {
                    int count = all.getMetaData().getColumnCount();
                    for (int column = 1; column <= count; column++) {
                        String name = all.getMetaData().getColumnName(column);
                        one(connection, table, name);
                    }
                }
            }
        }
        System.out.println("done");
    }

    static void one(Connection connection, String table, String name) throws Exception {
        try (PreparedStatement prepared = connection.prepareStatement("SELECT " + name + " FROM " + table)) {
            for (int turn = 0; turn < 4; turn++) {
                int rows = 0;
                try (ResultSet result = prepared.executeQuery()) {
                    while (result.next()) {
                        boolean money = result.getMetaData().getColumnTypeName(1).equals("money");
                        // As an object it can't read more than 999: direct too.
                        Object value = money ? result.getString(1) : result.getObject(1);
                        if (result.getMetaData().getColumnType(1) == Types.ARRAY && value != null) {
                            result.getArray(1).getArray();
                        }
                        if (rows++ == 0) {
                            System.out.println(table + " " + name + " " + result.getString(1));
                        }
                    }
                }
                if (rows != 2) throw new IllegalStateException(table + " " + name + ": " + rows);
            }
        }
    }
}
