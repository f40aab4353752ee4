use super::*;

#[test]
fn the_status_is_found_however_it_is_packed() {
    let coded = [&[0x88], STATUS_CODED].concat();
    let with = |head: u8, name: &[u8], value: &[u8]| [&[head], name, value].concat();
    for head in [0x00, 0x10, 0x40] {
        for name in [b"\x0bgrpc-status".as_slice(), &coded] {
            for (value, expected) in [
                (b"\x010".as_slice(), 0),
                (b"\x0212", 12),
                // Five bits for each digit up to 2, six for the others, then ones.
                (&[0x81, 0x07], 0),
                (&[0x82, 0x08, 0xbf], 12),
                (&[0x82, 0x0b, 0x9f], 16),
                (&[0x81, 0x6f], 5),
            ] {
                let block = with(head, name, value);
                assert_eq!(status(&block), Ok(Some(expected)), "{head:#x} {value:?}");
            }
        }
    }
}

#[test]
fn all_else_is_stepped_over() {
    let mut block = vec![0x20, 0x88];
    // `content-type`, by its name's number; a name and a value that look alike.
    block.extend_from_slice(b"\x0f\x10\x8b\x1du\xd0b\r&=LMed");
    block.extend_from_slice(b"\x40\x0cgrpc-status2\x0bgrpc-status");
    assert_eq!(status(&block), Ok(None));
    // A value of which the length has two bytes.
    block.extend_from_slice(b"\0\x01x\x7f\x80\x01");
    block.extend_from_slice(&[b'y'; 255]);
    block.extend_from_slice(b"\0\x0bgrpc-status\x017");
    assert_eq!(status(&block), Ok(Some(7)));
    assert_eq!(status(&[]), Ok(None));
}

#[test]
fn what_is_torn_or_no_number_is_no_status() {
    let block = b"\0\x0bgrpc-status\x0212";
    for end in 1..block.len() {
        assert_eq!(status(&block[..end]), Err(AnswerError::NotGrpc), "{end}");
    }
    for value in
        [b"\0".as_slice(), b"\x01x", b"\x02-1", b"\x0b99999999999", b"\x82\xff\xff", b"\x81\x20"]
    {
        let block = [b"\0\x0bgrpc-status", value].concat();
        assert_eq!(status(&block), Err(AnswerError::NotGrpc), "{value:?}");
    }
    // A number without an end.
    assert_eq!(status(&[0xff; 100]), Err(AnswerError::NotGrpc));
}
