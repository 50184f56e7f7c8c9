//! One page of what S3 lists: keys, sizes and tags out of XML, whatever else is in it. It asks nobody.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

use super::super::{MAX_LISTING, MailboxError};

/// Elements inside each other: S3 has three.
const MAX_DEPTH: usize = 8;
/// Bytes of one text: a key has at most 1,024 characters.
const MAX_TEXT: usize = 8 * 1024;

/// What a bucket says of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) tag: String,
}

/// A page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct OnePage {
    pub(super) entries: Vec<Entry>,
    /// Entries whose key is no text, or of which there were too many.
    pub(super) unread: u64,
    /// What to ask the next page with.
    pub(super) next: Option<String>,
}

/// Reads a page.
pub(super) fn read(xml: &[u8]) -> Result<OnePage, MailboxError> {
    let odd = || MailboxError::Unreachable("what the bucket lists is no listing".into());
    let mut reader = Reader::from_reader(xml);
    let (mut page, mut entry, mut text) = (OnePage::default(), Entry::default(), String::new());
    let (mut path, mut readable, mut truncated) = (Vec::<Vec<u8>>::new(), true, false);
    loop {
        match reader.read_event().map_err(|_| odd())? {
            Event::Start(start) => {
                path.push(start.local_name().as_ref().to_vec());
                if path.len() > MAX_DEPTH {
                    return Err(odd());
                }
                text.clear();
                if path.len() == 2 {
                    (entry, readable) = (Entry::default(), true);
                }
            }
            Event::Text(piece) => match std::str::from_utf8(&piece) {
                Ok(piece) if text.len() + piece.len() <= MAX_TEXT => text.push_str(piece),
                _ => readable = false,
            },
            Event::CData(piece) => match std::str::from_utf8(&piece) {
                Ok(piece) if text.len() + piece.len() <= MAX_TEXT => text.push_str(piece),
                _ => readable = false,
            },
            Event::GeneralRef(name) => match (name.resolve_char_ref(), std::str::from_utf8(&name)) {
                (Ok(Some(one)), _) => text.push(one),
                (Ok(None), Ok(name)) => match resolve_predefined_entity(name) {
                    Some(known) => text.push_str(known),
                    None => readable = false,
                },
                _ => readable = false,
            },
            Event::End(_) => {
                match path.iter().map(Vec::as_slice).collect::<Vec<_>>().as_slice() {
                    [b"ListBucketResult", b"Contents", b"Key"] => entry.key = std::mem::take(&mut text),
                    [b"ListBucketResult", b"Contents", b"Size"] => match text.trim().parse() {
                        Ok(size) => entry.size = size,
                        Err(_) => readable = false,
                    },
                    [b"ListBucketResult", b"Contents", b"ETag"] => entry.tag = std::mem::take(&mut text),
                    [b"ListBucketResult", b"Contents"] => {
                        if readable && page.entries.len() < MAX_LISTING {
                            page.entries.push(std::mem::take(&mut entry));
                        } else {
                            page.unread += 1;
                        }
                    }
                    [b"ListBucketResult", b"IsTruncated"] => truncated = text.trim() == "true",
                    [b"ListBucketResult", b"NextContinuationToken"] => {
                        page.next = Some(std::mem::take(&mut text)).filter(|_| readable);
                    }
                    [b"ListBucketResult"] => {
                        page.next = page.next.filter(|next| truncated && !next.is_empty());
                        return Ok(page);
                    }
                    [] => return Err(odd()),
                    _ => {}
                }
                path.pop();
                text.clear();
            }
            // Half a page: what is missing would look like what is not there.
            Event::Eof => return Err(odd()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(inside: &str) -> String {
        format!("<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3\">{inside}</ListBucketResult>")
    }

    #[test]
    fn keys_sizes_tags_and_the_next_page_are_read() {
        let xml = listing(
            "<Name>b</Name><IsTruncated>true</IsTruncated><Contents><Key>a/1</Key><Size>7</Size>\
             <ETag>&quot;ab&quot;</ETag><Owner><ID>x</ID><Key>no</Key></Owner></Contents>\
             <Contents><Key>a&amp;b&#10;c</Key><Size>0</Size></Contents>\
             <NextContinuationToken>t/1=</NextContinuationToken>",
        );
        let entry = |key: &str, size, tag: &str| Entry { key: key.into(), size, tag: tag.into() };
        assert_eq!(
            read(xml.as_bytes()),
            Ok(OnePage {
                entries: vec![entry("a/1", 7, "\"ab\""), entry("a&b\nc", 0, "")],
                unread: 0,
                next: Some("t/1=".into()),
            })
        );
    }

    #[test]
    fn one_odd_key_hides_no_other() {
        let one = |key: &str, size: &str| format!("<Contents><Key>{key}</Key><Size>{size}</Size></Contents>");
        let long = "k".repeat(MAX_TEXT + 1);
        let xml = listing(
            &[one("a", "1"), one("&nothing;", "1"), one(&long, "1"), one("b", "-1"), one("c", "3")].concat(),
        );
        let page = read(xml.as_bytes()).unwrap();
        let keys: Vec<_> = page.entries.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!((keys, page.unread, page.next), (vec!["a", "c"], 3, None));
    }

    #[test]
    fn what_is_no_whole_page_is_refused_and_nothing_panics() {
        let whole = listing("<Contents><Key>a</Key><Size>1</Size></Contents>");
        for end in 0..whole.len() {
            assert!(read(&whole.as_bytes()[..end]).is_err(), "{end}");
        }
        for odd in ["", "<a></a>", "</a>", "<ListBucketResult/>", "not found", "\u{0}<a>"] {
            assert!(read(odd.as_bytes()).is_err(), "{odd}");
        }
        assert!(read("<a>".repeat(100).as_bytes()).is_err());
        assert!(read(&[0xff; 64]).is_err());
        let crowd = listing(&"<Contents><Key>a</Key><Size>1</Size></Contents>".repeat(MAX_LISTING + 5));
        let page = read(crowd.as_bytes()).unwrap();
        assert_eq!((page.entries.len(), page.unread), (MAX_LISTING, 5));
    }
}
