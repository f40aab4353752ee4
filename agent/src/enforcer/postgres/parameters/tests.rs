use super::*;

#[test]
fn binary_values_are_told_as_the_server_prints_them() {
    let of = |type_oid: u32, bytes: &[u8]| binary(type_oid, bytes).into_owned();
    assert_eq!(of(INT4, &(-7_i32).to_be_bytes()), "-7");
    assert_eq!(of(INT2, &7_i16.to_be_bytes()), "7");
    assert_eq!(of(INT8, &i64::MIN.to_be_bytes()), "-9223372036854775808");
    assert_eq!(of(OID, &u32::MAX.to_be_bytes()), "4294967295");
    assert_eq!(of(FLOAT8, &1.5_f64.to_be_bytes()), "1.5");
    assert_eq!(of(FLOAT4, &0.1_f32.to_be_bytes()), "0.1");
    assert_eq!((of(BOOL, &[1]), of(BOOL, &[0])), ("t".into(), "f".into()));
    assert_eq!(of(TEXT, "käse".as_bytes()), "käse");
    assert_eq!(of(JSONB, b"\x01{\"a\":1}"), "{\"a\":1}");
    let id: Vec<u8> = (0..16).collect();
    assert_eq!(of(UUID, &id), "00010203-0405-0607-0809-0a0b0c0d0e0f");
    for (days, shown) in [
        (0_i32, "2000-01-01"),
        (-1, "1999-12-31"),
        (59, "2000-02-29"),
        (60, "2000-03-01"),
        (366, "2001-01-01"),
        (9_821, "2026-11-21"),
        (-36_524, "1900-01-01"),
        (-730_119, "0001-01-01"),
        (-730_120, "0001-12-31 BC"),
        (-2_451_507, "4713-01-01 BC"),
    ] {
        assert_eq!(of(DATE, &days.to_be_bytes()), shown);
    }
    assert_eq!(of(TIMESTAMP, &0_i64.to_be_bytes()), "2000-01-01 00:00:00");
    assert_eq!(of(TIMESTAMPTZ, &(-1_i64).to_be_bytes()), "1999-12-31 23:59:59.999999");
    // The infinities are told as bytes, as is what has another length.
    assert_eq!(of(DATE, &i32::MAX.to_be_bytes()), "\\x7fffffff");
    assert_eq!(of(INT4, &[1]), "\\x01");
    assert_eq!(of(17, &[0, 255]), "\\x00ff");
    assert_eq!(of(0, b""), "\\x");
}

#[test]
fn numerics_are_told_with_all_their_digits() {
    let of = |words: &[u16]| {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        binary(NUMERIC, &bytes).into_owned()
    };
    let minus = |weight: i16| weight.cast_unsigned();
    assert_eq!(of(&[0, 0, 0, 0]), "0");
    assert_eq!(of(&[0, 0, 0, 2]), "0.00");
    assert_eq!(of(&[2, 0, 0, 2, 12, 3400]), "12.34");
    assert_eq!(of(&[2, 1, 0x4000, 0, 1, 5]), "-10005");
    assert_eq!(of(&[1, 1, 0, 0, 1]), "10000");
    assert_eq!(of(&[1, minus(-1), 0, 3, 50]), "0.005");
    assert_eq!(of(&[1, minus(-2), 0, 8, 1]), "0.00000001");
    assert_eq!(of(&[0, 0, 0xc000, 0]), "NaN");
    // Cut, or with a count that is a lie.
    assert_eq!(of(&[2, 0, 0, 2, 12]), "\\x0002000000000002000c");
    assert_eq!(of(&[1, 30_000, 0, 0, 1]), "\\x00017530000000000001");
}
