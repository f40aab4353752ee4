use super::super::super::record::{Told, encode};
use super::super::tests::{notes, write};
use super::*;
use crate::audit::Signer;
use crate::audit::log::tests::{Keeper, Scratch, key, small};
use crate::ledger::note::Batch;
use crate::model::{LogAnswer, LogAppend};

fn log() -> (Scratch, Keeper) {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    write(&scratch, &keeper, 12, &small());
    (scratch, keeper)
}

fn proof_of(scratch: &Scratch, position: u64) -> Result<Proof, ProofError> {
    prove(&Folder::new(&scratch.0), key().verifier(), RecordId { writer: 1, position })
}

/// The first statement's record.
fn of_statement(scratch: &Scratch) -> Proof {
    let mut proofs = (0..).map_while(|position| proof_of(scratch, position).ok());
    let shown = |proof: &Proof| proof.verify(key().verifier()).unwrap().record["kind"].clone();
    proofs.find(|proof| shown(proof) == "statement").unwrap()
}

/// An enforcer that was taken over writes what it likes from then on, and so what calls
/// itself by the name of an earlier record.
#[test]
fn what_is_written_later_proves_nothing_of_an_earlier_record() {
    let (scratch, mut keeper) = log();
    let size = keeper.0.lock().unwrap().size();
    let id = RecordId { writer: 1, position: 3 };
    let told = Told { at: 1, json: "{\"what\":\"another past\"}".into() };
    let payload = encode(id, &Body::Agent(told), Vec::new());
    let hash = merkle::leaf(&payload);
    let asked = LogAppend { writer: 1, first: size, count: 1, at: size, hashes: vec![hash] };
    let LogAnswer::Signed { note } = keeper.append(&asked).unwrap() else { panic!("not signed") };
    let mut tree = Tree::open(&Folder::new(&scratch.0)).unwrap();
    tree.write(size, &[hash]).unwrap();
    let path = merkle::inclusion(size, size + 1, &mut |begin, end| tree.subtree(begin, end));
    let leaf = Leaf {
        index: size,
        payload: STANDARD.encode(payload),
        path: path.unwrap().iter().map(|hash| STANDARD.encode(hash)).collect(),
        checkpoint: note,
    };
    let proof = Proof { schema: SCHEMA, record: id, leaves: vec![leaf] };
    let shown = proof.verify(key().verifier());
    assert!(matches!(shown, Err(ProofError::Misplaced(wrong)) if wrong == id), "{shown:?}");
}

#[test]
fn a_proof_says_when_its_record_came_in() {
    let (scratch, _) = log();
    let first = key().verifier().open(&notes(&scratch.0)[0]).unwrap();
    let proven = proof_of(&scratch, 0).unwrap().verify(key().verifier()).unwrap();
    assert_eq!((proven.signed, proven.size), (first.at.to_string(), first.size));
}

#[test]
fn nothing_that_a_record_speaks_of_can_be_left_out_of_its_proof() {
    let (scratch, _) = log();
    let proof = of_statement(&scratch);
    assert!(proof.leaves.len() > 3, "statement, text, connection, process");
    for left_out in 0..proof.leaves.len() {
        let mut fewer = proof.clone();
        fewer.leaves.remove(left_out);
        let shown = fewer.verify(key().verifier());
        assert!(matches!(shown, Err(ProofError::Lacking(_))), "{shown:?}");
    }
    let none = Proof { leaves: Vec::new(), ..proof };
    assert!(matches!(none.verify(key().verifier()), Err(ProofError::Lacking(_))));
}

#[test]
fn siblings_more_or_fewer_and_records_of_others_are_no_proof() {
    let (scratch, _) = log();
    let proof = of_statement(&scratch);
    let other = proof_of(&scratch, 0).unwrap();
    let fails = |change: &dyn Fn(&mut Proof)| {
        let mut changed = proof.clone();
        change(&mut changed);
        assert_ne!(changed, proof);
        let shown = changed.verify(key().verifier());
        assert!(shown.is_err(), "{shown:?}");
    };
    fails(&|proof| proof.record.position += 1);
    fails(&|proof| proof.record.writer += 1);
    fails(&|proof| drop(proof.leaves[0].path.pop()));
    fails(&|proof| proof.leaves[0].path.push(STANDARD.encode([7; 32])));
    fails(&|proof| proof.leaves[0].path.swap(0, 1));
    fails(&|proof| proof.leaves[0].index = u64::MAX);
    fails(&|proof| proof.leaves[1] = other.leaves[0].clone());
    fails(&|proof| proof.leaves[0].checkpoint.push('\n'));
    let foreign = crate::ledger::SigningKey::from_seed("tidegate/host-1", &[1; 32]).unwrap();
    assert!(proof.verify(foreign.verifier()).is_err());
}

#[test]
fn heads_that_nobody_signed_lead_no_proof_astray() {
    let (scratch, _) = log();
    let mut tree = Tree::open(&Folder::new(&scratch.0)).unwrap();
    let good = key().verifier().open(&notes(&scratch.0)[0]).unwrap();
    let foreign = crate::ledger::SigningKey::from_seed("tidegate/host-1", &[1; 32]).unwrap();
    for (size, first, count) in
        [(u64::MAX, 0, u64::MAX), (5, 0, 50), (u64::MAX, u64::MAX, u64::MAX), (90, 0, 90)]
    {
        let batch = Batch { writer: 1, first, count };
        tree.note(&foreign.sign(&Checkpoint { size, batch, ..good.clone() })).unwrap();
    }
    proof_of(&scratch, 0).unwrap().verify(key().verifier()).unwrap();
    assert!(matches!(proof_of(&scratch, 80), Err(ProofError::Absent(_))));
}

#[test]
fn one_that_would_prove_nothing_is_not_given_out() {
    let (scratch, _) = log();
    Tree::open(&Folder::new(&scratch.0)).unwrap().write(2, &[[7; 32]]).unwrap();
    assert!(matches!(proof_of(&scratch, 0), Err(ProofError::Wrong(_))));
}

#[test]
fn a_text_that_is_no_proof_of_this_form_is_told_as_such() {
    let (scratch, _) = log();
    let proof = proof_of(&scratch, 0).unwrap();
    let text = serde_json::to_string(&proof).unwrap();
    assert_eq!(Proof::read(&text).unwrap(), proof);
    let old = text.replace("\"schema\":2", "\"schema\":1");
    assert!(Proof::read(&old).unwrap_err().to_string().contains("of schema 1"));
    for wrong in [
        text.replace("\"schema\":2", "\"schema\":2,\"schema\":2"),
        text.replacen("\"index\":0", "\"index\":1e400", 1),
        text.replacen("\"index\":0", "\"index\":-1", 1),
        "[".repeat(1_000_000),
        format!("{{\"schema\":2,\"record\":\"1-0\",\"leaves\":{}", "[".repeat(1_000_000)),
        String::new(),
    ] {
        assert!(matches!(Proof::read(&wrong), Err(ProofError::Malformed(_))));
    }
}
