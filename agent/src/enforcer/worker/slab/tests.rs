use super::*;

#[test]
fn a_key_finds_its_value_until_it_is_removed_and_never_another() {
    let mut slab = Slab::new();
    let insert = |slab: &mut Slab<_>, value| slab.insert(|_| Ok::<_, ()>(value)).unwrap();
    let first = insert(&mut slab, "first");
    let second = insert(&mut slab, "second");
    assert_eq!(slab.get_mut(first), Some(&mut "first"));
    assert_eq!(slab.remove(first), Some("first"));
    assert_eq!(slab.remove(first), None);
    let third = insert(&mut slab, "third");
    assert_eq!(third.slot, first.slot);
    assert_eq!(slab.get_mut(first), None);
    assert_eq!(slab.remove(first), None);
    assert_eq!(slab.get_mut(third), Some(&mut "third"));
    assert_eq!(slab.len(), 2);
    assert_eq!(slab.keys(), [third, second]);
}

#[test]
fn a_packed_key_comes_back_whole() {
    for generation in [0, 1, u32::MAX - 1] {
        for slot in [0, 1, 77, (1 << 31) - 1] {
            for bit in [false, true] {
                let key = Key { generation, slot };
                assert_eq!(Key::unpack(key.pack(bit)), (key, bit));
            }
        }
    }
}

#[test]
fn a_packed_key_is_never_the_channel_s_number() {
    let last = Key { generation: u32::MAX - 1, slot: (1 << 31) - 1 };
    assert!(last.pack(true) < u64::MAX);
}

#[test]
fn a_value_that_could_not_be_made_leaves_no_trace() {
    let mut slab = Slab::new();
    let first = slab.insert(|_| Ok::<_, ()>(1)).unwrap();
    slab.remove(first).unwrap();
    assert_eq!(slab.insert(|_| Err("no")), Err("no"));
    assert_eq!(slab.len(), 0);
    let second = slab.insert(|key| Ok::<_, ()>(key.slot)).unwrap();
    assert_eq!(slab.get_mut(second), Some(&mut first.slot.clone()));
}
