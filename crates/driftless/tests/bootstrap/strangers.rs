//! What strangers learn from asking: nothing. And with which keys they can ask: only with those that they have.

use std::time::{Duration, Instant};

use driftless::{Bootstrap, Database, DrivenSession, PeerId, Permission, SpaceId, Strength, Subject};
use driftless_core::session::{AccessRequest, Answer, Event, Message, Role};
use driftless_core::sign::AuthorKey;

use crate::raw::Raw;
use crate::{Scene, write};

const EVE: PeerId = PeerId([66; 32]);
const UNKNOWN: SpaceId = SpaceId([7; 32]);

fn key(number: u8) -> AuthorKey {
    AuthorKey::from_seed(&[number; 32])
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_forbidden_and_closed_spaces_are_answered_with_the_same_bytes() {
    let scene = Scene::new().await;
    let (ann, eve) = (&scene.ann, key(2));
    // One where she is refused by the policy; ones where what she wants is too much, or she was rejected or removed.
    let space = |policy| {
        let space = ann.create_space("secret").unwrap();
        space.set_bootstrap(policy).unwrap();
        space
    };
    let (closed, queue) = (space(Bootstrap::Reject), space(Bootstrap::Queue));
    let (approves, removed) =
        (space(Bootstrap::Approve(Permission::Read)), space(Bootstrap::Approve(write(1))));
    removed.grant(Subject::Key(eve.id()), Permission::Read).unwrap();
    removed.revoke(Subject::Key(eve.id())).unwrap();
    let reader = ann.create_space("open").unwrap();
    reader.grant(Subject::Anyone, Permission::Read).unwrap();
    let mut raw = Raw::greet(&scene.net, EVE, &scene.at, &eve).await;
    assert!(matches!(
        Message::decode(&raw.ask(0, queue.id(), &eve, write(100)).await.unwrap()),
        Ok(Message::Answer { answer: Answer::Queued(_), .. })
    ));
    ann.reject(&ann.requests().unwrap()[0].id).unwrap();
    let mut heard = Vec::new();
    for (number, space) in (1..).zip([
        UNKNOWN,
        scene.space.id(),
        closed.id(),
        queue.id(),
        approves.id(),
        removed.id(),
        reader.id(),
        // A space of herself that nobody else has, and none at all.
        SpaceId([0; 32]),
    ]) {
        let bytes = raw.ask(number, space, &eve, write(100)).await.unwrap();
        let Ok(Message::Answer { answer, .. }) = Message::decode(&bytes) else { panic!("no answer") };
        assert_eq!(answer, Answer::Refused, "{number}");
        // All but the number of the question.
        heard.push([&bytes[..3], &bytes[4..]].concat());
    }
    heard.dedup();
    assert_eq!(heard.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_is_good_in_its_own_session_only() {
    let scene = Scene::new().await;
    scene.space.set_bootstrap(Bootstrap::Approve(write(1))).unwrap();
    let members = || scene.space.members().unwrap().len();
    let (bob, eve) = (key(1), key(2));
    let id = scene.space.id();

    // Replayed: what Bob once said, with the same nonce of his, from the same node or from another.
    let first = Raw::hello(&scene.net, PeerId([65; 32]), &scene.at, [5; 16]).await;
    let proof = first.proof(&bob);
    for us in [PeerId([65; 32]), EVE] {
        let mut raw = Raw::hello(&scene.net, us, &scene.at, [5; 16]).await;
        assert!(!raw.prove(vec![(bob.id(), proof)]).await, "a proof of another session");
    }
    // Relayed: Bob proves himself to Eve's node, and she passes it on to Ann's.
    let (eves, at_eves) = scene.guest();
    let at_eve = at_eves.serve(&"memory:eve".parse().unwrap()).await.unwrap();
    let to_eve = Raw::hello(&scene.net, PeerId([65; 32]), &at_eve, [5; 16]).await;
    let mut raw = Raw::hello(&scene.net, eves.peer().unwrap(), &scene.at, [5; 16]).await;
    assert!(!raw.prove(vec![(bob.id(), to_eve.proof(&bob))]).await, "a proof for another peer");

    // A key that Bob has proven, in a session that goes on, is not Eve's to ask for.
    let mut bobs = Raw::greet(&scene.net, PeerId([65; 32]), &scene.at, &bob).await;
    let mut raw = Raw::greet(&scene.net, EVE, &scene.at, &eve).await;
    assert_eq!(raw.ask(0, id, &bob, Permission::Read).await, None, "the connection ends");
    // Nor is there anything to ask without any key.
    let mut raw = Raw::hello(&scene.net, EVE, &scene.at, [6; 16]).await;
    assert!(raw.prove(Vec::new()).await);
    assert_eq!(raw.ask(0, id, &eve, Permission::Read).await, None);
    assert_eq!(members(), 1);

    let answer = Message::decode(&bobs.ask(0, id, &bob, Permission::Read).await.unwrap());
    let answer = answer.unwrap();
    assert_eq!(answer, Message::Answer { number: 0, answer: Answer::Allowed(Permission::Read) });
    assert_eq!(members(), 2);
}

// A stranger, and a peer that it asks, message by message.
struct Knocking {
    sides: [DrivenSession; 2],
}

impl Knocking {
    fn new(asked: &Database, stranger: &Database) -> Self {
        let (us, them) = (stranger.peer().unwrap(), asked.peer().unwrap());
        let mut knocking = Self {
            sides: [
                DrivenSession::new(stranger, Role::Dialer, them).unwrap(),
                DrivenSession::new(asked, Role::Listener, us).unwrap(),
            ],
        };
        knocking.run();
        knocking
    }

    fn run(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let mut quiet = true;
            for from in 0..2 {
                let (messages, news) = self.sides[from].work().unwrap();
                events.extend(news);
                for message in messages {
                    quiet = false;
                    self.sides[1 - from].receive(&message).unwrap();
                }
            }
            if quiet {
                return events;
            }
        }
    }

    // How long it took until the answer was there.
    fn ask(&mut self, request: AccessRequest) -> Duration {
        let space = request.space;
        let begun = Instant::now();
        self.sides[0].request(request);
        let events = self.run();
        let took = begun.elapsed();
        assert_eq!(events, [Event::Answered(space, Answer::Refused)]);
        took
    }
}

#[test]
fn the_work_for_a_refusal_does_not_tell_whether_a_space_is_here() {
    let (ann, eve) = (crate::memory(), crate::memory());
    let space = ann.create_space("secret").unwrap();
    // Rules that are no longer few.
    for n in 0..200 {
        space.grant(Subject::Key(key(n).id()), Permission::Write(Strength(1000))).unwrap();
    }
    let author = eve.author().unwrap();
    let asks = |space| AccessRequest { space, author, permission: Permission::Read, note: "x".repeat(100) };
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..20u8 {
        // Sessions come and go, and neither is always first.
        let mut knocking = Knocking::new(&ann, &eve);
        for turn in 0..40 {
            let which = usize::from((round + turn) % 2);
            let space = [space.id(), SpaceId([round; 32])][which];
            times[which].push(knocking.ask(asks(space)));
        }
    }
    let [known, unknown] = times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    });
    // Bounds for a machine that does other things meanwhile; what is left over a network is hidden by a veil of 5 ms.
    let apart = known.abs_diff(unknown);
    assert!(apart < Duration::from_micros(500), "{known:?} where it is here, {unknown:?} where it is not");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_leaves_at_a_time_that_does_not_tell() {
    let scene = Scene::new().await;
    let eve = key(2);
    let mut raw = Raw::greet(&scene.net, EVE, &scene.at, &eve).await;
    for (number, space) in (0..).zip([scene.space.id(), UNKNOWN, scene.space.id(), UNKNOWN]) {
        let begun = Instant::now();
        raw.ask(number, space, &eve, write(1)).await.unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(5));
    }
}
