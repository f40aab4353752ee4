use super::*;

#[test]
fn what_is_written_is_found_and_the_tail_is_cut() {
    let payloads: [&[u8]; 4] = [b"a", b"four", b"more than that", &[0; 1000]];
    let mut bytes = Vec::new();
    for payload in payloads {
        push(payload, &mut bytes);
    }
    for cut in 0..=bytes.len() {
        let mut torn = bytes[..cut].to_vec();
        torn.resize(bytes.len() + 64, 0);
        let (mut place, mut seen) = (0, 0);
        while let Found::Record { payload, next } = at(&torn, place) {
            assert_eq!(payload, payloads[seen]);
            (place, seen) = (next, seen + 1);
        }
        let whole = payloads.iter().scan(0, |end, payload| {
            *end += room(payload.len());
            // The padding holds nothing.
            Some(*end - (payload.len().next_multiple_of(4) - payload.len()))
        });
        let expected = whole.filter(|end| *end <= cut).count();
        // A payload of zeros may be whole before it was written whole.
        assert!(seen == expected || seen == 4 && expected == 3, "{cut}: {seen} {expected}");
    }
}

#[test]
fn a_changed_bit_is_never_a_record() {
    let mut bytes = Vec::new();
    push(b"some payload or other", &mut bytes);
    for place in 0..HEAD + 21 {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[place] ^= 1 << bit;
            assert!(!matches!(at(&changed, 0), Found::Record { .. }), "{place} {bit}");
        }
    }
}

#[test]
fn a_start_is_read_as_it_was_written() {
    let start = Start { writer: 3, first: 1 << 40, created: 1_795_222_800_123_456 };
    let bytes = start.to_bytes();
    assert_eq!(Start::from_bytes(&bytes), Some(start));
    for place in 0..bytes.len() {
        let mut changed = bytes;
        changed[place] ^= 1;
        assert_eq!(Start::from_bytes(&changed), None);
    }
    assert_eq!(Start::from_bytes(&bytes[..40]), None);
}
