use super::*;
use crate::model::{ColumnWord, Der, DestinationTerms, PolicyMode, PolicyTerms, Protocol, Secret};

fn terms() -> Terms {
    Terms {
        marks: crate::model::Secret(vec![7; 32]),
        generation: 7,
        destinations: vec![DestinationTerms {
            name: "db.example:5432".into(),
            protocol: Protocol::Postgres,
            environment: Some("staging".into()),
            tls: Default::default(),
            auth: Default::default(),
            pooling: Default::default(),
            catalog: Some(crate::model::Account {
                role: "reader".into(),
                password: Secret(b"of ours".to_vec()),
            }),
        }],
        system_roots: vec![Der(vec![1; 200_000]); 3],
        issuer: vec![Der(vec![2; 5])],
        passthrough: Vec::new(),
        classes: vec![ColumnWord { class: Some("email".into()), ..ColumnWord::default() }],
        policy: PolicyTerms {
            mode: PolicyMode::Shadow,
            bare: true,
            packs: vec!["read-only".into()],
            own: vec![("own.cedar".into(), "permit (principal, action, resource);".into())],
            enforced: vec!["shop.service".into()],
        },
    }
}

fn unsealed(bytes: &[u8], seals: SealFlags) -> OwnedFd {
    let file = memfd_create("x", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    assert_eq!(rustix::io::write(&file, bytes).unwrap(), bytes.len());
    fcntl_add_seals(&file, seals).unwrap();
    file
}

fn refused(file: impl AsFd) -> String {
    match unseal_terms(file) {
        Err(ChannelError::Malformed(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_sealed_is_read_by_everybody_and_changed_by_nobody() {
    let file = seal_terms(&terms()).unwrap();
    for _ in 0..2 {
        assert_eq!(unseal_terms(&file).unwrap(), terms());
    }
    assert_eq!(rustix::io::pwrite(&file, b"x", 0), Err(rustix::io::Errno::PERM));
    assert_eq!(rustix::fs::ftruncate(&file, 0), Err(rustix::io::Errno::PERM));
    assert_eq!(fcntl_add_seals(&file, SealFlags::empty()), Err(rustix::io::Errno::PERM));
}

#[test]
fn what_is_not_sealed_whole_is_not_read() {
    let bytes = postcard::to_stdvec(&terms()).unwrap();
    for missing in [SealFlags::SEAL, SealFlags::SHRINK, SealFlags::GROW, SealFlags::WRITE] {
        assert!(refused(unsealed(&bytes, all() - missing)).contains("not sealed"));
    }
    assert_eq!(unseal_terms(unsealed(&bytes, all())).unwrap(), terms());
    let (reader, _writer) = rustix::pipe::pipe().unwrap();
    assert!(refused(reader).contains("no memory file"));
    assert!(refused(std::fs::File::open("/etc/passwd").unwrap()).contains("no memory file"));
}

#[test]
fn what_is_no_terms_is_told() {
    let bytes = postcard::to_stdvec(&terms()).unwrap();
    for cut in [0, 1, bytes.len() / 2, bytes.len() - 1] {
        assert!(refused(unsealed(&bytes[..cut], all())).starts_with("the terms: "));
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(refused(unsealed(&longer, all())).contains("1 bytes are left over"));
    let file = memfd_create("x", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    rustix::fs::ftruncate(&file, MOST_BYTES as u64 + 1).unwrap();
    fcntl_add_seals(&file, all()).unwrap();
    assert!(refused(file).contains("too many"));
}

#[test]
fn no_secret_is_shown() {
    let secret = format!("{:?} {:?}", Secret(b"hunter2".to_vec()), Der(vec![104; 9]));
    assert_eq!(secret, "Secret Der(9 bytes)");
}
