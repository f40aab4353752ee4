//! sqlx decodes every type: as binary when prepared, as text when not.

use anyhow::{Context, Result, ensure};
use sqlx::postgres::types::{PgInterval, PgMoney, PgRange, PgTimeTz};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgRow, PgSslMode, PgValueFormat, Postgres};
use sqlx::types::{BigDecimal, Json, Uuid};
use sqlx::{Column, Decode, Executor, Row, Type, TypeInfo, ValueRef};

fn decode(row: &PgRow) -> Result<String> {
    fn of<'r, T>(row: &'r PgRow) -> Result<String>
    where
        T: Decode<'r, Postgres> + Type<Postgres> + std::fmt::Debug,
    {
        Ok(format!("{:?}", row.try_get::<Option<T>, _>(0)?))
    }
    match row.column(0).type_info().name() {
        "BOOL" => of::<bool>(row),
        "\"CHAR\"" => of::<i8>(row),
        "INT2" => of::<i16>(row),
        "INT4" => of::<i32>(row),
        "INT8" => of::<i64>(row),
        "FLOAT4" => of::<f32>(row),
        "FLOAT8" => of::<f64>(row),
        "NUMERIC" => of::<BigDecimal>(row),
        "MONEY" if row.try_get_raw(0)?.format() == PgValueFormat::Binary => of::<PgMoney>(row),
        "TEXT" | "VARCHAR" | "CHAR" | "NAME" => of::<String>(row),
        "BYTEA" => of::<Vec<u8>>(row),
        "DATE" => of::<sqlx::types::time::Date>(row),
        "TIME" => of::<sqlx::types::time::Time>(row),
        "TIMETZ" if row.try_get_raw(0)?.format() == PgValueFormat::Binary => of::<PgTimeTz<sqlx::types::time::Time, sqlx::types::time::UtcOffset>>(row),
        "TIMESTAMP" => of::<sqlx::types::time::PrimitiveDateTime>(row),
        "TIMESTAMPTZ" => of::<sqlx::types::time::OffsetDateTime>(row),
        "INTERVAL" => of::<PgInterval>(row),
        "UUID" => of::<Uuid>(row),
        "JSON" | "JSONB" => of::<Json<serde_json::Value>>(row),
        "INT4RANGE" => of::<PgRange<i32>>(row),
        "NUMRANGE" => of::<PgRange<BigDecimal>>(row),
        "TSTZRANGE" => of::<PgRange<sqlx::types::time::OffsetDateTime>>(row),
        "INT4[]" if row.column(0).name() == "a4" => of::<Vec<Option<i32>>>(row),
        "TEXT[]" => of::<Vec<Option<String>>>(row),
        "NUMERIC[]" => of::<Vec<Option<BigDecimal>>>(row),
        "DATE[]" => of::<Vec<Option<sqlx::types::time::Date>>>(row),
        "UUID[]" => of::<Vec<Option<Uuid>>>(row),
        "BYTEA[]" => of::<Vec<Option<Vec<u8>>>>(row),
        // It has no type for these: as they came.
        _ => Ok(format!("{:?}", row.try_get_raw(0)?.is_null())),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let options = PgConnectOptions::new().ssl_mode(PgSslMode::Disable);
    let pool = PgPoolOptions::new().max_connections(1).connect_with(options).await?;
    for table in ["kinds", "told()", "persons"] {
        let all = pool.describe(&format!("SELECT * FROM {table}")).await?;
        for column in all.columns() {
            let text = format!("SELECT {} FROM {table}", column.name());
            let prepared = sqlx::query(&text).fetch_all(&pool).await?;
            let plain = sqlx::raw_sql(&text).fetch_all(&pool).await?;
            for rows in [prepared, plain] {
                ensure!(rows.len() == 2, "{table} {}: {} rows", column.name(), rows.len());
                for row in &rows {
                    let value = decode(row).with_context(|| format!("{table} {column:?}"))?;
                    println!("{table} {} {value}", column.name());
                }
            }
        }
    }
    println!("done");
    Ok(())
}
