//! sqlx: its pool, its statement cache, types, transactions, COPY, LISTEN.

use anyhow::Result;
use futures_util::TryStreamExt;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolCopyExt, PgPoolOptions, PgSslMode};
use sqlx::types::{BigDecimal, Json, Uuid};
use sqlx::{Connection, Row};

fn options() -> PgConnectOptions {
    // The rest is read from the environment, as libpq does.
    let options = PgConnectOptions::new();
    match std::env::var("PGSSLMODE").as_deref() {
        Ok("disable") => options.ssl_mode(PgSslMode::Disable),
        Ok("verify-full") => options.ssl_mode(PgSslMode::VerifyFull),
        _ => options.ssl_mode(PgSslMode::Require),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let pool = PgPoolOptions::new().max_connections(4).connect_with(options()).await?;
    let mut one = pool.acquire().await?;
    let (tls,): (bool,) =
        sqlx::query_as("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            .fetch_one(&mut *one)
            .await?;
    println!("tls {tls}");
    for _ in 0..3 {
        let row = sqlx::query(
            "SELECT $1::int4, $2::int8, $3::numeric, $4::text, $5::bytea, $6::timestamptz, \
             $7::uuid, $8::jsonb, $9::int4[], $10::text",
        )
        .bind(-7_i32)
        .bind(1_i64 << 62)
        .bind("1.0000000001".parse::<BigDecimal>()?)
        .bind("Füße €")
        .bind(vec![0_u8, 255, 7])
        .bind(time::OffsetDateTime::UNIX_EPOCH)
        .bind(Uuid::from_u128(0x1234))
        .bind(Json(serde_json::json!({"k": [1, null]})))
        .bind(vec![Some(1), None, Some(3)])
        .bind(None::<String>)
        .fetch_one(&mut *one)
        .await?;
        println!(
            "{} {} {} {} {:?} {} {} {} {:?} {:?}",
            row.get::<i32, _>(0),
            row.get::<i64, _>(1),
            row.get::<BigDecimal, _>(2),
            row.get::<String, _>(3),
            row.get::<Vec<u8>, _>(4),
            row.get::<time::OffsetDateTime, _>(5),
            row.get::<Uuid, _>(6),
            row.get::<Json<serde_json::Value>, _>(7).0,
            row.get::<Vec<Option<i32>>, _>(8),
            row.get::<Option<String>, _>(9),
        );
    }
    sqlx::raw_sql("DROP TABLE IF EXISTS sqlx_t; CREATE TABLE sqlx_t (i int, s text)")
        .execute(&mut *one)
        .await?;
    let mut transaction = one.begin().await?;
    sqlx::query("INSERT INTO sqlx_t VALUES (1, 'x')").execute(&mut *transaction).await?;
    match sqlx::query("SELECT nonsense").execute(&mut *transaction).await {
        Err(sqlx::Error::Database(error)) => println!("{:?} {}", error.code(), error.message()),
        other => println!("{other:?}"),
    }
    transaction.rollback().await?;
    let mut copy = pool.copy_in_raw("COPY sqlx_t FROM STDIN").await?;
    for n in 0..5000 {
        copy.send(format!("{n}\tc\n").into_bytes()).await?;
    }
    println!("in {}", copy.finish().await?);
    let out = pool.copy_out_raw("COPY sqlx_t TO STDOUT").await?;
    let bytes = out.try_fold(0, |sum, piece| async move { Ok(sum + piece.len()) }).await?;
    println!("out {bytes}");
    let sum: i64 = sqlx::query_scalar::<_, i32>("SELECT i FROM sqlx_t")
        .fetch(&pool)
        .try_fold(0, |sum, n| async move { Ok(sum + i64::from(n)) })
        .await?;
    println!("streamed {sum}");
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen("tide").await?;
    sqlx::query("SELECT pg_notify('tide', 'rises')").execute(&pool).await?;
    println!("{}", listener.recv().await?.payload());
    drop(listener);
    sqlx::query("DROP TABLE sqlx_t").execute(&pool).await?;
    drop(one);
    pool.close().await;
    match PgPoolOptions::new().connect_with(options().password("wrong")).await {
        Err(sqlx::Error::Database(error)) => println!("refused {:?}", error.code()),
        other => println!("{:?}", other.is_ok()),
    }
    Ok(())
}
