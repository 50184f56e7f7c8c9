//! Peers on the local network, by mDNS: who listens says its node key and its sockets there, and nothing else; who looks
//! writes down what is said. It proves nothing: that does TLS, when somebody dials.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use driftless_core::id::PeerId;
use futures_util::StreamExt;
use iroh::address_lookup::{AddrFilter, AddressLookup, EndpointData, EndpointInfo};
use iroh::{Endpoint, EndpointId, TransportAddr};
use iroh_mdns_address_lookup::{DiscoveryEvent, MdnsAddressLookup};
use tokio::sync::watch;

use crate::address::{Address, MAX_SOCKETS};
use crate::neighbours::Neighbours;

/// What peers ask for: `_driftless._udp.local`.
const SERVICE: &str = "driftless";
/// How long a peer that is dialed by its key alone may take to say where it is; who is there says so in a second.
const LOOK: Duration = Duration::from_secs(5);

/// What is heard and said on the local network, until it is dropped.
pub(super) struct Lan {
    mdns: MdnsAddressLookup,
    neighbours: watch::Sender<Neighbours>,
}

impl Lan {
    /// Begins to look. Needs a tokio runtime.
    pub(super) fn start(us: EndpointId) -> Result<Self, String> {
        let mdns = MdnsAddressLookup::builder()
            .service_name(SERVICE)
            .addr_filter(AddrFilter::new(|ways| Cow::Owned(nearest(ways))))
            .build(us)
            .map_err(|error| format!("the local network cannot be listened to: {error:#}"))?;
        let neighbours = watch::Sender::default();
        let (hears, told) = (mdns.clone(), neighbours.clone());
        tokio::spawn(async move {
            let mut events = hears.subscribe().await;
            // Only its events are needed: this task must not keep it.
            drop(hears);
            while let Some(event) = events.next().await {
                match event {
                    DiscoveryEvent::Discovered { endpoint_info, .. } => _ = hear(&told, &endpoint_info),
                    DiscoveryEvent::Expired { endpoint_id } => {
                        let peer = PeerId(*endpoint_id.as_bytes());
                        told.send_if_modified(|neighbours| neighbours.forget(&peer));
                    }
                    _ => {}
                }
            }
        });
        Ok(Self { mdns, neighbours })
    }

    /// Says from now on where this endpoint is, as long as it is open.
    pub(super) fn announce(&self, endpoint: &Endpoint) -> Result<(), String> {
        let lookup = endpoint.address_lookup().map_err(|error| error.to_string())?;
        lookup.add(Announcer(self.mdns.clone()));
        Ok(())
    }

    /// Who is there.
    pub(super) fn neighbours(&self) -> watch::Receiver<Neighbours> {
        self.neighbours.subscribe()
    }

    /// Where a peer says that it is; none if it does not say so in time, at most this long.
    pub(super) async fn find(&self, id: EndpointId, most: Duration) -> Vec<SocketAddr> {
        let Some(mut said) = self.mdns.resolve(id) else { return Vec::new() };
        let found = async {
            while let Some(item) = said.next().await {
                // Whoever is asked for is not told to those who only look.
                let sockets =
                    item.map(|item| hear(&self.neighbours, item.endpoint_info())).unwrap_or_default();
                if !sockets.is_empty() {
                    return sockets;
                }
            }
            Vec::new()
        };
        tokio::time::timeout(LOOK.min(most), found).await.unwrap_or_default()
    }
}

/// Says where an endpoint is, and answers nobody: what is dialed is decided by the address alone.
#[derive(Debug)]
struct Announcer(MdnsAddressLookup);

impl AddressLookup for Announcer {
    fn publish(&self, data: &EndpointData) {
        self.0.publish(data);
    }
}

// Writes down where a peer says that it is, as far as that is near.
fn hear(neighbours: &watch::Sender<Neighbours>, info: &EndpointInfo) -> Vec<SocketAddr> {
    let said: Vec<SocketAddr> = info.ip_addrs().copied().filter(|socket| is_near(socket.ip())).collect();
    let sockets: Vec<SocketAddr> = said.into_iter().take(MAX_SOCKETS).collect();
    let peer = PeerId(*info.endpoint_id.as_bytes());
    if let Ok(address) = Address::iroh(&sockets, None)
        && !sockets.is_empty()
    {
        neighbours.send_if_modified(|neighbours| neighbours.hear(peer, address));
    }
    sockets
}

// Of the ways to an endpoint, those that are said: sockets of the local network; where there are none, those within this
// machine. No relay: who listens is not told through whom we speak.
fn nearest(ways: &[TransportAddr]) -> Vec<TransportAddr> {
    let near = |way: &TransportAddr, here: bool| match way {
        TransportAddr::Ip(socket) => is_near(socket.ip()) && socket.ip().is_loopback() == here,
        _ => false,
    };
    let said =
        |here| ways.iter().filter(|way| near(way, here)).take(MAX_SOCKETS).cloned().collect::<Vec<_>>();
    Some(said(false)).filter(|said| !said.is_empty()).unwrap_or_else(|| said(true))
}

// Whether an address is one that only neighbours have. What is said of others is a way to make us send packets to somebody
// far away, and what we are elsewhere is nobody's business here. (A link-local address of IPv6 is of no use without the
// name of an interface.)
fn is_near(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local() || ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_where_one_is_near_and_nothing_else() {
        let way = |text: &str| TransportAddr::Ip(text.parse().unwrap());
        let relay = TransportAddr::Relay("https://relay.example.org".parse().unwrap());
        let (lan, here, far) = (way("192.168.1.5:7"), way("127.0.0.1:7"), way("203.0.113.7:7"));
        assert_eq!(
            nearest(&[relay.clone(), far.clone(), here.clone(), lan.clone()]),
            std::slice::from_ref(&lan)
        );
        assert_eq!(nearest(&[relay, far, here.clone()]), [here]);
    }

    #[test]
    fn what_is_heard_of_places_far_away_is_not_believed() {
        let neighbours = watch::Sender::default();
        let key = iroh::SecretKey::from_bytes(&[7; 32]).public();
        let info = |sockets: &[&str]| {
            let ways = sockets.iter().map(|socket| TransportAddr::Ip(socket.parse().unwrap()));
            EndpointInfo::from_parts(key, EndpointData::from_iter(ways))
        };
        assert!(hear(&neighbours, &info(&["203.0.113.7:7"])).is_empty());
        assert_eq!(neighbours.borrow().addresses().count(), 0);
        let many: Vec<String> = (0..40).map(|n| format!("192.168.1.{n}:7")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).chain(["203.0.113.7:7"]).collect();
        assert_eq!(hear(&neighbours, &info(&many)).len(), MAX_SOCKETS);
        assert!(neighbours.borrow().get(&PeerId(*key.as_bytes())).is_some());
    }

    #[test]
    fn only_neighbours_are_near() {
        for near in ["192.168.1.5", "10.0.0.1", "172.16.3.4", "169.254.7.7", "127.0.0.1", "::1", "fd00::1"] {
            assert!(is_near(near.parse().unwrap()), "{near}");
        }
        for far in
            ["192.0.2.1", "8.8.8.8", "0.0.0.0", "224.0.0.251", "2001:db8::1", "fe80::1", "::ffff:8.8.8.8"]
        {
            assert!(!is_near(far.parse().unwrap()), "{far}");
        }
    }
}
