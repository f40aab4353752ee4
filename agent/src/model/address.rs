//! Addresses by what they are for: the three can't be confused.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};
use tidegate_ebpf::Endpoint;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub SocketAddr);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<Endpoint> for $name {
            /// v4-mapped addresses become IPv4 ones.
            fn from(endpoint: Endpoint) -> Self {
                let ip = Ipv6Addr::from(endpoint.address);
                let ip = ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4);
                Self(SocketAddr::new(ip, endpoint.port))
            }
        }

        impl From<$name> for Endpoint {
            fn from(address: $name) -> Self {
                let ip = match address.0.ip() {
                    IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                    IpAddr::V6(v6) => v6,
                };
                Self { address: ip.octets(), port: address.0.port(), reserved: [0; 6] }
            }
        }
    };
}

address! {
    /// Where the process wanted to go.
    OriginalDestination
}
address! {
    /// The client's end of the connection that was accepted.
    Peer
}
address! {
    /// Where the keeper listens.
    Listener
}
