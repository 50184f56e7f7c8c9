//! Small graphs on two sides: the summaries that they exchange, and what each side then sends.

use std::collections::{BTreeMap, BTreeSet};

use driftless_core::hash_graph::{
    Format, HashGraph, HashGraphMut, Inserted, MemoryGraph, NodeId, Parsed, Position,
};
use driftless_core::reconcile::{Agreed, Reconciler, Salt, Summary, frontier_digest};
use driftless_core::sign::Domain;
use serde::{Deserialize, Serialize};

use crate::summaries::{SummaryFields, decode, encode};
use crate::{Hex, hold};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    about: String,
    cases: Vec<Case>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    dialer_nonce: Hex,
    listener_nonce: Hex,
    nodes: Vec<String>,
    opener: Side,
    other: Side,
    summaries: Vec<Line>,
    opener_sends: Vec<Position>,
    other_sends: Vec<Position>,
    complete: bool,
    again: Vec<Again>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Side {
    log: String,
    digest: Hex,
    agreed: Vec<AgreedFields>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AgreedFields {
    digest: Hex,
    len: Position,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    by: String,
    bytes: Hex,
    says: SummaryFields,
}

// What the opener asks for after something did not come, and what the other side sends of it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Again {
    round: u32,
    wanted: Vec<Hex>,
    bytes: Hex,
    says: SummaryFields,
    other_sends: Vec<Position>,
}

// A node as a line: id, author or `-`, seq, and the places of its parents in the list of the case.
#[derive(Debug, Clone, Default)]
struct Lines(BTreeMap<Vec<u8>, Parsed>);

impl Format for Lines {
    fn parse(&self, bytes: &[u8]) -> Result<Parsed, &'static str> {
        self.0.get(bytes).cloned().ok_or("no line")
    }
}

fn parse(nodes: &[String]) -> Vec<Parsed> {
    let mut parsed: Vec<Parsed> = Vec::new();
    for line in nodes {
        let [id, author, seq, parents] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let bytes = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
        let number = |text: &str| text.parse::<usize>().unwrap();
        let author = (author != "-").then(|| (bytes(author).try_into().unwrap(), seq.parse().unwrap()));
        let parents = match parents {
            "-" => Vec::new(),
            parents => parents.split(',').map(|place| parsed[number(place) - 1].id).collect(),
        };
        parsed.push(Parsed { id: bytes(id).try_into().unwrap(), parents, author });
    }
    parsed
}

fn graph(nodes: &[String], log: &[usize]) -> MemoryGraph<Lines> {
    let lines = nodes.iter().map(|line| line.clone().into_bytes()).zip(parse(nodes));
    let mut graph = MemoryGraph::new(Lines(lines.collect()));
    for place in log {
        let inserted = graph.insert(nodes[place - 1].as_bytes()).unwrap();
        assert!(matches!(inserted, Inserted::New(_)), "{place}: {inserted:?}");
    }
    graph
}

// "1-5,8": places, in the order of arrival.
fn places(log: &str) -> Vec<usize> {
    let mut places = Vec::new();
    for part in log.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        places.extend(first.parse::<usize>().unwrap()..=last.parse().unwrap());
    }
    places
}

fn digest(graph: &MemoryGraph<Lines>) -> [u8; 8] {
    frontier_digest(&graph.heads().unwrap())
}

// Nodes of a case while it is drawn.
#[derive(Default)]
struct Drawing {
    name: &'static str,
    nodes: Vec<String>,
    ids: Vec<NodeId>,
    chains: BTreeMap<(u32, usize), u64>,
    nameless: bool,
}

impl Drawing {
    fn new(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    // A node of an author after nodes at these places.
    fn node(&mut self, author: u32, parents: &[usize]) -> usize {
        let place = self.nodes.len() + 1;
        let before = parents.iter().filter_map(|parent| self.chains.get(&(author, *parent))).max();
        let seq = before.map_or(1, |seq| seq + 1);
        let id = Domain::CommitId.hash(&[self.name.as_bytes(), &(place as u64).to_be_bytes()]);
        let parents = match parents {
            [] => "-".to_owned(),
            parents => parents.iter().map(usize::to_string).collect::<Vec<_>>().join(","),
        };
        let id_text = data_encoding::HEXLOWER.encode(&id);
        self.nodes.push(match self.nameless {
            true => format!("{id_text} - 0 {parents}"),
            false => format!("{id_text} {:016x} {seq} {parents}", 0xaa00_0000_0000_0000 + u64::from(author)),
        });
        self.ids.push(id);
        self.chains.insert((author, place), seq);
        place
    }

    // Nodes one after the other, by authors in turn; each also stands on its author's last one.
    fn line(&mut self, authors: u32, first: u32, count: usize, mut last: usize) -> usize {
        for number in 0..count {
            let author = first + number as u32 % authors;
            let own = self.chains.keys().filter(|(by, _)| *by == author).map(|(_, place)| *place).max();
            let mut parents: Vec<usize> = own.into_iter().chain((last > 0).then_some(last)).collect();
            parents.sort_unstable();
            parents.dedup();
            last = self.node(author, &parents);
        }
        last
    }

    fn case(self, opener: &str, other: &str, met: [Option<&str>; 2]) -> Case {
        self.asking(opener, other, met, &[])
    }

    fn asking(self, opener: &str, other: &str, met: [Option<&str>; 2], wanted: &[(u32, usize)]) -> Case {
        let side = |log: &str, met: Option<&str>| Side {
            log: log.into(),
            digest: Hex::of(digest(&graph(&self.nodes, &places(log)))),
            agreed: met
                .map(|met| AgreedFields {
                    digest: Hex::of(digest(&graph(&self.nodes, &places(met)))),
                    len: places(met).len() as Position,
                })
                .into_iter()
                .collect(),
        };
        let again = wanted.iter().map(|(round, place)| Again {
            round: *round,
            wanted: vec![Hex::of(self.ids[place - 1])],
            bytes: Hex(Vec::new()),
            says: SummaryFields::of(&Summary::default()),
            other_sends: Vec::new(),
        });
        let mut case = Case {
            name: self.name.into(),
            dialer_nonce: Hex::of([1; 16]),
            listener_nonce: Hex::of([2; 16]),
            opener: side(opener, met[0]),
            other: side(other, met[1]),
            again: again.collect(),
            nodes: self.nodes,
            summaries: Vec::new(),
            opener_sends: Vec::new(),
            other_sends: Vec::new(),
            complete: false,
        };
        (case.summaries, case.opener_sends, case.other_sends, case.again) = case.play();
        case.complete = case.completes();
        case
    }
}

type Played = (Vec<Line>, Vec<Position>, Vec<Position>, Vec<Again>);

impl Case {
    // Whether both sides have the same when each has sent what it sends.
    fn completes(&self) -> bool {
        let logs = [&self.opener, &self.other].map(|side| places(&side.log));
        let all: BTreeSet<usize> = logs.iter().flatten().copied().collect();
        let has = |log: &[usize], from: &[usize], sends: &[Position]| {
            let sent = sends.iter().map(|at| from[*at as usize - 1]);
            log.iter().copied().chain(sent).collect::<BTreeSet<usize>>() == all
        };
        has(&logs[1], &logs[0], &self.opener_sends) && has(&logs[0], &logs[1], &self.other_sends)
    }

    // From the graphs and what is agreed to everything that follows.
    fn play(&self) -> Played {
        let sides = [&self.opener, &self.other];
        let graphs = sides.map(|side| graph(&self.nodes, &places(&side.log)));
        let digests = [digest(&graphs[0]), digest(&graphs[1])];
        assert_eq!(sides.map(|side| side.digest.array()), digests);
        let mut reconcilers = sides.map(|side| {
            let agreed = side.agreed.iter();
            let agreed = agreed.map(|agreed| Agreed { digest: agreed.digest.array(), len: agreed.len });
            Reconciler::new(Salt::new(&[&self.dialer_nonce.0, &self.listener_nonce.0]), agreed.collect())
        });
        let mut lines = Vec::new();
        let mut ready = [false; 2];
        let mut said = Some(reconcilers[0].offer(&graphs[0], digests[0]).unwrap());
        let mut speaker = 0;
        while let Some(summary) = said.take() {
            let bytes = encode(&summary);
            let by = if speaker == 0 { "opener" } else { "other" };
            let says = SummaryFields::of(&summary);
            let first = lines.is_empty();
            lines.push(Line { by: by.into(), bytes: Hex::of(&bytes), says });
            speaker = 1 - speaker;
            // What is heard are the bytes.
            let heard = reconcilers[speaker]
                .hear(&graphs[speaker], digests[speaker], &decode(&bytes).unwrap(), first)
                .unwrap();
            ready[speaker] = heard.ready;
            said = heard.answer;
        }
        assert_eq!(ready, [true; 2], "{}", self.name);
        let mut sends = [0, 1].map(|side| sent(&mut reconcilers[side], &graphs[side]));
        let again = self.again.iter().map(|again| {
            let summary = reconcilers[0].again(&graphs[0], digests[0], again.round).unwrap();
            let wanted = again.wanted.iter().map(Hex::array).collect();
            let bytes = encode(&summary);
            let heard = decode(&bytes).unwrap();
            reconcilers[1].hear_again(&graphs[1], digests[1], &heard, wanted).unwrap();
            let other_sends = sent(&mut reconcilers[1], &graphs[1]);
            let (round, wanted, says) = (again.round, again.wanted.clone(), SummaryFields::of(&summary));
            Again { round, wanted, bytes: Hex(bytes), says, other_sends }
        });
        let again = again.collect();
        (lines, std::mem::take(&mut sends[0]), std::mem::take(&mut sends[1]), again)
    }
}

fn sent(reconciler: &mut Reconciler, graph: &MemoryGraph<Lines>) -> Vec<Position> {
    std::iter::from_fn(|| {
        let at = reconciler.plan().peek(graph.len())?;
        reconciler.plan().sent();
        Some(at)
    })
    .collect()
}

// A line of 9 by 3 authors, then two more of the first on one side, and three of the second on the other.
fn parted(name: &'static str) -> Drawing {
    let mut drawing = Drawing::new(name);
    let last = drawing.line(3, 0, 9, 0);
    drawing.line(1, 0, 2, last);
    drawing.line(1, 1, 3, last);
    drawing
}

// The same with so many authors that the opener does not begin with a clock.
fn many(name: &'static str, authors: u32) -> Drawing {
    let mut drawing = Drawing::new(name);
    let last = drawing.line(authors, 0, authors as usize, 0);
    drawing.line(1, 0, 1, last);
    drawing.line(1, 1, 2, last);
    drawing
}

fn forked(name: &'static str) -> Drawing {
    let mut drawing = Drawing::new(name);
    drawing.line(2, 0, 6, 0);
    // After its fifth node the first author went on in two places: 7 and 8, and 9.
    let seventh = drawing.node(0, &[5, 6]);
    drawing.node(0, &[seventh]);
    drawing.node(0, &[5, 6]);
    drawing
}

fn cases() -> Vec<Case> {
    let strangers = [None, None];
    let nameless = |name| {
        let mut drawing = Drawing { nameless: true, ..Drawing::new(name) };
        drawing.line(3, 0, 20, 0);
        drawing.line(1, 0, 1, 20);
        drawing.line(1, 1, 2, 20);
        drawing
    };
    let mut joined = Drawing::new("somebody joins their own fork, and the other side has neither");
    joined.line(2, 0, 6, 0);
    let left = joined.node(0, &[5, 6]);
    let right = joined.node(0, &[5, 6]);
    joined.node(0, &[left, right]);
    vec![
        parted("both have the same, and never met").case("1-9", "1-9", strangers),
        parted("few authors, both have something new").case("1-9,10-11", "1-9,12-14", strangers),
        parted("the opener has nothing").case("", "1-9", strangers),
        parted("the other side has nothing").case("1-9", "", strangers),
        parted("the other side lacks what two authors did").case("1-14", "1-9", strangers),
        parted("an author of whom the other side has nothing").case("1-3,4-5", "1-2", strangers),
        parted("they met, and both went on").case("1-9,10-11", "1-9,12-14", [Some("1-9"), Some("1-9")]),
        parted("they met, and the opener did not go on").case("1-9", "1-9,12-14", [Some("1-9"), Some("1-9")]),
        parted("they met, and nobody went on").case("1-9", "1-9", [Some("1-9"), Some("1-9")]),
        parted("they met, and the other side forgot").case("1-9,10-11", "1-9,12-14", [Some("1-9"), None]),
        parted("they met, and the opener forgot").case("1-9,10-11", "1-9,12-14", [None, Some("1-9")]),
        parted("they met, and the other side lost what came last").case(
            "1-9,10-11",
            "1-8",
            [Some("1-9"), Some("1-9")],
        ),
        many("more authors than a first message has", 17).case("1-18", "1-17,19-20", strangers),
        many("so many authors, and the opener forgot that they met", 17).case(
            "1-17",
            "1-17,19-20",
            [None, Some("1-17")],
        ),
        many("more authors than a clock is good for", 129).case("1-130", "1-129,131-132", strangers),
        nameless("nameless nodes").case("1-21", "1-20,22-23", strangers),
        nameless("nameless nodes, they met").case("1-21", "1-20,22-23", [Some("1-20"), Some("1-20")]),
        forked("chains that parted").case("1-6,7-8", "1-6,9", strangers),
        forked("chains that parted, they met before").case("1-6,7-8", "1-6,9", [Some("1-6"), Some("1-6")]),
        forked("one side has both chains").case("1-9", "1-6,9", strangers),
        joined.case("1-9", "1-6", strangers),
        parted("a node did not come: the rounds of a wish").asking(
            "1-9,10-11",
            "1-9,12-14",
            strangers,
            &[(1, 13), (2, 13), (3, 13)],
        ),
    ]
}

#[test]
fn two_sides_say_and_send_what_the_vectors_say() {
    let file = File {
        about: "Two sides reconcile one graph. nodes: id, first 8 bytes of the author (or - in a graph without authors), seq, \
                places of the parents in this list from 1 (or -). log: which nodes a side has, by their place in the list, in \
                the order in which they arrived there; positions count in that order from 1. agreed: frontiers where both \
                were before, and how long the log of this side was then. The opener is the dialer. summaries: one after the \
                other, each an answer to the one before. sends: the positions in the own log that a side sends then. complete: \
                whether both then have the same; if not, heads tell, and a wish follows. again: \
                the opener lacks the ids in wanted after all and asks for them in that round. Where marks are said, other marks of \
                nodes that the side has would be as right."
            .into(),
        cases: cases(),
    };
    hold("reconcile", &file, |file: File| {
        for case in &file.cases {
            let (summaries, opener_sends, other_sends, again) = case.play();
            assert_eq!(summaries, case.summaries, "{}", case.name);
            assert_eq!(
                (&opener_sends, &other_sends),
                (&case.opener_sends, &case.other_sends),
                "{}",
                case.name
            );
            assert_eq!(again, case.again, "{}", case.name);
            assert_eq!(case.completes(), case.complete, "{}", case.name);
            for line in &case.summaries {
                assert_eq!(encode(&line.says.summary()), line.bytes.0, "{}", case.name);
            }
        }
    });
}
