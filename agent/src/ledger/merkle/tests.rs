use super::*;

/// RFC 6962, 2.1, word by word.
fn tree_hash(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => nothing(),
        [one] => *one,
        many => {
            let (left, right) = many.split_at(largest_below(many.len() as u64) as usize);
            node(&tree_hash(left), &tree_hash(right))
        }
    }
}

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|n| leaf(&n.to_be_bytes())).collect()
}

fn hex(hash: Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The test vectors of Certificate Transparency's reference implementations.
#[test]
fn hashes_as_certificate_transparency() {
    let inputs: [&[u8]; 8] = [
        &[],
        &[0],
        &[0x10],
        &[0x20, 0x21],
        &[0x30, 0x31],
        &[0x40, 0x41, 0x42, 0x43],
        &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
        &[
            0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d,
            0x6e, 0x6f,
        ],
    ];
    let mut range = Range::empty(0);
    assert_eq!(
        hex(range.root().unwrap()),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    for input in inputs {
        range.push(leaf(input));
    }
    assert_eq!(
        hex(range.root().unwrap()),
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
    );
}

#[test]
fn ranges_make_the_same_root_however_they_are_cut() {
    for size in 0..70_u64 {
        let leaves = leaves(size);
        let root = tree_hash(&leaves);
        for cut in 0..=size {
            let mut left = Range::empty(0);
            let mut right = Range::empty(cut);
            for (index, leaf) in leaves.iter().enumerate() {
                let range = if (index as u64) < cut { &mut left } else { &mut right };
                range.push(*leaf);
            }
            // What crosses the channel is the hashes and both ends.
            let carried = Range::from_hashes(cut, size, &right.hashes()).expect("its own hashes");
            assert_eq!(carried, right);
            assert!(left.extend(&carried));
            assert_eq!(left.root(), Some(root), "{size} cut at {cut}");
        }
    }
}

#[test]
fn a_range_with_other_ends_is_refused() {
    let mut range = Range::empty(3);
    for leaf in leaves(5) {
        range.push(leaf);
    }
    assert_eq!(Range::from_hashes(3, 9, &range.hashes()), None);
    assert_eq!(Range::from_hashes(9, 3, &range.hashes()), None);
    assert!(!Range::empty(0).extend(&range));
    assert_eq!(range.root(), None);
}

#[test]
fn inclusion_is_proven_and_nothing_else_is() {
    for size in 1..40_u64 {
        let leaves = leaves(size);
        let root = tree_hash(&leaves);
        for index in 0..size {
            let mut subtree =
                |begin: u64, end: u64| Some(tree_hash(&leaves[begin as usize..end as usize]));
            let path = inclusion(index, size, &mut subtree).expect("a path");
            assert_eq!(root_of(index, size, leaves[index as usize], &path), Some(root));
            for other in 0..size {
                if other != index {
                    assert_ne!(root_of(other, size, leaves[index as usize], &path), Some(root));
                }
            }
            let mut longer = path.clone();
            longer.push(root);
            assert_eq!(root_of(index, size, leaves[index as usize], &longer), None);
            if let Some((_, shorter)) = path.split_last() {
                assert_ne!(root_of(index, size, leaves[index as usize], shorter), Some(root));
            }
        }
        assert!(inclusion(size, size, &mut |_, _| None).is_none());
    }
}
