//! tokio-postgres decodes every type: always as binary.

use anyhow::{Context, Result, ensure};
use tokio_postgres::types::{FromSql, Kind, Type};
use tokio_postgres::{Config, NoTls, Row};

/// What it decodes of itself or with its own features; the rest as it came.
fn decode(row: &Row) -> Result<String> {
    fn of<'a, T: FromSql<'a> + std::fmt::Debug>(row: &'a Row) -> Result<String> {
        Ok(format!("{:?}", row.try_get::<_, Option<T>>(0)?))
    }
    match row.columns()[0].type_().clone() {
        Type::BOOL => of::<bool>(row),
        Type::CHAR => of::<i8>(row),
        Type::INT2 => of::<i16>(row),
        Type::INT4 => of::<i32>(row),
        Type::INT8 => of::<i64>(row),
        Type::OID => of::<u32>(row),
        Type::FLOAT4 => of::<f32>(row),
        Type::FLOAT8 => of::<f64>(row),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME => of::<&str>(row),
        Type::BYTEA => of::<&[u8]>(row),
        Type::DATE => of::<time::Date>(row),
        Type::TIME => of::<time::Time>(row),
        Type::TIMESTAMP => of::<time::PrimitiveDateTime>(row),
        Type::TIMESTAMPTZ => of::<time::OffsetDateTime>(row),
        Type::UUID => of::<uuid::Uuid>(row),
        Type::JSON | Type::JSONB => of::<serde_json::Value>(row),
        Type::INET => of::<std::net::IpAddr>(row),
        Type::INT4_ARRAY if row.columns()[0].name() == "a4" => of::<Vec<Option<i32>>>(row),
        Type::TEXT_ARRAY => of::<Vec<Option<String>>>(row),
        Type::DATE_ARRAY => of::<Vec<Option<time::Date>>>(row),
        Type::JSONB_ARRAY => of::<Vec<Option<serde_json::Value>>>(row),
        Type::UUID_ARRAY => of::<Vec<Option<uuid::Uuid>>>(row),
        Type::INET_ARRAY => of::<Vec<Option<std::net::IpAddr>>>(row),
        Type::BYTEA_ARRAY => of::<Vec<Option<Vec<u8>>>>(row),
        other => match other.kind() {
            Kind::Domain(Type::INT4) => of::<Wrapped<i32>>(row),
            Kind::Domain(Type::VARCHAR) => of::<Wrapped<String>>(row),
            _ => of::<Raw>(row),
        },
    }
}

#[derive(Debug)]
struct Wrapped<T>(#[expect(dead_code, reason = "it is printed")] T);

impl<'a, T: FromSql<'a>> FromSql<'a> for Wrapped<T> {
    fn from_sql(
        of: &Type,
        raw: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        match of.kind() {
            Kind::Domain(inner) => Ok(Self(T::from_sql(inner, raw)?)),
            _ => Err("no domain".into()),
        }
    }

    fn accepts(of: &Type) -> bool {
        matches!(of.kind(), Kind::Domain(inner) if T::accepts(inner))
    }
}

#[derive(Debug)]
struct Raw(#[expect(dead_code, reason = "it is printed")] Vec<u8>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut config = Config::new();
    config.host(std::env::var("PGHOST")?).port(std::env::var("PGPORT")?.parse()?);
    config.user("app").dbname("app");
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    for table in ["kinds", "told()", "persons"] {
        let all = client.prepare(&format!("SELECT * FROM {table}")).await?;
        for column in all.columns() {
            let rows = client.query(&format!("SELECT {} FROM {table}", column.name()), &[]).await?;
            ensure!(rows.len() == 2, "{table} {}: {} rows", column.name(), rows.len());
            for row in &rows {
                let value = decode(row).with_context(|| format!("{table} {column:?}"))?;
                println!("{table} {} {value}", column.name());
            }
        }
    }
    println!("done");
    Ok(())
}
