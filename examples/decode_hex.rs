//! Says what this implementation makes of bytes, for whoever writes another one. Each line of the input is a word and
//! hex: `message`, with its number before it, or `frame`, after the text of its space.
//!
//! ```sh
//! echo 'message 008300015001010101010101010101010101010101' | cargo run -p driftless-core --example decode_hex
//! ```
#![allow(clippy::print_stdout)]

use std::io::BufRead;

use data_encoding::HEXLOWER_PERMISSIVE;
use driftless_core::commit::commit_id;
use driftless_core::frame;
use driftless_core::id::SpaceId;
use driftless_core::session::{Message, take_number};

fn main() -> std::io::Result<()> {
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let answer = match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["message", hex] => bytes(hex).and_then(|bytes| message(&bytes)),
            ["frame", space, hex] => bytes(hex).and_then(|bytes| commits(space, &bytes)),
            _ => Err("write `message HEX` or `frame SPACE HEX`".to_owned()),
        };
        match answer {
            Ok(said) => println!("{said}"),
            Err(reason) => println!("refused: {reason}"),
        }
    }
    Ok(())
}

fn bytes(hex: &str) -> Result<Vec<u8>, String> {
    HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).map_err(|error| error.to_string())
}

fn message(bytes: &[u8]) -> Result<String, String> {
    let (number, message) = take_number(bytes).ok_or("there is no number before the message")?;
    let message = Message::decode(message).map_err(|error| error.to_string())?;
    Ok(format!("{number}: {message:?}"))
}

fn commits(space: &str, bytes: &[u8]) -> Result<String, String> {
    let space: SpaceId = space.parse().map_err(|_| "that is no space id")?;
    let commits = frame::decode(&space, bytes).map_err(|error| error.to_string())?;
    let lines = commits.iter().map(|commit| {
        let (signed, body) = (commit.signature.is_some(), commit.body.as_ref().map(Vec::len));
        format!("{} signed: {signed}, bytes of its body: {body:?}", commit_id(&commit.header))
    });
    Ok(lines.collect::<Vec<_>>().join("\n"))
}
