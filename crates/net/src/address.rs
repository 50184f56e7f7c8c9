//! Where a peer can be reached, as text that people copy: `http://host:port`, and with the peer that must answer
//! there, `http://host:port/#p_…`; or `iroh:` with the sockets and the relay of an iroh endpoint, and its peer. Nothing
//! here resolves a name or opens a socket.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::str::FromStr;

use driftless_core::id::PeerId;

/// Bytes of a host name: what DNS allows.
const MAX_HOST: usize = 253;

/// Sockets in one iroh address: the interfaces of a machine, and how others see it from outside.
pub(crate) const MAX_SOCKETS: usize = 8;

/// Where to reach a peer, and optionally which peer must answer there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// The place to dial or to listen at; it chooses the transport.
    pub place: Place,
    /// The peer that must answer; dialing fails with `WrongPeer` when another one does. `None` accepts whoever answers.
    pub peer: Option<PeerId>,
}

/// A place in one kind of network.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// `http://host:port`. An IPv6 host is held without its brackets.
    Http {
        /// A name or an IP address, in lower case.
        host: String,
        /// The TCP port; 0 when listening takes any free one.
        port: u16,
    },
    /// `iroh:socket,socket,relay`: an endpoint that is known by its peer, and where packets may find it. To listen, its
    /// own sockets, or none for any free ones.
    Iroh {
        /// Its UDP sockets, at most 8, none of them twice.
        sockets: Vec<SocketAddr>,
        /// The URL of the relay that it can be reached through, without a path.
        relay: Option<String>,
    },
    /// `memory:name`: a listener inside this process.
    Memory {
        /// Letters, digits, `.`, `-` and `_`.
        name: String,
    },
}

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It begins with no scheme that is known.
    #[error("`{0}` is not an address of a kind known here; write http://host:port")]
    Scheme(String),
    /// It asks for TLS.
    #[error(
        "https is not supported; write http://host:port, which driftless encrypts and authenticates itself"
    )]
    Https,
    /// The host is missing or has characters that no host has.
    #[error("`{0}` is not a host name or an IP address (an IPv6 address stands in brackets)")]
    Host(String),
    /// The port is missing or is no number up to 65535.
    #[error("`{0}` needs a port from 0 to 65535, as in http://host:port")]
    Port(String),
    /// Something follows the port that is not `/#` and a peer id.
    #[error("`{0}` has a path; an address is http://host:port and optionally /#p_…")]
    Path(String),
    /// A part of an iroh address is neither a socket nor the URL of a relay, or there are too many.
    #[error(
        "`{0}` does not fit; an iroh address is iroh:IP:PORT,..,https://RELAY#p_… with at most 8 sockets and one relay"
    )]
    Iroh(String),
    /// What follows `#` is not a peer id.
    #[error("`{0}` after # is not a peer id (`p_` and 52 characters of a-z and 2-7)")]
    Peer(String),
}

impl Address {
    /// `http://host:port`, whoever answers. The host is a name, an IPv4 or an IPv6 address, in brackets or not.
    pub fn http(host: &str, port: u16) -> Result<Self, AddressError> {
        Ok(Self { place: Place::Http { host: checked_host(host)?, port }, peer: None })
    }

    /// `iroh:socket,socket,relay`: at most 8 sockets, and the URL of a relay.
    pub fn iroh(sockets: &[SocketAddr], relay: Option<&str>) -> Result<Self, AddressError> {
        let mut known: Vec<SocketAddr> = Vec::new();
        for socket in sockets {
            if !known.contains(socket) {
                known.push(*socket);
            }
        }
        if let Some(beyond) = known.get(MAX_SOCKETS) {
            return Err(AddressError::Iroh(beyond.to_string()));
        }
        let relay = relay.map(checked_relay).transpose()?;
        Ok(Self { place: Place::Iroh { sockets: known, relay }, peer: None })
    }

    /// `memory:name`, whoever answers.
    pub fn memory(name: &str) -> Result<Self, AddressError> {
        if !is_name(name) {
            return Err(AddressError::Host(name.to_owned()));
        }
        Ok(Self { place: Place::Memory { name: name.to_owned() }, peer: None })
    }

    /// The same place, where `peer` must answer.
    pub fn with_peer(mut self, peer: PeerId) -> Self {
        self.peer = Some(peer);
        self
    }
}

impl Address {
    fn parse_iroh(parts: &str) -> Result<Self, AddressError> {
        let wrong = |part: &str| AddressError::Iroh(part.to_owned());
        let (mut sockets, mut relay) = (Vec::new(), None);
        for part in parts.split(',').filter(|_| !parts.is_empty()) {
            if part.starts_with("http") {
                if relay.replace(part).is_some() {
                    return Err(wrong(part));
                }
            } else {
                // Before they are collected: whoever wrote this may have written very many.
                if sockets.len() > MAX_SOCKETS {
                    return Err(wrong(part));
                }
                sockets.push(part.parse().map_err(|_| wrong(part))?);
            }
        }
        Self::iroh(&sockets, relay)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (place, peer) = match text.split_once('#') {
            Some((place, peer)) => {
                (place, Some(peer.parse().map_err(|_| AddressError::Peer(peer.to_owned()))?))
            }
            None => (text, None),
        };
        let address = if let Some(rest) = place.strip_prefix("http://") {
            let (host_port, path) = rest.split_once('/').unwrap_or((rest, ""));
            if !path.is_empty() {
                return Err(AddressError::Path(place.to_owned()));
            }
            let (host, port) =
                host_port.rsplit_once(':').ok_or_else(|| AddressError::Port(place.to_owned()))?;
            // `parse` alone would take a sign.
            let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
            let port = port.parse().ok().filter(|_| digits);
            let port = port.ok_or_else(|| AddressError::Port(place.to_owned()))?;
            // Without its brackets `::1:80` could be cut in two ways.
            if host.contains(':') && !host.starts_with('[') {
                return Err(AddressError::Host(host.to_owned()));
            }
            Self::http(host, port)?
        } else if let Some(parts) = place.strip_prefix("iroh:") {
            Self::parse_iroh(parts)?
        } else if let Some(name) = place.strip_prefix("memory:") {
            Self::memory(name)?
        } else if place.starts_with("https://") {
            return Err(AddressError::Https);
        } else {
            return Err(AddressError::Scheme(text.to_owned()));
        };
        Ok(Self { peer, ..address })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Http { host, port } if host.contains(':') => write!(f, "http://[{host}]:{port}")?,
            Place::Http { host, port } => write!(f, "http://{host}:{port}")?,
            Place::Iroh { sockets, relay } => {
                let sockets = sockets.iter().map(SocketAddr::to_string);
                let parts: Vec<String> = sockets.chain(relay.clone()).collect();
                write!(f, "iroh:{}", parts.join(","))?;
            }
            Place::Memory { name } => write!(f, "memory:{name}")?,
        }
        match (&self.peer, &self.place) {
            (Some(peer), Place::Http { .. }) => write!(f, "/#{peer}"),
            (Some(peer), Place::Iroh { .. } | Place::Memory { .. }) => write!(f, "#{peer}"),
            (None, _) => Ok(()),
        }
    }
}

pub(crate) fn checked_host(host: &str) -> Result<String, AddressError> {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = inner.parse::<Ipv6Addr>() {
        return Ok(address.to_string());
    }
    if inner.len() == host.len() && host.len() <= MAX_HOST && is_name(host) {
        return Ok(host.to_ascii_lowercase());
    }
    Err(AddressError::Host(host.to_owned()))
}

/// `https://host` or `http://host`, with or without a port: the one form of a relay's URL.
pub(crate) fn checked_relay(url: &str) -> Result<String, AddressError> {
    let wrong = || AddressError::Iroh(url.to_owned());
    let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
    if !matches!(scheme, "http" | "https") {
        return Err(wrong());
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    // The colon of a port is not one inside the brackets of an IPv6 address.
    let (host, port) = match rest.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
        Some((host, port)) => {
            let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
            (host, Some(port.parse::<u16>().ok().filter(|_| digits).ok_or_else(wrong)?))
        }
        None => (rest, None),
    };
    let bracketed = host.starts_with('[');
    let host = checked_host(host).map_err(|_| wrong())?;
    if host.contains(':') != bracketed {
        return Err(wrong());
    }
    let host = if bracketed { format!("[{host}]") } else { host };
    Ok(match port {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let peer = PeerId([7; 32]);
        for text in [
            "http://127.0.0.1:4321".to_owned(),
            "http://example.org:80".to_owned(),
            "http://[::1]:0".to_owned(),
            "memory:alice".to_owned(),
            format!("http://example.org:80/#{peer}"),
            format!("http://[2001:db8::1]:80/#{peer}"),
            format!("memory:alice#{peer}"),
            "iroh:".to_owned(),
            "iroh:127.0.0.1:4321".to_owned(),
            format!("iroh:#{peer}"),
            format!("iroh:192.0.2.7:1,[2001:db8::1]:2,https://relay.example.org.#{peer}"),
            format!("iroh:https://[::1]:443#{peer}"),
            format!("iroh:http://relay.example.org:3340#{peer}"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(address.peer.is_some(), text.contains('#'));
        }
    }

    #[test]
    fn what_people_also_write_means_the_same() {
        let plain: Address = "http://example.org:80".parse().unwrap();
        assert_eq!("http://Example.ORG:80/".parse(), Ok(plain.clone()));
        let peer = PeerId([7; 32]);
        assert_eq!(format!("http://example.org:80#{peer}").parse(), Ok(plain.with_peer(peer)));
        assert_eq!(Address::http("[::1]", 1), Address::http("0:0::1", 1));
        let plain: Address = "iroh:192.0.2.7:1,https://relay.example.org".parse().unwrap();
        assert_eq!("iroh:https://Relay.example.ORG/,192.0.2.7:1,192.0.2.7:1".parse(), Ok(plain));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |text: &str| text.parse::<Address>().unwrap_err();
        assert!(matches!(wrong(""), AddressError::Scheme(_)));
        assert!(matches!(wrong("example.org:80"), AddressError::Scheme(_)));
        assert!(matches!(wrong("ftp://a:1"), AddressError::Scheme(_)));
        assert!(matches!(wrong("https://a:1"), AddressError::Https));
        for text in ["http://a", "http://a:", "http://a:65536", "http://a:+1", "http://[::1]", "http://"] {
            assert!(matches!(wrong(text), AddressError::Port(_)), "{text}");
        }
        for text in ["http://:1", "http://a b:1", "http://u@a:1", "http://::1:80", "http://[a]:1", "memory:"]
        {
            assert!(matches!(wrong(text), AddressError::Host(_)), "{text}");
        }
        assert!(matches!(wrong("http://a:1/x"), AddressError::Path(_)));
        for text in [
            "iroh:,".to_owned(),
            "iroh:example.org:1".to_owned(),
            "iroh:192.0.2.7".to_owned(),
            "iroh:https://a,https://b".to_owned(),
            "iroh:https://a/path".to_owned(),
            "iroh:https://u@a".to_owned(),
            "iroh:https://::1".to_owned(),
            "iroh:httpx://a".to_owned(),
            format!("iroh:https://{}", "a".repeat(254)),
            format!("iroh:{}", (1..10).map(|n| format!("192.0.2.{n}:1")).collect::<Vec<_>>().join(",")),
        ] {
            assert!(matches!(wrong(&text), AddressError::Iroh(_)), "{text}");
        }
        assert!(matches!(wrong("iroh:192.0.2.7:1#p_short"), AddressError::Peer(_)));
        assert!(matches!(wrong("http://a:1/#"), AddressError::Peer(_)));
        assert!(matches!(wrong("http://a:1/#p_short"), AddressError::Peer(_)));
        assert!(matches!(wrong(&format!("http://{}:1", "a".repeat(254))), AddressError::Host(_)));
    }
}
