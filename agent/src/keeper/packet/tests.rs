use super::*;

/// A SYN from 127.0.0.1:43210 to 127.0.0.1:15999 with an MSS option.
fn syn4() -> Vec<u8> {
    let mut packet = vec![
        0x45, 0, 0, 44, 0, 1, 0x40, 0, 64, 6, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1, // IP
        0xa8, 0xca, 0x3e, 0x7f, 1, 2, 3, 4, 0, 0, 0, 0, 0x60, 0x02, 0xff, 0xff, 0xde, 0xad, 0, 0,
        2, 4, 0xff, 0xd7, // MSS
    ];
    packet.extend(b"fast open data");
    packet
}

fn syn6() -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 20, 6, 64];
    packet.extend(Ipv6Addr::LOCALHOST.octets());
    packet.extend(Ipv6Addr::LOCALHOST.octets());
    packet.extend([0xa8, 0xca, 0x3e, 0x7f, 0, 0, 0, 9, 0, 0, 0, 0, 0x50, 0x02, 1, 1, 0, 0, 0, 0]);
    packet
}

/// Over a valid header or segment the Internet checksum comes to zero.
fn is_valid(packet: &[u8], protocol: u8) -> bool {
    match packet[0] >> 4 {
        4 => {
            let (ip, rest) = packet.split_at(20);
            let from = Ipv4Addr::new(ip[12], ip[13], ip[14], ip[15]);
            let to = Ipv4Addr::new(ip[16], ip[17], ip[18], ip[19]);
            let length = u16::try_from(rest.len()).unwrap();
            let pseudo = if protocol == TCP { pseudo4(from, to, protocol, length) } else { 0 };
            checksum(0, ip) == 0
                && checksum(pseudo, rest) == 0
                && usize::from(u16::from_be_bytes([ip[2], ip[3]])) == packet.len()
                && ip[9] == protocol
        }
        _ => {
            let (ip, rest) = packet.split_at(40);
            let address =
                |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&ip[at..at + 16]).unwrap());
            let length = u16::try_from(rest.len()).unwrap();
            checksum(pseudo6(address(8), address(24), protocol, length), rest) == 0
                && usize::from(u16::from_be_bytes([ip[4], ip[5]])) == rest.len()
                && ip[6] == protocol
        }
    }
}

#[test]
fn a_syn_comes_back_as_it_was_without_its_data() {
    for (bytes, options) in [(syn4(), 4), (syn6(), 0)] {
        let syn = Syn::parse(&bytes).unwrap();
        assert_eq!(syn.source.port(), 43210);
        assert_eq!(syn.listener.port(), 15999);
        let packet = syn.packet();
        assert!(is_valid(&packet, TCP));
        let again = Syn::parse(&packet).unwrap();
        assert_eq!((again.source, again.listener), (syn.source, syn.listener));
        assert_eq!(again.sequence(), syn.sequence());
        assert_eq!(again.tcp.len(), 20 + options);
    }
}

#[test]
fn a_reset_acknowledges_the_syn() {
    for bytes in [syn4(), syn6()] {
        let syn = Syn::parse(&bytes).unwrap();
        let packet = syn.reset();
        assert!(is_valid(&packet, TCP));
        let tcp = &packet[packet.len() - 20..];
        assert_eq!(u16::from_be_bytes([tcp[0], tcp[1]]), 15999);
        assert_eq!(u16::from_be_bytes([tcp[2], tcp[3]]), 43210);
        let acknowledged = u32::from_be_bytes([tcp[8], tcp[9], tcp[10], tcp[11]]);
        assert_eq!(acknowledged, syn.sequence() + 1);
        assert_eq!(tcp[13], RST_ACK);
    }
}

#[test]
fn an_unreachable_quotes_the_syn() {
    for (bytes, protocol) in [(syn4(), ICMP), (syn6(), ICMPV6)] {
        let syn = Syn::parse(&bytes).unwrap();
        let packet = syn.unreachable(Unreachable::Host);
        assert!(is_valid(&packet, protocol));
        assert!(packet.ends_with(&syn.packet()));
    }
}

#[test]
fn mptcp_is_told_by_its_option() {
    assert!(!Syn::parse(&syn4()).unwrap().is_mptcp());
    let mut bytes = syn4();
    bytes[32] = 0x80; // three words of options
    bytes.splice(40.., [1, 2, 4, 0xff, 0xd7, 1, 1, 1, 30, 4, 1, 0]);
    assert!(Syn::parse(&bytes).unwrap().is_mptcp());
    // An option that claims no length, and one that claims more than there is.
    for broken in [[3, 0, 30, 4], [3, 40, 30, 4]] {
        let mut bytes = syn4();
        bytes.splice(40..44, broken);
        assert_eq!(Syn::parse(&bytes).unwrap().is_mptcp(), broken[1] == 0);
    }
}

#[test]
fn what_is_no_syn_is_not_taken_for_one() {
    let mut ack = syn4();
    ack[33] = 0x10;
    assert_eq!(Syn::parse(&ack), None);
    let mut udp = syn4();
    udp[9] = 17;
    assert_eq!(Syn::parse(&udp), None);
    for cut in 0..44 {
        assert_eq!(Syn::parse(&syn4()[..cut]), None, "{cut}");
    }
}
