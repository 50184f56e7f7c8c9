//! `ticket`, `join`, `sync`, `peers` and `peer`: what a database does with others. In a `serve` these use its network.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use driftless::{Address, Database, Invite, Network, Peer, PeerId, Space, SpaceId};
use indicatif::ProgressBar;
use tokio::runtime::{Handle, Runtime};

use super::Context;
use crate::args::{AddressChange, PeerCommand};
use crate::contract;
use crate::failure::{Exit, Failure};
use crate::input;
use crate::output::{Output, Table, counted, escape, permission_text, size_text, thousands, time_text};
use crate::runtime;

// What connections get to end when a command is done.
const FAREWELL: Duration = Duration::from_secs(2);

/// How a ticket is to be.
pub(super) struct Choices {
    pub(super) permission: String,
    pub(super) uses: Option<u32>,
    pub(super) expires: Option<String>,
    pub(super) addresses: Vec<String>,
    /// Also as a QR code.
    pub(super) qr: bool,
}

/// The database on a network: that of `serve`, or one for this command alone.
pub(super) struct Online {
    pub(super) database: Database,
    pub(super) network: Network,
    pub(super) handle: Handle,
    own: Option<Runtime>,
}

impl Online {
    pub(super) fn new(context: &mut Context) -> Result<Self, Failure> {
        if let Some(served) = &context.served {
            let shared = &served.shared;
            let (network, handle) = (shared.network.clone(), shared.runtime.clone());
            let database = context.write()?;
            let network = network.acting_as(&database)?;
            return Ok(Self { database, network, handle, own: None });
        }
        let database = context.write()?;
        let runtime = runtime::start()?;
        let network = {
            let _entered = runtime.enter();
            database.network()?
        };
        Ok(Self { database, network, handle: runtime.handle().clone(), own: Some(runtime) })
    }
}

impl Drop for Online {
    fn drop(&mut self) {
        if let Some(runtime) = self.own.take() {
            runtime.block_on(self.network.close_and_tell());
            runtime.shutdown_timeout(FAREWELL);
        }
    }
}

pub(super) fn ticket(context: &mut Context, space: &str, choices: Choices) -> Result<(), Failure> {
    let permission = input::permission(&choices.permission)?;
    let expires = choices.expires.as_deref().map(input::duration).transpose()?;
    let space = context.write()?.space(space)?;
    let addresses = reached_at(context, &choices.addresses)?;
    let uses = choices.uses;
    let ticket = space.invite(Invite { permission, uses, expires, addresses: addresses.clone() })?;
    let line = contract::Ticket {
        ticket: ticket.to_string(),
        space: space.id(),
        permission: permission_text(permission),
        uses,
        expires: expires.map(|expires| (now() + expires).as_millis() as u64),
        addresses,
    };
    let output = &mut context.output;
    if output.json {
        return output.record(&line);
    }
    // The ticket alone: it can be piped to where it is needed.
    output.text(&line.ticket)?;
    if choices.qr {
        let code = output.qr_code(&line.ticket).ok_or_else(|| {
            let hint = "name fewer addresses with `--address`";
            Failure::invalid("too_large", "the ticket is too long for a QR code; it is good as text", hint)
        })?;
        output.text(code)?;
    }
    let times = match line.uses {
        Some(uses) => counted(uses.into(), "time"),
        None => "any number of times".to_owned(),
    };
    let until = line.expires.map(|time| format!(", until {} UTC", time_text(time))).unwrap_or_default();
    output.note(format!("gives {} to whoever joins with it, {times}{until}", line.permission));
    Ok(())
}

/// Where those who use a ticket find this database: at the addresses that were given, else at those of `serve`.
pub(super) fn reached_at(context: &Context, words: &[String]) -> Result<Vec<String>, Failure> {
    let mut addresses = Vec::new();
    for word in words {
        addresses.push(without_peer(&input::address(word)?));
    }
    if let (true, Some(served)) = (addresses.is_empty(), &context.served) {
        addresses = served.shared.addresses.clone();
    }
    if addresses.is_empty() {
        let hint = "run `driftless serve` on this folder, or give `--address http://HOST:PORT`";
        let message = "nobody could use the ticket: this database is not being served";
        return Err(Failure::new(Exit::Failed, "no_address", message, hint));
    }
    Ok(addresses)
}

pub(super) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

pub(super) fn join(context: &mut Context, ticket: &str, name: Option<&str>) -> Result<(), Failure> {
    join_as(context, ticket, name, false)
}

/// `user join`: the space that is joined is from now on the identity of the user.
pub(super) fn join_identity(context: &mut Context, ticket: &str) -> Result<(), Failure> {
    join_as(context, ticket, None, true)
}

fn join_as(context: &mut Context, ticket: &str, name: Option<&str>, identity: bool) -> Result<(), Failure> {
    let ticket = input::ticket(&context.input.argument(ticket)?)?;
    let online = Online::new(context)?;
    let bar = progress(context);
    let (network, wanted) = (online.network.clone(), ticket.clone());
    let joining = async move {
        match identity {
            true => network.join_identity(&wanted).await,
            false => network.join(&wanted).await,
        }
    };
    let joined = shown(context, &online, ticket.space, &bar, joining);
    let (space, synced) = joined.map_err(|failure| match failure.code {
        "not_permitted" => {
            Failure { hint: "ask whoever gave it to you for a new ticket".to_owned(), ..failure }
        }
        _ => failure,
    })?;
    let line = arrived(&space, name, synced)?;
    let output = &mut context.output;
    if output.json {
        return output.record(&line);
    }
    let (documents, commits) = (counted(line.documents, "document"), counted(line.commits, "commit"));
    output.text(format!("joined {}: {documents}, {commits}", escape(&line.name)))?;
    output.note(exchanged(&line.exchange));
    Ok(())
}

/// A space has come for the first time: gives it its name, and tells of it.
pub(super) fn arrived(
    space: &Space,
    name: Option<&str>,
    synced: driftless::Synced,
) -> Result<contract::Joined, Failure> {
    if let Some(name) = name {
        space.rename(name)?;
    }
    let summary = space.summary()?;
    Ok(contract::Joined {
        space: summary.id,
        name: summary.name,
        commits: summary.commits,
        documents: summary.documents,
        exchange: synced.into(),
    })
}

/// Where a word that names a peer leads: an address, or those of a known peer.
pub(super) fn addresses(database: &Database, word: &str) -> Result<Vec<Address>, Failure> {
    if word.contains(':') {
        return Ok(vec![input::address(word)?]);
    }
    let peer = database.find_peer(word)?;
    let known = peer.addresses.iter().filter_map(|address| address.parse::<Address>().ok());
    let known: Vec<_> = known.map(|address| address.with_peer(peer.id)).collect();
    if known.is_empty() {
        let message = format!("no address of peer {} is known", peer.id.short());
        return Err(Failure::new(Exit::Unreachable, "peer_unreachable", message, "give its address"));
    }
    Ok(known)
}

/// Waits for an exchange, and tells how much of the space is here meanwhile.
pub(super) fn shown<T: Send + 'static>(
    context: &mut Context,
    online: &Online,
    space: SpaceId,
    bar: &ProgressBar,
    exchange: impl Future<Output = Result<T, driftless::Error>> + Send + 'static,
) -> Result<T, Failure> {
    if bar.is_hidden() && !context.output.verbose {
        return Ok(online.handle.block_on(exchange)?);
    }
    let changes = online.database.changes();
    let exchange = online.handle.spawn(exchange);
    let mut told = 0;
    while !exchange.is_finished() {
        // Not every change is worth a look, and the end must be noticed.
        if changes.wait_for(Duration::from_millis(50)).is_none() {
            continue;
        }
        let Ok(summary) = online.database.space(&space.to_string()).and_then(|space| space.summary()) else {
            continue;
        };
        if summary.commits > told {
            told = summary.commits;
            bar.set_message(counted(told, "commit"));
            let line = format!("{told} commits are here");
            bar.suspend(|| context.output.detail(line));
        }
    }
    bar.finish_and_clear();
    let ended = online.handle.block_on(exchange);
    Ok(ended.map_err(|error| Failure::new(Exit::Failed, "io", error, "run the command again"))??)
}

pub(super) fn progress(context: &Context) -> ProgressBar {
    // In `serve` it would be drawn on the wrong terminal.
    match context.output.shows_progress() && context.served.is_none() {
        true => ProgressBar::new_spinner(),
        false => ProgressBar::hidden(),
    }
}

/// What became of each space.
type Outcomes = Vec<(SpaceId, Result<contract::Pulled, driftless::Error>)>;

// A pull, or an exchange as if it were one.
async fn exchange(
    network: &Network,
    address: &Address,
    spaces: &[SpaceId],
    pull: bool,
) -> Result<Outcomes, driftless::Error> {
    if pull {
        let pulled = network.pull_all(address, spaces).await?.into_iter();
        return Ok(pulled.map(|(space, pulled)| (space, pulled.map(Into::into))).collect());
    }
    let synced = network.sync_all_with_peer(address, spaces).await?.into_iter();
    let exchanged = |synced: driftless::Synced| contract::Pulled {
        exchange: synced.into(),
        reconciled: true,
        cursor: None,
    };
    Ok(synced.map(|(space, synced)| (space, synced.map(exchanged))).collect())
}

pub(super) fn sync(
    context: &mut Context,
    space: Option<&str>,
    peer: Option<&str>,
    pull: bool,
) -> Result<(), Failure> {
    let address = peer.filter(|word| word.contains(':')).map(input::address).transpose()?;
    let online = Online::new(context)?;
    let space = space.map(|word| space_id(&online.database, word)).transpose()?;
    let exchanges: Vec<(Vec<Address>, Vec<SpaceId>)> = match (address, peer) {
        (Some(address), _) => {
            let spaces = match space {
                Some(space) => vec![space],
                None => online.database.spaces()?.into_iter().map(|space| space.id).collect(),
            };
            vec![(vec![address], spaces)]
        }
        (None, Some(word)) => planned(&[online.database.find_peer(word)?], space, true),
        (None, None) => planned(&online.database.peers()?, space, false),
    };
    if exchanges.iter().all(|(_, spaces)| spaces.is_empty()) {
        let hint = "`driftless join TICKET` gets to know a peer; `--peer ADDR` names one";
        return Err(Failure::new(Exit::NotFound, "no_peers", "there is nobody to exchange with", hint));
    }
    let mut met: BTreeSet<SpaceId> = BTreeSet::new();
    let mut failures: Vec<(SpaceId, Failure)> = Vec::new();
    for (addresses, spaces) in exchanges {
        let Some(first) = spaces.first().copied() else { continue };
        let mut unreachable = None;
        // The addresses of one peer: the first that works will do.
        for address in addresses {
            let (network, spaces) = (online.network.clone(), spaces.clone());
            let bar = progress(context);
            let exchange = async move { exchange(&network, &address, &spaces, pull).await };
            match shown(context, &online, first, &bar, exchange) {
                Err(failure) if failure.exit == Exit::Unreachable => unreachable = Some(failure),
                Err(failure) => return Err(failure),
                Ok(outcomes) => {
                    unreachable = None;
                    for (space, outcome) in outcomes {
                        match outcome {
                            Ok(done) => {
                                met.insert(space);
                                print_exchange(&online.database, &mut context.output, done, pull)?;
                            }
                            Err(error) => failures.push((space, error.into())),
                        }
                    }
                    break;
                }
            }
        }
        failures.extend(unreachable.map(|failure| (first, failure)));
    }
    failures.retain(|(space, failure)| {
        let fatal = !met.contains(space);
        if !fatal {
            context.output.note(format!("one peer was left out: {}", escape(&failure.message)));
        }
        fatal
    });
    match failures.into_iter().next() {
        Some((_, failure)) => Err(failure),
        None => Ok(()),
    }
}

/// Exchanges spaces with a peer, or with all that are known, to fetch what a repair could not save. Fails if a space
/// could be exchanged with nobody.
pub(super) fn refetch(
    context: &mut Context,
    spaces: Vec<SpaceId>,
    peer: Option<&str>,
) -> Result<Vec<contract::Synced>, Failure> {
    let address = peer.filter(|word| word.contains(':')).map(input::address).transpose()?;
    let online = Online::new(context)?;
    let peers = match (&address, peer) {
        (None, Some(word)) => vec![online.database.find_peer(word)?],
        _ => online.database.peers()?,
    };
    let (mut done, mut failed) = (Vec::new(), None);
    for space in spaces {
        let exchanges = match &address {
            Some(address) => vec![(vec![address.clone()], vec![space])],
            None => planned(&peers, Some(space), true),
        };
        if exchanges.is_empty() {
            let hint = "`--peer ADDR` names one; `driftless sync` fetches it later";
            return Err(Failure::new(Exit::NotFound, "no_peers", "there is nobody to fetch it from", hint));
        }
        let mut met = false;
        for address in exchanges.into_iter().flat_map(|(addresses, _)| addresses) {
            let (network, bar) = (online.network.clone(), progress(context));
            let exchange = async move { network.sync_with_peer(&address, &space).await };
            match shown(context, &online, space, &bar, exchange) {
                Ok(synced) => {
                    met = true;
                    done.push(synced.into());
                }
                Err(failure) if !met => failed = Some(failure),
                Err(_) => {}
            }
        }
        if let Some(failure) = failed.take().filter(|_| !met) {
            return Err(failure);
        }
    }
    Ok(done)
}

// A space may be one that is not here yet: then only its whole id tells which.
pub(super) fn space_id(database: &Database, word: &str) -> Result<SpaceId, Failure> {
    match (database.space(word), word.parse()) {
        (Ok(space), _) => Ok(space.id()),
        (Err(_), Ok(id)) => Ok(id),
        (Err(error), Err(_)) => Err(error.into()),
    }
}

/// Who is asked for what, at which addresses. A peer that was named is asked also for a space it was never asked for.
fn planned(peers: &[Peer], only: Option<SpaceId>, named: bool) -> Vec<(Vec<Address>, Vec<SpaceId>)> {
    let mut exchanges = Vec::new();
    for peer in peers {
        let addresses = peer.addresses.iter().filter_map(|address| address.parse::<Address>().ok());
        let addresses: Vec<_> = addresses.map(|address| address.with_peer(peer.id)).collect();
        let spaces = match only {
            Some(space) if named || peer.spaces.contains(&space) => vec![space],
            Some(_) => Vec::new(),
            None => peer.spaces.clone(),
        };
        if !addresses.is_empty() && !spaces.is_empty() {
            exchanges.push((addresses, spaces));
        }
    }
    exchanges
}

fn print_exchange(
    database: &Database,
    output: &mut Output,
    done: contract::Pulled,
    pull: bool,
) -> Result<(), Failure> {
    if output.json {
        return if pull { output.record(&done) } else { output.record(&done.exchange) };
    }
    let line = done.exchange;
    let name = database.space(&line.space.to_string()).and_then(|space: Space| space.name());
    let name = name.unwrap_or_else(|_| line.space.short());
    let with = if pull && !done.reconciled { "from" } else { "with" };
    output.text(format!("{} {with} {}: {}", escape(&name), line.peer.short(), exchanged(&line)))
}

/// `12 commits sent, 3 received; 1 KiB out, 2 KiB in`.
pub(super) fn exchanged(line: &contract::Synced) -> String {
    let mut text = format!(
        "{} sent, {} received; {} out, {} in",
        counted(line.sent, "commit"),
        thousands(line.received),
        size_text(line.bytes_out),
        size_text(line.bytes_in)
    );
    let states = [
        (line.held, "held"),
        (line.void, "void"),
        (line.wanted, "wanted"),
        (line.refused, "refused"),
        (line.declined, "declined"),
    ];
    for (count, state) in states.into_iter().filter(|(count, _)| *count > 0) {
        text.push_str(&format!("; {} {state}", thousands(count)));
    }
    if !line.settled {
        text.push_str("; the peer had less to give than it said");
    }
    text
}

pub(super) fn peers(context: &mut Context) -> Result<(), Failure> {
    let peers = context.read()?.peers()?;
    if peers.is_empty() {
        context.output.note("there is no peer yet: `driftless join TICKET` gets to know one");
    }
    let mut table = Table::new(&["PEER", "ADDRESS", "#SPACES", "LAST SYNC (UTC)", "#WELL", "STATE"]);
    for peer in peers {
        let line = described(context, peer);
        if context.output.json {
            context.output.record(&line)?;
        }
        let state = match (&line.connected, &line.last_error) {
            (Some(true), _) => "connected".to_owned(),
            (_, Some(error)) => escape(error).into_owned(),
            (_, None) => String::new(),
        };
        table.row([
            line.name.as_deref().map_or_else(|| line.peer.short(), |name| escape(name).into_owned()),
            line.addresses.first().map(|address| escape(address).into_owned()).unwrap_or_default(),
            thousands(line.spaces.len() as u64),
            last_sync(&line),
            rate(&line),
            state,
        ]);
    }
    if context.output.json { Ok(()) } else { context.output.table(&table) }
}

fn described(context: &mut Context, peer: Peer) -> contract::Peer {
    let served = context.served.as_ref();
    let connected = served.map(|served| served.shared.network.connected().contains(&peer.id));
    let id = peer.id;
    let mut line = contract::Peer::new(peer, connected);
    // What the engine knows now, or what it wrote down when it ended.
    line.waiting = match served {
        Some(served) => {
            let status = served.shared.runtime.block_on(served.shared.engine.status());
            status.ok().and_then(|mut status| status.peers.remove(&id)).map(|peer| peer.waiting)
        }
        None => context
            .read()
            .ok()
            .and_then(|database| database.unsent().ok()?.remove(&id))
            .map(|unsent| unsent.spaces),
    }
    .unwrap_or_default();
    line
}

/// How many commits the known peer lacks who is furthest behind, of each space that is shared with one.
pub(super) fn lag(database: &Database) -> Result<BTreeMap<SpaceId, u64>, Failure> {
    let spaces = database.spaces()?.into_iter().map(|space| (space.id, space.commits));
    Ok(behind(&database.peers()?, spaces))
}

/// The same of these peers and spaces, with the commits of each.
pub(super) fn behind(peers: &[Peer], spaces: impl Iterator<Item = (SpaceId, u64)>) -> BTreeMap<SpaceId, u64> {
    let commits: BTreeMap<SpaceId, u64> = spaces.collect();
    let mut lag = BTreeMap::new();
    for peer in peers {
        for agreed in &peer.agreed {
            if let Some(commits) = commits.get(&agreed.space) {
                let worst = lag.entry(agreed.space).or_insert(0_u64);
                *worst = (*worst).max(commits.saturating_sub(agreed.position));
            }
        }
    }
    lag
}

// What came of each space that is exchanged with a peer.
fn exchanges(database: &Database, peer: &Peer) -> Result<Vec<contract::Exchanges>, Failure> {
    let commits: BTreeMap<SpaceId, u64> =
        database.spaces()?.into_iter().map(|space| (space.id, space.commits)).collect();
    let cursors: BTreeMap<SpaceId, u64> =
        peer.agreed.iter().map(|agreed| (agreed.space, agreed.position)).collect();
    let line = |past: driftless::Exchanges| {
        let cursor = cursors.get(&past.space).copied();
        let all = commits.get(&past.space);
        contract::Exchanges {
            space: past.space,
            cursor,
            lag: all.zip(cursor).map(|(all, cursor)| all.saturating_sub(cursor)),
            last_sync: Some(past.last_sync_ms).filter(|time| *time > 0),
            successes: past.successes,
            failures: past.failures,
            last_error: Some(past.last_error).filter(|error| !error.is_empty()),
            history: past.history.into_iter().map(past_exchange).collect(),
        }
    };
    Ok(database.exchanges(&peer.id)?.into_iter().map(line).collect())
}

fn past_exchange(past: driftless::PastExchange) -> contract::PastExchange {
    let error = Some(past.error).filter(|error| !error.is_empty());
    contract::PastExchange { time: past.at_ms, commits: past.commits, bytes: past.bytes, error }
}

fn last_sync(line: &contract::Peer) -> String {
    line.last_sync.map_or_else(|| "never".to_owned(), time_text)
}

fn rate(line: &contract::Peer) -> String {
    line.rate.map(|rate| format!("{:.0}%", rate * 100.0)).unwrap_or_default()
}

pub(super) fn peer(context: &mut Context, command: PeerCommand) -> Result<(), Failure> {
    let (peer, done) = match command {
        PeerCommand::Add { address, name } => {
            let address = input::address(&address)?;
            let id = address.peer.ok_or_else(|| {
                let hint = "add `#p_..` at its end, as `driftless serve` prints it there";
                Failure::invalid("invalid_address", "the address does not say which peer is there", hint)
            })?;
            let database = context.maintain()?;
            let peer = database.add_peer(id, &without_peer(&address))?;
            match name {
                Some(name) => (database.name_peer(&id, &name)?, "noted"),
                None => (peer, "noted"),
            }
        }
        PeerCommand::Name { peer, name } => {
            let database = context.maintain()?;
            (database.name_peer(&database.find_peer(&peer)?.id, &name)?, "named")
        }
        PeerCommand::Address { peer, change, address } => {
            let database = context.maintain()?;
            let id = database.find_peer(&peer)?.id;
            let address = input::address(&address)?;
            if address.peer.is_some_and(|named| named != id) {
                let message = "the address names another peer";
                let hint = "`driftless peer add` notes that one";
                return Err(Failure::invalid("invalid_address", message, hint));
            }
            let text = without_peer(&address);
            match change {
                AddressChange::Add => (database.add_peer(id, &text)?, "noted an address of"),
                AddressChange::Remove if database.remove_peer_address(&id, &text)? => {
                    (database.find_peer(&id.to_string())?, "took away an address of")
                }
                AddressChange::Remove => {
                    let hint = "`driftless peer show` lists its addresses";
                    return Err(Failure::new(
                        Exit::NotFound,
                        "not_found",
                        "the peer has no such address",
                        hint,
                    ));
                }
            }
        }
        PeerCommand::Remove { peer } => {
            let database = context.maintain()?;
            let peer = database.find_peer(&peer)?;
            database.remove_peer(&peer.id)?;
            (peer, "forgot")
        }
        PeerCommand::Show { peer } => (context.read()?.find_peer(&peer)?, ""),
    };
    let past = match done {
        "" => exchanges(&context.read()?, &peer)?,
        _ => Vec::new(),
    };
    let mut line = described(context, peer);
    line.exchanges = past;
    let output = &mut context.output;
    match (output.json, done) {
        (true, _) => output.record(&line),
        (false, "") => show(output, &line),
        (false, done) => output.text(format!("{done} {}", line.peer)),
    }
}

fn show(output: &mut Output, line: &contract::Peer) -> Result<(), Failure> {
    let waits = match line.waiting.len() {
        0 => "nothing".to_owned(),
        spaces => counted(spaces as u64, "space"),
    };
    let advertised = escape(&line.advertised.join(" ")).into_owned();
    let mut labels = vec![
        ("peer", line.peer.to_string()),
        ("name", line.name.as_deref().map_or_else(|| "none".to_owned(), |name| escape(name).into_owned())),
        ("addresses", escape(&line.addresses.join(" ")).into_owned()),
        ("spaces", line.spaces.iter().map(SpaceId::to_string).collect::<Vec<_>>().join(" ")),
        ("last sync", last_sync(line)),
        ("went well", format!("{} of {}", line.successes, line.successes + line.failures)),
        ("last error", escape(line.last_error.as_deref().unwrap_or("none")).into_owned()),
        ("waiting", waits),
    ];
    if !advertised.is_empty() {
        labels.push(("advertised, not dialed", advertised));
    }
    output.labels(&labels)?;
    for exchanges in &line.exchanges {
        let rate = format!("{} of {}", exchanges.successes, exchanges.successes + exchanges.failures);
        let lag =
            exchanges.lag.map_or_else(String::new, |lag| format!(", {} behind", counted(lag, "commit")));
        output.text("")?;
        output.text(format!("{}: {rate} went well{lag}", exchanges.space))?;
        let mut table = Table::new(&["TIME (UTC)", "#COMMITS", "#BYTES", "ERROR"]);
        for past in &exchanges.history {
            table.row([
                time_text(past.time),
                thousands(past.commits),
                thousands(past.bytes),
                escape(past.error.as_deref().unwrap_or_default()).into_owned(),
            ]);
        }
        output.table(&table)?;
    }
    Ok(())
}

// Peers are noted by their id; the address is only where.
fn without_peer(address: &Address) -> String {
    Address { peer: None::<PeerId>, ..address.clone() }.to_string()
}
