//! The list of targets: a name, what it runs, what it may cost, and valid inputs to begin with.

use crate::target::{Allowance, DECODER, Target};
use crate::{encodings, graphs, mailbox, receive, sessions, texts, wire};

const MIB: usize = 1024 * 1024;
/// Each pattern in a filter may compile to a MiB and takes several times that meanwhile. Filters come from the user of
/// this machine, never from a peer.
const FILTER: Allowance = Allowance { heap: 96 * MIB, per_byte: 16, time: 8 };
/// Four walks for each of eight messages over a graph of 1500 nodes, or a copy of it: a MiB in all, whatever the input.
const GRAPHS: Allowance = Allowance { heap: MIB, per_byte: 0, time: 2 };
/// Two databases, and a reader that holds up to a frame of its file.
const DATABASES: Allowance = Allowance { heap: 16 * MIB, per_byte: 16, time: 4 };

const fn decoder(name: &'static str, longest: usize, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, longest, allowance: DECODER, run, seeds, decodes: true }
}

const fn live(name: &'static str, longest: usize, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, longest, allowance: DATABASES, run, seeds, decodes: false }
}

/// All of them.
pub static TARGETS: [Target; 20] = [
    decoder("header", 4200, encodings::header, encodings::header_seeds),
    decoder("body", 65_536, encodings::body, encodings::body_seeds),
    decoder("rules", 65_536, encodings::rules, encodings::rules_seeds),
    decoder("frame", 65_536, encodings::frame, encodings::frame_seeds),
    decoder("message", 65_536, encodings::message, encodings::message_seeds),
    decoder("value", 16_384, encodings::value, encodings::value_seeds),
    decoder("stored", 16_384, encodings::stored, encodings::stored_seeds),
    decoder("json", 16_384, texts::json, texts::json_seeds),
    decoder("operators", 16_384, texts::operators, texts::operators_seeds),
    Target { allowance: FILTER, ..decoder("filter", 8192, texts::filter, texts::filter_seeds) },
    decoder("names", 2048, texts::names, texts::names_seeds),
    decoder("ticket", 8192, texts::ticket, texts::ticket_seeds),
    decoder("address", 1024, texts::address, texts::address_seeds),
    decoder("records", 8192, wire::records, wire::records_seeds),
    Target { allowance: GRAPHS, ..decoder("summaries", 65_536, graphs::summaries, graphs::summaries_seeds) },
    Target { allowance: GRAPHS, ..decoder("syncdoc", 65_536, graphs::syncdoc, graphs::syncdoc_seeds) },
    live("bundle", 16_384, receive::bundle_file, receive::bundle_seeds),
    live("receive", 512, receive::receive, receive::programs),
    live("sessions", 512, sessions::sessions, receive::programs),
    live("mailbox", 1024, mailbox::mailbox, mailbox::seeds),
];

/// The target of a name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
