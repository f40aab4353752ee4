//! tokio-postgres: prepared, types, pipelined queries, COPY, cancel.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use futures_util::{SinkExt, StreamExt, TryStreamExt, future};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn tls() -> Result<MakeRustlsConnect> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let config = if variable("PGSSLMODE") == "verify-full" {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_file_iter(variable("PGSSLROOTCERT"))? {
            roots.add(root?)?;
        }
        builder.with_root_certificates(roots).with_no_client_auth()
    } else {
        let any = Arc::new(Anyone(provider));
        builder.dangerous().with_custom_certificate_verifier(any).with_no_client_auth()
    };
    Ok(MakeRustlsConnect::new(config))
}

fn config(password: &str) -> Result<Config> {
    let mut config = Config::new();
    config.host(variable("PGHOST")).port(variable("PGPORT").parse()?);
    config.user(variable("PGUSER")).dbname(variable("PGDATABASE")).password(password);
    let plain = variable("PGSSLMODE") == "disable";
    config.ssl_mode(if plain { SslMode::Disable } else { SslMode::Require });
    Ok(config)
}

async fn open() -> Result<Client> {
    let (client, connection) = config(&variable("PGPASSWORD"))?.connect(tls()?).await?;
    tokio::spawn(connection);
    Ok(client)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut client = open().await?;
    let row =
        client.query_one("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]).await?;
    println!("tls {}", row.get::<_, bool>(0));
    let statement = client
        .prepare(
            "SELECT $1::int4, $2::int8, $3::float8, $4::text, $5::bytea, $6::timestamptz, \
             $7::uuid, $8::jsonb, $9::int4[], $10::text",
        )
        .await?;
    println!("{:?} {:?}", statement.params(), statement.columns());
    let row = client
        .query_one(
            &statement,
            &[
                &-7_i32,
                &(1_i64 << 62),
                &1.5_f64,
                &"Füße €",
                &vec![0_u8, 255, 7],
                &(SystemTime::UNIX_EPOCH + Duration::from_secs(1)),
                &uuid::Uuid::from_u128(0x1234),
                &serde_json::json!({"k": [1, null]}),
                &vec![Some(1_i32), None, Some(3)],
                &None::<&str>,
            ],
        )
        .await?;
    println!(
        "{} {} {} {} {:?} {:?} {} {} {:?} {:?}",
        row.get::<_, i32>(0),
        row.get::<_, i64>(1),
        row.get::<_, f64>(2),
        row.get::<_, &str>(3),
        row.get::<_, Vec<u8>>(4),
        row.get::<_, SystemTime>(5).duration_since(SystemTime::UNIX_EPOCH)?,
        row.get::<_, uuid::Uuid>(6),
        row.get::<_, serde_json::Value>(7),
        row.get::<_, Vec<Option<i32>>>(8),
        row.get::<_, Option<&str>>(9),
    );
    client.batch_execute("CREATE TEMP TABLE t (i int, s text)").await?;
    let transaction = client.transaction().await?;
    transaction.execute("INSERT INTO t VALUES ($1, $2)", &[&1_i32, &"x"]).await?;
    let error = transaction.query("SELECT nonsense", &[]).await.expect_err("it is nonsense");
    println!("{:?}", error.as_db_error().map(|it| (it.code().code(), it.message(), it.position())));
    transaction.rollback().await?;
    println!("{:?}", client.simple_query("SELECT count(*) FROM t; SELECT 2").await?.len());
    let square = client.prepare("SELECT $1::int * $1").await?;
    let many = (0..50).map(|n: i32| {
        let (client, square) = (&client, &square);
        async move {
            Ok::<_, tokio_postgres::Error>(client.query_one(square, &[&n]).await?.get::<_, i32>(0))
        }
    });
    println!("{:?}", future::try_join_all(many).await?);
    {
        let sink = client.copy_in::<_, std::io::Cursor<Vec<u8>>>("COPY t FROM STDIN").await?;
        futures_util::pin_mut!(sink);
        for n in 0..5000 {
            sink.send(std::io::Cursor::new(format!("{n}\tc\n").into_bytes())).await?;
        }
        println!("in {}", sink.close().await.is_ok());
        let out = client.copy_out("COPY t TO STDOUT").await?;
        let bytes = out.try_fold(0, |sum, piece| async move { Ok(sum + piece.len()) }).await?;
        println!("out {bytes}");
    }
    let transaction = client.transaction().await?;
    let portal = transaction.bind("SELECT generate_series(1, 1000)", &[]).await?;
    let mut sum = 0;
    loop {
        let rows = transaction.query_portal(&portal, 90).await?;
        if rows.is_empty() {
            break;
        }
        sum += rows.iter().map(|row| row.get::<_, i32>(0)).sum::<i32>();
    }
    println!("portal {sum}");
    transaction.commit().await?;
    let none: [i32; 0] = [];
    let rows = client.query_raw("SELECT 1 WHERE false", none).await?.collect::<Vec<_>>().await;
    println!("{}", rows.len());
    let token = client.cancel_token();
    let tls = tls()?;
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let _ = token.cancel_query(tls).await;
    });
    let error = client.batch_execute("SELECT pg_sleep(30)").await.expect_err("it is cancelled");
    println!("cancelled {:?}", error.code());
    let wrong = config("wrong")?.connect(self::tls()?).await.err();
    println!("refused {:?}", wrong.and_then(|error| error.code().cloned()));
    Ok(())
}
