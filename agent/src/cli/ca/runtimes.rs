//! Where each runtime looks for those it trusts, and what can be done there.

use std::path::Path;

use serde::Serialize;

use super::trust::java_options;

/// One kind of client.
#[derive(Debug, Serialize)]
pub(super) struct Runtime {
    pub name: &'static str,
    /// What is to be done.
    pub how: String,
    /// What that reaches, and what not.
    pub reach: &'static str,
}

pub(super) fn list(folder: &Path, java: bool) -> Vec<Runtime> {
    let at = |name: &str| folder.join(name).display().to_string();
    let (bundle, own, env) = (at("bundle.pem"), at("tidegate.crt"), at("env"));
    let store = at("truststore.p12");
    vec![
        Runtime {
            name: "libpq (psql, psycopg, ruby-pg, PHP, ODBC)",
            how: format!(
                "PGSSLROOTCERT={bundle}, or sslrootcert={bundle} in the connection string"
            ),
            reach: "without sslmode=verify-ca or verify-full nothing needs to be done: libpq's \
                    default does not verify. It never reads the system's store, but with \
                    sslrootcert=system (16 and newer, by SSL_CERT_FILE). With a root file, \
                    sslmode=require verifies the chain too: for servers outside of the gate the \
                    bundle must have their roots. It stands in the place of \
                    ~/.postgresql/root.crt: what is in there has to be added",
        },
        Runtime {
            name: "asyncpg",
            how: format!("PGSSLROOTCERT={bundle}"),
            reach: "heeded from sslmode=verify-ca on; an SSL context of the application's own wins",
        },
        Runtime {
            name: "Python ssl, pg8000",
            how: format!("SSL_CERT_FILE={bundle}"),
            reach: "for contexts of ssl.create_default_context(); not for certifi, nor for a cafile \
                    that the application names",
        },
        Runtime {
            name: "Node (node-postgres, postgres.js)",
            how: format!("NODE_EXTRA_CA_CERTS={own}"),
            reach: "read once, when the process starts; an `ssl.ca` of the application's own wins, \
                    and `rejectUnauthorized: false` needs nothing",
        },
        Runtime {
            name: "Java (pgjdbc)",
            how: if java {
                format!(
                    "JAVA_TOOL_OPTIONS=\"{}\" with \
                     sslfactory=org.postgresql.ssl.DefaultJavaSSLFactory; or sslrootcert={bundle}",
                    java_options(&store)
                )
            } else {
                format!(
                    "sslrootcert={bundle} in the URL; for the JVM's own store run this with --java"
                )
            },
            reach: "pgjdbc reads ~/.postgresql/root.crt or sslrootcert, and the JVM's store only \
                    with that factory; PGSSLROOTCERT it doesn't know",
        },
        Runtime {
            name: "Go (pgx, lib/pq)",
            how: format!("SSL_CERT_FILE={bundle}, and PGSSLROOTCERT={bundle}"),
            reach: "crypto/x509 reads SSL_CERT_FILE at its first use; pgx and lib/pq heed \
                    PGSSLROOTCERT; a RootCAs pool of the application's own wins",
        },
        Runtime {
            name: "Rust and others with OpenSSL",
            how: format!("SSL_CERT_FILE={bundle}"),
            reach: "native-tls, openssl, rustls-native-certs; not webpki-roots, which are compiled \
                    in",
        },
        Runtime {
            name: "systemd units",
            how: format!(
                "install -D {} /etc/systemd/system/UNIT.service.d/tidegate-trust.conf, then \
                 systemctl daemon-reload and restart the unit",
                at("systemd.conf")
            ),
            reach: "sets all of these variables for that unit",
        },
        Runtime {
            name: "Logins and their programs",
            how: format!("ln -s {} /etc/profile.d/tidegate-trust.sh", at("profile.sh")),
            reach: "for shells that are started from then on; cron and units don't read it",
        },
        Runtime {
            name: "Containers",
            how: format!("--volume {0}:{0}:ro --env-file {env}", folder.display()),
            reach: "a container never sees the host's store; its own roots are replaced by the \
                    host's with SSL_CERT_FILE",
        },
        Runtime {
            name: "Kubernetes",
            how: format!(
                "kubectl apply -n NAMESPACE -f {}, and add the pod's part that it shows",
                at("kubernetes.yaml")
            ),
            reach: "per namespace; every node has a CA of its own, so collect them, or bring a \
                    company's intermediate along (`ca init --from-cert`), whose root is all that \
                    pods need",
        },
        Runtime {
            name: "Clients that pin a certificate or root",
            how: "[[passthrough]] in the settings, by exe, unit, user or cgroup".into(),
            reach: "they can't be read: each of their connections is recorded as not covered",
        },
    ]
}
