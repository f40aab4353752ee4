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

#[test]
fn policies_are_told_one_value_for_both_formats_and_nothing_uncertain() {
    use crate::wire::limits::Limits;
    use crate::wire::postgres::Frontend;

    let one = |type_oid: u32, format: u16, value: Option<&[u8]>, unicode: bool| {
        let mut body = b"\0\0".to_vec();
        body.extend([&1_u16.to_be_bytes()[..], &format.to_be_bytes(), &[0, 1]].concat());
        let length = value.map_or(-1, |value| i32::try_from(value.len()).unwrap());
        body.extend(length.to_be_bytes());
        body.extend(value.unwrap_or_default());
        body.extend([0, 0]);
        let Ok(Frontend::Bind(bind)) = Frontend::decode(b'B', &body, &Limits::default()) else {
            panic!("no Bind");
        };
        values(bind.parameters, bind.formats, &[type_oid], unicode)[0].clone()
    };
    let of = |kind, text: &str| Value { kind, is: Is::Text(text.into()) };
    assert_eq!(one(INT4, 0, Some(b" 7"), true), of("int4", "7"));
    assert_eq!(one(INT4, 1, Some(&7_i32.to_be_bytes()), true), of("int4", "7"));
    assert_eq!(one(BOOL, 0, Some(b"on"), true), one(BOOL, 1, Some(&[1]), true));
    assert_eq!(one(UUID, 1, Some(&[0xab; 16]), false).is, {
        one(UUID, 0, Some(&b"AB".repeat(16)), false).is
    });
    assert_eq!(one(0, 0, Some("käse".as_bytes()), true), of("unknown", "käse"));
    assert_eq!(one(TEXT, 0, None, true), Value { kind: "text", is: Is::Null });
    let long = vec![b'x'; values::LONGEST + 1];
    for (type_oid, format, value, unicode) in [
        // In another encoding; cut within a sign; bytes of a type that isn't read; too long.
        (TEXT, 0, "käse".as_bytes(), false),
        (TEXT, 1, "käse".as_bytes(), false),
        (TEXT, 0, b"k\xc3", true),
        (17, 1, b"abc", true),
        (INT4, 1, b"a", true),
        (TEXT, 0, &long, true),
    ] {
        assert_eq!(one(type_oid, format, Some(value), unicode).is, Is::Untold, "{value:?}");
    }
}
