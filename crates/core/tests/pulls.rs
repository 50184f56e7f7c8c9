//! Pulls in a session: one question, one page, and nothing for whoever does not keep to that.

use driftless_core::id::{PeerId, SpaceId};
use driftless_core::limits::{MAX_PAGE, MAX_PAGE_FRAMES, MAX_PULLS};
use driftless_core::session::{
    Ask, Cursor, Event, Fed, Message, Output, PullEnd, Role, Session, SessionError, take_number,
};
use driftless_core::sign::AuthorKey;

const A: SpaceId = SpaceId([10; 32]);
const LOG: u64 = 10;

fn cursor(at: u64) -> Cursor {
    Cursor { store: [1; 16], at, digest: [at as u8; 8] }
}

/// One side. It feeds a log of `LOG` frames, so many at once, and remembers what it took.
struct Side {
    session: Session,
    page: u64,
    events: Vec<Event>,
    taken: Vec<Vec<u8>>,
    budgets: Vec<u64>,
    whole: bool,
    answers: bool,
    said: Vec<Message>,
}

impl Side {
    fn new(role: Role) -> Self {
        let (us, them) = (PeerId([role as u8; 32]), PeerId([1 - role as u8; 32]));
        let session =
            Session::new(role, us, them, [role as u8; 16], vec![AuthorKey::from_seed(&[role as u8; 32])]);
        Self {
            session,
            page: 3,
            events: Vec::new(),
            taken: Vec::new(),
            budgets: Vec::new(),
            whole: true,
            answers: true,
            said: Vec::new(),
        }
    }

    fn work(&mut self) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        while let Some(output) = self.session.poll() {
            match output {
                Output::Send(bytes) => {
                    self.said.push(Message::decode(take_number(&bytes).unwrap().1).unwrap());
                    messages.push(bytes);
                }
                Output::Event(event) => self.events.push(event),
                Output::Ask(Ask::Feed { request, space, keys, cursor: from, budget, .. }) => {
                    self.budgets.push(budget);
                    assert_eq!(keys.len(), 1);
                    let from = from.map_or(0, |cursor| cursor.at);
                    let last = (from + self.page).min(LOG);
                    let frames = (from..last).map(|at| vec![at as u8]).collect();
                    let fed = match () {
                        () if space != A => Fed::Withheld,
                        () if from > LOG || budget == 0 => Fed::Stale(cursor(LOG)),
                        () => Fed::Page { frames, cursor: cursor(last), more: last < LOG },
                    };
                    if self.answers {
                        self.session.handle_fed(request, fed);
                    }
                }
                Output::Ask(Ask::Take { request, frames, .. }) => {
                    self.taken.extend(frames);
                    self.session.handle_taken(request, self.whole);
                }
                Output::Ask(other) => panic!("{other:?}"),
            }
        }
        messages
    }

    fn pulled(&self) -> Vec<PullEnd> {
        let end = |event: &Event| match event {
            Event::Pulled(_, end) => Some(*end),
            _ => None,
        };
        self.events.iter().filter_map(end).collect()
    }
}

fn pair() -> [Side; 2] {
    [Side::new(Role::Dialer), Side::new(Role::Listener)]
}

// Until neither has anything to say; the first error of either.
fn run(sides: &mut [Side; 2]) -> Result<(), SessionError> {
    loop {
        let mut quiet = true;
        for from in 0..2 {
            for message in sides[from].work() {
                quiet = false;
                sides[1 - from].session.handle_frame(&message)?;
            }
        }
        if quiet {
            return Ok(());
        }
    }
}

#[test]
fn everything_after_a_cursor_comes_page_by_page_in_either_direction() {
    for puller in 0..2 {
        for (from, pages) in [(None, 4), (Some(cursor(5)), 2), (Some(cursor(LOG)), 1)] {
            let mut sides = pair();
            sides[puller].session.pull(A, from, 1 << 40);
            // A listener asks when the dialer has said something.
            sides[0].session.pull(SpaceId([1; 32]), None, 1);
            run(&mut sides).unwrap();
            let first = from.map_or(0, |cursor| cursor.at) as u8;
            let log: Vec<Vec<u8>> = (first..LOG as u8).map(|at| vec![at]).collect();
            assert_eq!((&sides[puller].taken, sides[puller].pulled().last()), (&log, Some(&PullEnd::Whole)));
            // No host is asked for more than a page.
            let large =
                |side: &Side| side.budgets.iter().filter(|budget| **budget == MAX_PAGE as u64).count();
            assert_eq!(large(&sides[1 - puller]), pages);
        }
    }
}

#[test]
fn a_pull_is_one_round_trip_after_the_greeting() {
    let mut sides = pair();
    run(&mut sides).unwrap();
    sides.iter_mut().for_each(|side| side.said.clear());
    sides[0].session.pull(A, Some(cursor(8)), 1);
    run(&mut sides).unwrap();
    assert_eq!((sides[0].said.len(), sides[1].said.len(), sides[0].pulled()), (1, 1, vec![PullEnd::Whole]));
}

#[test]
fn stale_withheld_and_unfit_are_told_apart_and_end_the_pull() {
    let now = cursor(LOG);
    for (space, from, budget, whole, end) in [
        (A, Some(cursor(LOG + 1)), 1, true, PullEnd::Stale(now)),
        (A, None, 0, true, PullEnd::Stale(now)),
        (SpaceId([1; 32]), None, 1, true, PullEnd::Withheld),
        (A, None, 1, false, PullEnd::Unfit),
    ] {
        let mut sides = pair();
        sides[0].whole = whole;
        sides[0].session.pull(space, from, budget);
        run(&mut sides).unwrap();
        assert_eq!(sides[0].pulled(), [end]);
    }
}

#[test]
fn more_pulls_than_fit_wait_for_their_turn() {
    let mut sides = pair();
    for at in 0..5 * MAX_PULLS as u64 {
        sides[0].session.pull(A, Some(cursor(at % LOG)), 1);
    }
    run(&mut sides).unwrap();
    assert_eq!(sides[0].pulled(), vec![PullEnd::Whole; 5 * MAX_PULLS]);
}

#[test]
fn a_peer_that_asks_for_too_much_at_once_or_twice_with_one_number_is_cut_off() {
    for over in [0, 1] {
        let mut sides = pair();
        run(&mut sides).unwrap();
        sides[1].answers = false;
        let mut done = Ok(());
        for at in 0..MAX_PULLS + over {
            let (request, wanted) = (at as u64 * 7, Vec::new());
            let pull = Message::Pull { request, space: A, cursor: None, budget: 1, wanted };
            done = done.and(sides[1].session.handle_frame(&numbered(2 + at, &pull)));
            sides[1].work();
        }
        assert_eq!(done.is_ok(), over == 0, "{done:?}");
    }
    for second in [4, 5, 6] {
        let mut sides = pair();
        run(&mut sides).unwrap();
        let wanted = Vec::new;
        let pull = |request| Message::Pull { request, space: A, cursor: None, budget: 1, wanted: wanted() };
        sides[1].session.handle_frame(&numbered(2, &pull(5))).unwrap();
        sides[1].work();
        assert_eq!(sides[1].session.handle_frame(&numbered(3, &pull(second))).is_ok(), second > 5);
    }
}

fn numbered(number: usize, message: &Message) -> Vec<u8> {
    driftless_core::session::numbered(number as u64, message)
}

#[test]
fn an_answer_that_nobody_asked_for_ends_the_session() {
    let page = |request| Message::Pulled { request, frames: Vec::new(), cursor: cursor(1), more: false };
    for message in
        [page(0), Message::Stale { request: 0, cursor: cursor(1) }, Message::Withheld { request: 0 }]
    {
        let mut sides = pair();
        run(&mut sides).unwrap();
        assert!(sides[0].session.handle_frame(&numbered(2, &message)).is_err(), "{message:?}");
        // Asked for, it is taken; the second time it is one too many, also while the first is being taken.
        let mut sides = pair();
        run(&mut sides).unwrap();
        sides[0].session.pull(A, None, 1);
        assert!(sides[0].session.handle_frame(&numbered(2, &message)).is_ok());
        assert!(sides[0].session.handle_frame(&numbered(3, &message)).is_err(), "{message:?}");
    }
}

#[test]
fn a_page_holds_so_many_frames_and_no_more() {
    for (count, taken) in [(MAX_PAGE_FRAMES - 1, true), (MAX_PAGE_FRAMES, true), (MAX_PAGE_FRAMES + 1, false)]
    {
        let page =
            Message::Pulled { request: 0, frames: vec![vec![1]; count], cursor: cursor(1), more: false };
        assert_eq!(Message::decode(&page.encode()).is_ok(), taken);
    }
}
