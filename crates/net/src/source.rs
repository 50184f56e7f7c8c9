//! Where strangers come from, for caps that one of them cannot get around by taking another address of its own.

use std::net::{IpAddr, Ipv4Addr};

/// What one stranger has: an IPv4 address, the 64 bits of IPv6 that a household gets, or a way through a relay, which says
/// of those behind it only what they like.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// One address.
    V4(Ipv4Addr),
    /// The first 64 bits of an address.
    V6([u16; 4]),
    /// The URL of the relay.
    #[cfg(feature = "iroh")]
    Relay(String),
}

impl Source {
    /// The source that an address belongs to; an IPv4 address inside IPv6 is what it stands for.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_household_is_one_source() {
        assert_eq!(Source::of(ip("2001:db8::1")), Source::of(ip("2001:db8::ffff:0:0:1")));
        assert_ne!(Source::of(ip("2001:db8::1")), Source::of(ip("2001:db8:0:1::1")));
        assert_eq!(Source::of(ip("::ffff:10.0.0.1")), Source::of(ip("10.0.0.1")));
        assert_ne!(Source::of(ip("10.0.0.1")), Source::of(ip("10.0.0.2")));
    }
}
