//! `serve`: keeps the database open, serves it to peers over HTTP and iroh, and runs the commands of others on this folder.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

#[cfg(feature = "iroh")]
use driftless::Network;
use driftless::{Address, EngineOptions};

use super::settings::Settings;
use super::{Context, Serving, hub, metrics, ui};
use crate::contract;
use crate::failure::{Exit, Failure};
use crate::input;

// What the runtime gets to end what it does, when the network is closed already.
const FAREWELL: Duration = Duration::from_secs(5);

pub(super) fn run(context: &mut Context, settings: &Settings) -> Result<(), Failure> {
    let at = input::address(settings.http())?;
    let metrics_at = settings.metrics.as_deref().map(metrics::place).transpose()?;
    let ui_at = ui::place(settings)?;
    let mailbox = hub::wanted(settings)?;
    #[cfg(feature = "iroh")]
    let iroh = {
        let relay = input::relay(settings.relay.as_deref().unwrap_or("default"))?;
        let place = settings.iroh.as_ref().and_then(|iroh| iroh.place());
        let place = place.or(settings.lan.unwrap_or(false).then_some("any"));
        place.map(|place| Ok::<_, Failure>((input::iroh_socket(place)?, relay))).transpose()?
    };
    let reached_at =
        settings.address.iter().map(|word| input::address(word)).collect::<Result<Vec<_>, _>>()?;
    let dir = context.dir()?;
    // Without the password it still receives and serves; what only its user may read is not fetched.
    let database = match context.write() {
        Err(failure) if failure.code == "login_needed" => {
            let database = context.maintain()?;
            let name = database.user()?;
            context.output.note(format!(
                "{} has a password and gave none: serving without those keys",
                crate::output::escape(&name)
            ));
            database
        }
        opened => opened?,
    };
    let runtime = crate::runtime::start()?;
    let entered = runtime.enter();
    let cannot_listen = |error, hint: &str| Failure::new(Exit::Failed, "cannot_listen", error, hint);
    #[cfg(feature = "iroh")]
    let (network, iroh) = match iroh {
        Some((at, relay)) => {
            let builder = Network::builder(&database).http().iroh(relay);
            let builder = if settings.lan.unwrap_or(false) { builder.lan() } else { builder };
            (builder.open()?, Some(at))
        }
        None => (database.network()?, None),
    };
    #[cfg(not(feature = "iroh"))]
    let network = database.network()?;
    let address = runtime.block_on(network.serve(&at)).map_err(|error| {
        cannot_listen(error, "choose another place with `--http HOST:PORT`; port 0 takes any free one")
    })?;
    let peer = database.peer()?;
    #[allow(unused_mut, reason = "only iroh adds to it")]
    let mut addresses = if reached_at.is_empty() { reachable(&address) } else { reached_at };
    #[cfg(feature = "iroh")]
    if let Some(at) = iroh {
        let address = runtime.block_on(network.serve(&at)).map_err(|error| {
            cannot_listen(error, "choose another place with `--iroh IP:PORT`; port 0 takes any free one")
        })?;
        addresses.push(address);
    }
    drop(entered);
    let addresses: Vec<_> = addresses.into_iter().map(|at| at.with_peer(peer).to_string()).collect();
    let (sender, stopped) = channel();
    // Heard before the first line is out: who has read it may stop us at once.
    let stop = move || {
        // A second signal finds that nobody listens any more.
        let _ = sender.send(());
    };
    ctrlc::set_handler(stop).map_err(|error| {
        Failure::new(Exit::Failed, "io", error, "start the command from a terminal or a service manager")
    })?;
    let engine = {
        let _entered = runtime.enter();
        let mut options = EngineOptions::default();
        options.link_local = settings.link_local.unwrap_or(false);
        network.start_with(options)?
    };
    let mailbox = mailbox.map(|wanted| runtime.block_on(hub::open(wanted))).transpose()?;
    let serving = Arc::new(Serving {
        database,
        network: network.clone(),
        engine: engine.clone(),
        runtime: runtime.handle().clone(),
        addresses: addresses.clone(),
        mailbox,
    });
    #[cfg(unix)]
    let door =
        super::socket::Door::open(&dir, serving.clone()).map_err(|error| Failure::file(&dir, &error))?;
    let metrics = match metrics_at {
        Some(at) => Some(runtime.block_on(metrics::serve(at, serving.clone()))?),
        None => None,
    };
    let front = match ui_at {
        Some(at) => Some(runtime.block_on(ui::open(at, settings, &serving))?),
        None => None,
    };
    let line = contract::Serving {
        peer,
        addresses,
        metrics: metrics.map(|at| format!("http://{at}/metrics")),
        ui: front.as_ref().map(driftless_front::Front::url),
        pages: front.as_ref().and_then(driftless_front::Front::pages_url),
        mailbox: serving.mailbox.as_ref().map(|hub| format!("http://{}/mailbox", hub.address())),
    };
    let output = &mut context.output;
    if output.json {
        output.record(&line)?;
    } else {
        output.text(format!("serving at {}", line.addresses.join(", ")))?;
        if let Some(url) = &line.ui {
            output.text(format!("open {url}"))?;
        }
        if let Some(url) = &line.pages {
            output.text(format!("pages at {url}"))?;
        }
        if let Some(url) = &line.mailbox {
            output.text(format!("a mailbox at {url}"))?;
        }
        output.note("next, in another terminal: driftless ticket SPACE; Ctrl-C ends this one");
    }
    output.flush()?;
    // The sender lives as long as the process.
    let _ = stopped.recv();
    #[cfg(unix)]
    door.close();
    // First goodbye, then the end: what peers were sent has arrived, and what waits is written down.
    runtime.block_on(async {
        if let Some(front) = front {
            front.close().await;
        }
        if let Some(mailbox) = &serving.mailbox {
            mailbox.close().await;
        }
        engine.close(FAREWELL).await;
        network.close_and_tell().await;
    });
    drop(serving);
    runtime.shutdown_timeout(FAREWELL);
    Ok(())
}

/// Where others may find who listens at an address: `0.0.0.0` and `[::]` are no place that can be dialed.
fn reachable(address: &Address) -> Vec<Address> {
    let text = Address { peer: None, ..address.clone() }.to_string();
    let Some((host, port)) = text.trim_start_matches("http://").rsplit_once(':') else {
        return vec![address.clone()];
    };
    let host = host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    let hosts: Vec<IpAddr> = match host.filter(IpAddr::is_unspecified) {
        None => return vec![address.clone()],
        Some(IpAddr::V4(_)) => outward("0.0.0.0:0", "192.0.2.1:9", Ipv4Addr::LOCALHOST.into()),
        Some(IpAddr::V6(_)) => outward("[::]:0", "[2001:db8::1]:9", Ipv6Addr::LOCALHOST.into()),
    };
    let port = port.parse().unwrap_or_default();
    hosts.iter().filter_map(|host| Address::http(&host.to_string(), port).ok()).collect()
}

/// The address of this machine towards others, if it has one, and the one towards itself.
fn outward(from: &str, to: &str, own: IpAddr) -> Vec<IpAddr> {
    // Connecting sends nothing: the system only chooses a route, here to an address that documentation uses.
    let local = UdpSocket::bind(from).and_then(|socket| {
        socket.connect(to)?;
        socket.local_addr()
    });
    let mut hosts: Vec<IpAddr> = local.map(|address| address.ip()).into_iter().collect();
    hosts.retain(|host| *host != own);
    hosts.push(own);
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_to_dial_an_address_that_means_everywhere() {
        let address = |word: &str| input::address(word).unwrap();
        let texts = |word: &str| reachable(&address(word)).iter().map(Address::to_string).collect::<Vec<_>>();
        assert_eq!(texts("192.0.2.7:1"), ["http://192.0.2.7:1"]);
        assert_eq!(texts("0.0.0.0:7").last().unwrap(), "http://127.0.0.1:7");
        assert_eq!(texts("[::]:7").last().unwrap(), "http://[::1]:7");
        assert!(!texts("0.0.0.0:7").contains(&"http://0.0.0.0:7".to_owned()));
    }
}
