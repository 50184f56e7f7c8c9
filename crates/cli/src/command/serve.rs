//! `serve`: keeps the database open, serves it to peers over HTTP, and runs the commands of others on this folder.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use super::{Context, Serving};
use crate::contract;
use crate::failure::{Exit, Failure};
use crate::input;

// What the runtime gets to end what it does, when the network is closed already.
const FAREWELL: Duration = Duration::from_secs(5);

pub(super) fn run(context: &mut Context, http: &str) -> Result<(), Failure> {
    let at = input::address(http)?;
    let dir = context.dir()?;
    let database = context.write()?;
    let runtime = crate::runtime::start()?;
    let entered = runtime.enter();
    let network = database.network()?;
    let address = runtime.block_on(network.serve(&at)).map_err(|error| {
        let hint = "choose another place with `--http HOST:PORT`; port 0 takes any free one";
        Failure::new(Exit::Failed, "cannot_listen", error, hint)
    })?;
    drop(entered);
    let peer = database.peer()?;
    let addresses = vec![address.to_string()];
    let (sender, stopped) = channel();
    // Heard before the first line is out: who has read it may stop us at once.
    let stop = move || {
        // A second signal finds that nobody listens any more.
        let _ = sender.send(());
    };
    ctrlc::set_handler(stop).map_err(|error| {
        Failure::new(Exit::Failed, "io", error, "start the command from a terminal or a service manager")
    })?;
    let serving = Arc::new(Serving {
        database,
        network: network.clone(),
        runtime: runtime.handle().clone(),
        addresses: addresses.clone(),
    });
    #[cfg(unix)]
    let door =
        super::socket::Door::open(&dir, serving.clone()).map_err(|error| Failure::file(&dir, &error))?;
    {
        let _entered = runtime.enter();
        network.keep_connected()?;
    }
    let line = contract::Serving { peer, addresses };
    let output = &mut context.output;
    if output.json {
        output.record(&line)?;
    } else {
        output.text(format!("serving at {}", line.addresses.join(", ")))?;
        output.note("next, in another terminal: driftless ticket SPACE; Ctrl-C ends this one");
    }
    output.flush()?;
    // The sender lives as long as the process.
    let _ = stopped.recv();
    #[cfg(unix)]
    door.close();
    network.close();
    drop(serving);
    runtime.shutdown_timeout(FAREWELL);
    Ok(())
}
