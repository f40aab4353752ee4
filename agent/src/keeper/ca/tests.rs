use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use super::*;
use crate::config::Settings;

pub(in crate::keeper) struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tidegate-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    pub fn ca(&self) -> CaSettings {
        CaSettings { certificate: self.0.join("ca.crt"), key: self.0.join("ca.key") }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

pub(in crate::keeper) fn permits(texts: &[&str]) -> Vec<Permit> {
    texts.iter().map(|text| Permit::parse(text).unwrap()).collect()
}

pub(in crate::keeper) fn authority(folder: &Folder, texts: &[&str]) -> Authority {
    let made = make(&Plan { name: None, days: DAYS, permits: permits(texts) }).unwrap();
    let _ = fs::remove_file(folder.ca().key);
    let _ = fs::remove_file(folder.ca().certificate);
    write(&made, &folder.ca()).unwrap();
    Authority::load(&folder.ca()).unwrap().unwrap()
}

fn refused(settings: &CaSettings) -> String {
    Authority::load(settings).err().unwrap().to_string()
}

pub(in crate::keeper) fn openssl(arguments: &[&str]) -> (bool, String) {
    let output = Command::new("openssl").args(arguments).output().expect("openssl is needed here");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn a_ca_is_what_it_should_be() {
    let folder = Folder::new("ca-made");
    assert!(Authority::load(&folder.ca()).unwrap().is_none());
    let authority = authority(&folder, &["db.example", "10.0.0.0/8"]);
    let key = fs::metadata(folder.ca().key).unwrap();
    assert_eq!(key.mode() & 0o7777, 0o600);
    let shown =
        openssl(&["x509", "-in", folder.ca().certificate.to_str().unwrap(), "-noout", "-text"]).1;
    for expected in [
        "CA:TRUE, pathlen:0",
        "X509v3 Basic Constraints: critical",
        "X509v3 Key Usage: critical\n                Certificate Sign\n",
        "TLS Web Server Authentication",
        "X509v3 Name Constraints: critical",
        "DNS:db.example",
        "IP:10.0.0.0/255.0.0.0",
        "ecdsa-with-SHA256",
        "NIST CURVE: P-256",
    ] {
        assert!(shown.contains(expected), "{expected} in {shown}");
    }
    assert!(authority.facts.self_signed);
    assert!(authority.facts.subject.starts_with("CN=tidegate "), "{}", authority.facts.subject);
    assert_eq!(authority.facts.constraints.shown(), ["db.example", "10.0.0.0/8"]);
    // Each is its own.
    let other = make(&Plan { name: None, days: 1, permits: Vec::new() }).unwrap();
    let der = certificates(other.certificate.as_bytes()).unwrap();
    let other = facts(&der[0]).unwrap();
    assert_ne!(other.subject, authority.facts.subject);
    assert_ne!(other.serial, authority.facts.serial);
    assert!(other.constraints.are_none());
    assert!(other.not_after - now() <= 86_400 && other.not_after - now() > 86_300);
}

#[test]
fn a_ca_is_never_written_over() {
    let folder = Folder::new("ca-over");
    let made = make(&Plan { name: Some("mine".into()), days: 1, permits: Vec::new() }).unwrap();
    write(&made, &folder.ca()).unwrap();
    let again = write(&made, &folder.ca()).err().unwrap().to_string();
    assert!(again.contains("is there already") && again.contains("tidegate ca rotate"), "{again}");
    // A dangling link is something too.
    fs::remove_file(folder.ca().key).unwrap();
    std::os::unix::fs::symlink("/nonexistent", folder.ca().key).unwrap();
    fs::remove_file(folder.ca().certificate).unwrap();
    assert!(write(&made, &folder.ca()).is_err());
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let folder = Folder::new("ca-mode");
    authority(&folder, &[]);
    for mode in [0o640, 0o604, 0o660] {
        fs::set_permissions(folder.ca().key, fs::Permissions::from_mode(mode)).unwrap();
        let why = refused(&folder.ca());
        assert!(why.contains("can be read by others") && why.contains("chmod 600"), "{why}");
    }
    fs::set_permissions(folder.ca().key, fs::Permissions::from_mode(0o400)).unwrap();
    Authority::load(&folder.ca()).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(folder.ca().key, Some(4711), None).unwrap();
        assert!(refused(&folder.ca()).contains("belongs to uid 4711"));
    }
}

#[test]
fn what_is_no_pair_of_a_ca_and_its_key_is_refused() {
    let folder = Folder::new("ca-pair");
    authority(&folder, &[]);
    let good = fs::read(folder.ca().certificate).unwrap();
    let key = fs::read(folder.ca().key).unwrap();
    let other = make(&Plan { name: None, days: 1, permits: Vec::new() }).unwrap();
    folder.file("ca.crt", &other.certificate, 0o644);
    assert!(refused(&folder.ca()).contains("it is not the key of"));
    folder.file("ca.crt", "", 0o644);
    assert!(refused(&folder.ca()).contains("it holds no certificate"));
    folder.file("ca.crt", &good, 0o644);
    folder.file(
        "ca.key",
        "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n",
        0o600,
    );
    let why = refused(&folder.ca());
    assert!(why.contains("no unencrypted private key") && !why.contains("c2Vj"), "{why}");
    fs::remove_file(folder.ca().key).unwrap();
    let why = refused(&folder.ca());
    assert!(why.contains("ca.crt` is there without `") && why.contains("ca.key"), "{why}");
    // A leaf is no CA.
    let leaf = rcgen::generate_simple_self_signed(["db".to_owned()]).unwrap();
    folder.file("ca.crt", leaf.cert.pem(), 0o644);
    folder.file("ca.key", leaf.signing_key.serialize_pem(), 0o600);
    assert!(refused(&folder.ca()).contains("is no CA's certificate"));
    folder.file("ca.crt", &good, 0o644);
    folder.file("ca.key", &key, 0o600);
    Authority::load(&folder.ca()).unwrap();
}

#[test]
fn a_company_s_intermediate_can_be_brought_along() {
    let folder = Folder::new("ca-import");
    let path = |name: &str| folder.0.join(name).display().to_string();
    let must = |arguments: &[&str]| {
        let (good, text) = openssl(arguments);
        assert!(good, "{text}");
    };
    let make_root = |subject: &str| {
        must(&[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            &path("root.key"),
            "-out",
            &path("root.crt"),
            "-days",
            "30",
            "-subj",
            subject,
        ]);
    };
    let make_intermediate = |subject: &str, kind: &[&str], extensions: &str| {
        let file = folder.file("ext", extensions, 0o644);
        let mut arguments = vec!["req", "-new", "-nodes"];
        arguments.extend_from_slice(kind);
        let (key, csr) = (path("sub.key"), path("sub.csr"));
        arguments.extend_from_slice(&["-keyout", &key, "-out", &csr, "-subj", subject]);
        must(&arguments);
        must(&[
            "x509",
            "-req",
            "-in",
            &csr,
            "-CA",
            &path("root.crt"),
            "-CAkey",
            &path("root.key"),
            "-CAcreateserial",
            "-days",
            "20",
            "-out",
            &path("sub.crt"),
            "-extfile",
            file.to_str().unwrap(),
        ]);
    };
    let brought = || {
        let (certificate, key) = (folder.0.join("sub.crt"), folder.0.join("sub.key"));
        import(&certificate, &key, Some(&folder.0.join("root.crt")))
    };
    const GOOD: &str = "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign\n\
                        subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n\
                        nameConstraints=critical,permitted;DNS:corp.example\n";
    const P256: [&str; 4] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    make_root("/C=DE/O=Corp/CN=Root");
    for kind in [&P256[..], &["-newkey", "rsa:2048"]] {
        make_intermediate("/C=DE/O=Corp/OU=Data/CN=tidegate on h1", kind, GOOD);
        let made = brought().unwrap();
        let _ = fs::remove_file(folder.ca().key);
        let _ = fs::remove_file(folder.ca().certificate);
        write(&made, &folder.ca()).unwrap();
        let authority = Authority::load(&folder.ca()).unwrap().unwrap();
        assert_eq!(authority.chain.len(), 2);
        assert!(!authority.facts.self_signed);
        assert!(authority.permits(&Name::parse("db.corp.example").unwrap()));
        assert!(!authority.permits(&Name::parse("db.example").unwrap()));
    }
    make_intermediate("/CN=x", &P256, "basicConstraints=CA:FALSE\n");
    assert!(brought().err().unwrap().to_string().contains("is no CA's certificate"));
    make_intermediate(
        "/CN=x",
        &P256,
        "basicConstraints=critical,CA:TRUE\nextendedKeyUsage=clientAuth\n",
    );
    assert!(brought().err().unwrap().to_string().contains("may not sign servers' certificates"));
    make_intermediate("/CN=x", &["-newkey", "ed25519"], GOOD);
    assert!(brought().err().unwrap().to_string().contains("take ECDSA P-256"));
    // Written anew, such a subject would not be the same: told, not signed with.
    make_intermediate("/DC=example/DC=corp/CN=x", &P256, GOOD);
    match brought() {
        Err(error) => assert!(error.to_string().contains("has an attribute twice"), "{error}"),
        Ok(_) => panic!("a subject with an attribute twice was taken"),
    }
}

#[test]
fn constraints_are_read_as_verifiers_read_them() {
    let folder = Folder::new("ca-names");
    let name = |text: &str| Name::parse(text).unwrap();
    for (list, good, bad) in [
        (
            &["db.example"][..],
            &["db.example", "a.db.example", "*.db.example", "DB.example."][..],
            &["example", "xdb.example", "*.example", "10.0.0.1", "::1"][..],
        ),
        (&["10.0.0.0/8"], &["10.0.0.1", "10.255.0.1"], &["11.0.0.1", "db", "::1", "db.example"]),
        (&["2001:db8::/32"], &["2001:db8::1"], &["2001:db9::1", "10.0.0.1", "localhost"]),
        (&["db", "192.0.2.7"], &["db", "192.0.2.7"], &["192.0.2.8", "::1", "d"]),
        (&[], &["anything.example", "10.0.0.1", "::1"], &[]),
    ] {
        let authority = authority(&folder, list);
        for text in good {
            assert!(authority.permits(&name(text)), "{list:?} permits {text}");
        }
        for text in bad {
            assert!(!authority.permits(&name(text)), "{list:?} does not permit {text}");
        }
    }
}

#[test]
fn what_is_no_name_is_none() {
    for text in
        ["", ".", "*", "*.", "a..b", "a b", "db\0", "ünï.example", "10.0.0.256", "a.1", "*.*.x"]
    {
        assert_eq!(Name::parse(text), None, "{text}");
    }
    for (text, expected) in [
        ("10.0.0.0/33", "is not a prefix of 0 to 32"),
        ("*.example", "write `example`"),
        ("a b", "neither a host name nor a network"),
    ] {
        assert!(Permit::parse(text).unwrap_err().contains(expected));
    }
    assert_eq!(Name::parse("::ffff:10.0.0.1"), Name::parse("10.0.0.1"));
}

#[test]
fn a_ca_is_made_at_a_first_start_and_never_again() {
    let folder = Folder::new("ca-first");
    let settings = |text: &str| Settings {
        ca: folder.ca(),
        ..crate::config::parse(text, "tidegate.toml").unwrap()
    };
    // Nothing is read: nothing is made.
    ensure(&settings("protect = [3306]"));
    assert!(!folder.ca().certificate.exists());
    ensure(&settings("protect = [\"db.example:5432\", 3306, \"10.0.0.0/8:5432\"]"));
    let first = Authority::load(&folder.ca()).unwrap().unwrap();
    assert_eq!(first.facts.constraints.shown(), ["db.example", "10.0.0.0/8"]);
    ensure(&settings("protect = [5432]"));
    assert_eq!(Authority::load(&folder.ca()).unwrap().unwrap().facts, first.facts);
    fs::remove_file(folder.ca().key).unwrap();
    ensure(&settings("protect = [5432]"));
    assert!(!folder.ca().key.exists(), "half a CA is left as it is, and told of");
    fs::remove_file(folder.ca().certificate).unwrap();
    ensure(&settings("protect = [5432, \"db.example:5433\"]"));
    let free = Authority::load(&folder.ca()).unwrap().unwrap();
    assert!(free.facts.constraints.are_none());
    // Where it can't be written, the agent starts all the same.
    let nowhere = CaSettings { certificate: "/proc/ca.crt".into(), key: "/proc/ca.key".into() };
    ensure(&Settings { ca: nowhere, ..settings("") });
}

#[test]
fn a_replaced_ca_stays_trusted_until_it_expires() {
    let folder = Folder::new("ca-replace");
    let first = authority(&folder, &["db.example"]);
    assert!(previous(&folder.ca()).unwrap().is_empty());
    let plan = Plan { name: None, days: 2, permits: Vec::new() };
    replace(&make(&plan).unwrap(), &folder.ca()).unwrap();
    let second = Authority::load(&folder.ca()).unwrap().unwrap();
    assert_ne!(first.facts, second.facts);
    let old = previous(&folder.ca()).unwrap();
    assert_eq!(old.iter().map(|der| der.to_vec()).collect::<Vec<_>>(), [first.chain[0].0.clone()]);
    // Even one whose key is lost.
    folder.file("ca.key", "", 0o600);
    replace(&make(&plan).unwrap(), &folder.ca()).unwrap();
    assert_eq!(previous(&folder.ca()).unwrap().len(), 2);
    assert!(Authority::load(&folder.ca()).unwrap().is_some());
    // What has expired is left out.
    let mut params = rcgen::CertificateParams::new(["x".to_owned()]).unwrap();
    making::dates(&mut params, 1_000_000, 2_000_000);
    let old = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    let mut text = fs::read_to_string(previous_file(&folder.ca())).unwrap();
    text.push_str(&pem(old.der()));
    fs::write(previous_file(&folder.ca()), text).unwrap();
    assert_eq!(previous(&folder.ca()).unwrap().len(), 2);
}

#[test]
fn pem_is_what_it_was_read_from() {
    for length in 0..200 {
        let der: Vec<u8> = (0..length).map(|byte| byte as u8 ^ 0xa5).collect();
        let read = certificates(pem(&der).as_bytes()).unwrap();
        assert_eq!(read[0].as_ref(), der);
    }
}
