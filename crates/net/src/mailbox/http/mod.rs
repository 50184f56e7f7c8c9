//! A mailbox over HTTP: a hub serves another mailbox to whoever reaches it, and an adapter asks one. Neither trusts the
//! other. docs/mailbox.md has the requests; what both ends must agree on is here.

mod address;
mod client;
mod connect;
mod hub;
mod places;
mod quota;
mod requests;
mod watched;

pub use address::HubAddress;
pub use client::HttpMailbox;
pub use hub::{Admit, Hub, HubError, HubLimits, HubNumbers, HubOptions};

use super::{Listed, Listing, MAX_LISTING, ObjectName};

/// Where a hub answers, on its own port; a proxy may put something before it.
const ROOT: &str = "/mailbox";
/// The version of all that follows, the last part of a path before a name.
const VERSION: &str = "/1";
/// Bytes of a page of a listing: the longest names, and two numbers each.
const MAX_PAGE: usize = MAX_LISTING * (super::MAX_NAME + 48) + 64;
/// How long a hub lets somebody wait for news, in seconds: proxies end what is silent for a minute.
const WATCH: u64 = 25;
/// What the body of an answer says whose status is 507: which quota is used up.
const PREFIX_FULL: &str = "prefix";
const ALL_FULL: &str = "all";

/// Whether a text can stand in a request as it is: names, beginnings of names, and `.`, which comes after `-` and before all
/// else in a name, so that a listing can go on behind it.
fn is_plain(text: &str) -> bool {
    let known = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'/' | b'.')
    };
    text.len() <= super::MAX_NAME && text.bytes().all(known)
}

/// A page as text: a line for the whole, and one for each object.
fn write_page(listing: &Listing) -> String {
    let mut text = format!("{} {}\n", u8::from(listing.more), listing.foreign);
    for Listed { name, size, mark } in &listing.objects {
        text.push_str(&format!("{name} {size} {mark}\n"));
    }
    text
}

/// The page again, if it is one that answers these questions: names in order, after `after`, no more than asked for.
/// A page that promises more and shows nothing would be asked for without end.
fn read_page(text: &str, prefix: &str, after: &str, limit: usize) -> Option<Listing> {
    let mut lines = text.lines();
    let (more, foreign) = lines.next()?.split_once(' ')?;
    let more = match more {
        "0" => false,
        "1" => true,
        _ => return None,
    };
    // Somebody adds these numbers up.
    let foreign = foreign.parse::<u64>().ok()?.min(u32::MAX.into());
    let mut listing = Listing { objects: Vec::new(), more, foreign };
    let mut last = after.to_owned();
    for line in lines {
        let mut words = line.split(' ');
        let (name, size, mark) = (words.next()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let in_place = name.starts_with(prefix) && *name > *last;
        if words.next().is_some() || !in_place || listing.objects.len() >= limit {
            return None;
        }
        name.clone_into(&mut last);
        listing.objects.push(Listed { name: ObjectName::new(name)?, size, mark });
    }
    (!more || !listing.objects.is_empty()).then_some(listing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_comes_back_and_one_that_was_not_asked_for_is_none() {
        let name = |text: &str| ObjectName::new(text).unwrap();
        let objects = vec![
            Listed { name: name("s/w/1"), size: 7, mark: 0 },
            Listed { name: name("s/w/2"), size: 0, mark: u64::MAX },
        ];
        let listing = Listing { objects, more: true, foreign: 3 };
        let text = write_page(&listing);
        assert_eq!(read_page(&text, "s/", "", 2), Some(listing));
        assert_eq!(read_page(&text, "s/", "", 1), None, "more than was asked for");
        assert_eq!(read_page(&text, "t/", "", 9), None, "another prefix");
        assert_eq!(read_page(&text, "s/", "s/w/1", 9), None, "from the beginning again");
        for wrong in [
            "",
            "1 0\n",
            "2 0\n",
            "0\n",
            "0 0\nS 1 1\n",
            "0 0\na 1\n",
            "0 0\na 1 1 1\n",
            "0 0\nb 1 1\na 1 1\n",
        ] {
            assert_eq!(read_page(wrong, "", "", 9), None, "{wrong:?}");
        }
        assert_eq!(read_page("0 0\n", "", "", 9), Some(Listing::default()));
        // However much is said to be no object: whoever adds up what pages say never overflows.
        let foreign = read_page("0 18446744073709551615\n", "", "", 9).unwrap().foreign;
        assert!(foreign <= u64::from(u32::MAX));
    }
}
