use super::*;

fn checkpoint() -> Checkpoint {
    Checkpoint {
        origin: "tidegate/host-1".into(),
        size: 1200,
        root: [7; 32],
        batch: Batch { writer: 3, first: 200, count: 1000 },
        at: Timestamp(1_795_222_800_123_456_000),
    }
}

fn key() -> SigningKey {
    SigningKey::from_seed("tidegate/host-1", &[9; 32]).unwrap()
}

#[test]
fn a_note_is_opened_by_its_key_alone() {
    let (key, checkpoint) = (key(), checkpoint());
    let note = key.sign(&checkpoint);
    let verifier: VerifierKey = key.verifier().to_string().parse().unwrap();
    assert_eq!(verifier.open(&note), Ok(checkpoint));
    let other = SigningKey::from_seed("tidegate/host-1", &[8; 32]).unwrap();
    assert!(matches!(other.verifier().open(&note), Err(NoteError::NotSigned(_))));
}

#[test]
fn every_changed_byte_of_a_note_is_found() {
    let key = key();
    let note = key.sign(&checkpoint());
    for at in 0..note.len() {
        for bit in 0..8 {
            let mut bytes = note.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            if let Ok(found) = key.verifier().open(&changed) {
                panic!("byte {at}, bit {bit}: {found:?}");
            }
        }
    }
}

#[test]
fn a_signature_of_a_witness_may_stand_beside() {
    let witness = SigningKey::from_seed("witness.example", &[1; 32]).unwrap();
    let (key, checkpoint) = (key(), checkpoint());
    let theirs = witness.sign(&checkpoint);
    let note = key.sign(&checkpoint) + theirs.lines().last().unwrap() + "\n";
    assert_eq!(key.verifier().open(&note), Ok(checkpoint));
}

/// The key of the C2SP specification's example.
#[test]
fn keys_are_written_as_other_tools_write_them() {
    let text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let key: VerifierKey = text.parse().unwrap();
    assert_eq!(key.to_string(), text);
    for wrong in ["", "a+b", "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"] {
        assert!(wrong.parse::<VerifierKey>().is_err(), "{wrong}");
    }
}

#[test]
fn what_is_no_note_comes_out_as_one_that_nobody_signed() {
    let note = key().sign(&checkpoint());
    let bytes = [note.as_bytes(), b"\n\xff\xfe no text\n", &[0; 300_000], b"\n\n"].concat();
    let notes = read(bytes.as_slice()).unwrap();
    assert_eq!(notes[0], note);
    assert!(notes.len() == 2 && notes[1].len() < 200_000, "{}", notes.len());
    assert!(key().verifier().open(&notes[1]).is_err());
    assert_eq!(split(&format!("{note}\r\n{note}\n\n")), [note.clone(), note]);
}
