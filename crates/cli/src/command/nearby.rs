//! `peers --lan`: who says on the local network to be there.

use driftless::{Address, Network, Relay};

use super::Context;
use crate::contract;
use crate::failure::{Exit, Failure};
use crate::input;
use crate::output::{Table, escape};
use crate::runtime;

pub(super) fn list(context: &mut Context, timeout: &str) -> Result<(), Failure> {
    let patience = input::duration(timeout)?;
    let database = context.read()?;
    // A `serve` that looks has heard already; else this command listens for itself, and says nothing of itself.
    let served = context.served.as_ref().map(|served| served.shared.clone());
    let heard = served.map(|shared| shared.runtime.block_on(shared.network.neighbours(patience)));
    let found = match heard {
        Some(Ok(found)) => found,
        _ => {
            let runtime = runtime::start()?;
            let _entered = runtime.enter();
            let network = Network::builder(&database).iroh(Relay::None).lan().open()?;
            runtime.block_on(network.neighbours(patience)).map_err(|error| {
                let hint = "another program may hold the port of mDNS (5353), or there is no network";
                Failure::new(Exit::Failed, "cannot_listen", error, hint)
            })?
        }
    };
    let known = database.peers()?;
    let line = |address: &Address| {
        let peer = address.peer?;
        let known = known.iter().find(|known| known.id == peer);
        let name = known.map(|known| known.name.clone()).filter(|name| !name.is_empty());
        Some(contract::Neighbour { peer, name, known: known.is_some(), address: address.to_string() })
    };
    let lines: Vec<contract::Neighbour> = found.iter().filter_map(line).collect();
    let output = &mut context.output;
    if output.json {
        return lines.iter().try_for_each(|line| output.record(line));
    }
    if lines.is_empty() {
        output.note("nobody says to be there; peers do that with `driftless serve --lan`");
    }
    let mut table = Table::new(&["PEER", "KNOWN", "ADDRESS"]);
    for line in &lines {
        let name = line.name.as_deref().map(|name| escape(name).into_owned());
        let known = if line.known { "yes" } else { "no" };
        table.row([name.unwrap_or_else(|| line.peer.short()), known.to_owned(), line.address.clone()]);
    }
    output.table(&table)
}
