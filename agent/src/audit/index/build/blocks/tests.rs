use super::*;

#[test]
fn what_is_packed_is_unpacked() {
    let sets: [Vec<i64>; 5] = [
        vec![7],
        (100..3_000).collect(),
        (0..600).map(|n| n * 131).collect(),
        vec![1, 2, 129, 130, 258, 4_097, 4_098, 90_000, 1 << 40],
        (0..5_000).map(|n| n * n / 3 + n).collect(),
    ];
    for blocks in sets {
        let (mut read, mut rows) = (Vec::new(), 0);
        let mut rest = blocks.as_slice();
        while let [first, others @ ..] = rest {
            let (more, count) = packed(*first, others.iter().copied());
            let told: Vec<i64> = unpacked(*first, &more).collect();
            assert!(told.last().is_some_and(|last| last - first <= SPAN) && more.len() <= 600);
            assert_eq!(told.len(), count + 1);
            read.extend(told);
            rest = &others[count..];
            rows += 1;
        }
        assert_eq!(read, blocks);
        assert!(rows < blocks.len().max(2), "{rows} of {}", blocks.len());
    }
}

#[test]
fn bytes_that_are_nobodys_are_read_to_some_end() {
    let first = i64::MAX - 3;
    assert!(unpacked(first, &[0xff; 300]).all(|block| block >= first));
    assert_eq!(unpacked(first, &[0x7f, 0x7f]).last(), Some(i64::MAX));
}
