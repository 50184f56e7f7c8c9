//! A chat without a server: rooms on each device, synced between devices directly, readable and writable offline.
//!
//! To read from top to bottom: `room` is what is written and read, `online` how it travels, `screen` and `plain` how
//! people see it. Everything in them is the public API of driftless.

mod room;

mod online;

mod plain;

mod screen;

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use driftless::Relay;
use etcetera::BaseStrategy;

use crate::online::{Carrier, Online};
use crate::room::{Room, shown};

/// Talk in rooms that live on your own device and work offline.
#[derive(Parser)]
#[command(
    version,
    after_help = "EXAMPLES:
  driftless-chat --username alice --create-only --room-name Demo      # prints ROOM@ADDRESS, and serves the room
  driftless-chat --username bob --connect ROOM@ADDRESS
  driftless-chat --username bob                                       # later, with or without a network
  echo 'good night' | driftless-chat --username bob --plain"
)]
struct Arguments {
    /// How others see you
    #[arg(long, value_name = "NAME")]
    username: String,
    /// What carries messages to others
    #[arg(long, value_enum, default_value = "http")]
    transport: Carrier,
    /// The room to open; it is made if there is none of this name
    #[arg(long, value_name = "NAME")]
    room_name: Option<String>,
    /// Make the room, print how others connect to it, and serve it until Ctrl-C
    #[arg(long)]
    create_only: bool,
    /// Join the room at an address, as another chat prints it. Whoever knows this text may join while its maker is there
    #[arg(long, value_name = "ROOM@ADDRESS")]
    connect: Option<String>,
    /// Where everything is kept [default: a folder of this username in the platform's place for data]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Where others reach this device [default: the place of the last time, or a free port: of 127.0.0.1, of
    /// all networks where a relay is used]
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<std::net::SocketAddr>,
    /// Relays for iroh: `none`, `default` (those of the makers of iroh, who see who talks to whom), or a URL
    #[arg(long, default_value = "none")]
    relay: Relay,
    /// Lines in, lines out, without a screen; so it is also where standard input or output is no terminal
    #[arg(long)]
    plain: bool,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "driftless-chat: {}", shown(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let Arguments { username, transport, relay, listen, .. } = arguments;
    let dir = match arguments.dir {
        Some(dir) => dir,
        None => etcetera::choose_base_strategy()?.data_dir().join("driftless-chat").join(folder(&username)?),
    };
    let online = Online::open(&dir, &username, transport, relay, listen)?;
    let rooms = Room::all(&online.database)?;
    let first = match (arguments.connect, arguments.room_name) {
        (Some(word), _) => online.connect(&word)?,
        (None, name) => {
            // Without a name any room will do, if there is one.
            let is_it = |room: &Room| match &name {
                Some(name) => room.name().is_ok_and(|known| known == shown(name)),
                None => true,
            };
            let known = rooms.into_iter().find(is_it);
            let name = name.unwrap_or_else(|| "Lobby".to_owned());
            known.map_or_else(|| Room::create(&online.database, &name), Ok)?
        }
    };
    first.introduce(&username)?;
    online.keep_connected()?;
    if arguments.create_only {
        writeln!(io::stdout(), "{}", online.invitation(&first))?;
        online.wait_for_ctrl_c()?;
    } else if arguments.plain || !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        plain::run(&online, &first)?;
    } else {
        screen::run(&online, &first)?;
    }
    online.close();
    Ok(())
}

// A name as that of a folder: nothing that leads elsewhere.
fn folder(username: &str) -> Result<&str, &'static str> {
    let plain = |character: char| character.is_alphanumeric() || matches!(character, '-' | '_' | ' ');
    let fits = !username.is_empty() && username.len() <= 100 && username.chars().all(plain);
    if fits { Ok(username) } else { Err("letters and digits make a username; `--dir` allows any") }
}
