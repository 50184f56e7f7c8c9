//! Two databases whose line is slow, loses what is on it and is cut for a while: a small proxy between them does that. It
//! speaks TCP, where a packet that is lost makes all that follows wait until it was sent again: so it is with one piece in
//! five here, and one connection in five dies in the middle.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

use super::*;

const DELAY: Duration = Duration::from_millis(200);
/// Until it is noticed that a piece was lost, and it is sent again: there and back.
const AGAIN: Duration = Duration::from_millis(400);

/// Passes on what comes, later; loses one connection in five, and all of them while it is cut.
#[derive(Clone)]
struct Proxy {
    cut: watch::Sender<bool>,
    accepted: Arc<AtomicU64>,
}

impl Proxy {
    async fn before(target: &Address) -> (Self, Address) {
        let text = target.to_string();
        let target = text.trim_start_matches("http://").split('/').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let proxy = Self { cut: watch::Sender::new(false), accepted: Arc::default() };
        let this = proxy.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let number = this.accepted.fetch_add(1, Ordering::SeqCst);
                let lost = number % 5 == 1;
                let (this, target) = (this.clone(), target.clone());
                tokio::spawn(async move {
                    // What was lost is lost in the middle of something.
                    this.pass(near, &target, if lost { 2000 } else { usize::MAX }).await;
                });
            }
        });
        (proxy, format!("http://{at}").parse().unwrap())
    }

    async fn pass(&self, near: TcpStream, target: &str, most: usize) {
        let mut cut = self.cut.subscribe();
        if *cut.borrow() {
            return;
        }
        let Ok(far) = TcpStream::connect(target).await else { return };
        let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
        tokio::select! {
            () = late(from_near, to_far, most) => {}
            () = late(from_far, to_near, most) => {}
            _ = cut.wait_for(|cut| *cut) => {}
        }
    }
}

// Every byte arrives, in order, so much later; after so many of them the line is dead.
async fn late(
    mut from: impl AsyncRead + Unpin + Send + 'static,
    mut to: impl AsyncWrite + Unpin,
    most: usize,
) {
    let (sender, mut waiting) = tokio::sync::mpsc::channel::<(Instant, Vec<u8>)>(1024);
    let reading = tokio::spawn(async move {
        let (mut bytes, mut pieces) = (vec![0; 64 * 1024], 0_u32);
        while let Ok(count) = from.read(&mut bytes).await
            && count > 0
        {
            pieces += 1;
            let late = if pieces.is_multiple_of(5) { DELAY + AGAIN } else { DELAY };
            if sender.send((Instant::now() + late, bytes[..count].to_vec())).await.is_err() {
                break;
            }
        }
    });
    let mut passed = 0;
    while let Some((due, bytes)) = waiting.recv().await {
        passed += bytes.len();
        tokio::time::sleep_until(due).await;
        if passed > most || to.write_all(&bytes).await.is_err() {
            break;
        }
    }
    reading.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_slow_line_that_loses_connections_and_is_cut_both_end_with_the_same() {
    let (ann, bob) = (memory(), memory());
    let (at_ann, at_bob) = (ann.network().unwrap(), bob.network().unwrap());
    let here = ann.create_space("team").unwrap();
    let served = at_ann.serve(&"http://127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (proxy, address) = Proxy::before(&served).await;
    let (there, _) = at_bob.join(&here.invite(invite(&address)).unwrap()).await.unwrap();
    let (_ann_engine, engine) = (at_ann.start().unwrap(), at_bob.start().unwrap());
    fill(&here, 0, 200);
    fill(&there, 1000, 200);
    engine.flush(Duration::from_secs(60)).await.unwrap();
    // Nobody can reach the other, and both go on.
    proxy.cut.send_replace(true);
    fill(&here, 2000, 200);
    fill(&there, 3000, 200);
    let missing = engine.flush(Duration::from_secs(3)).await.unwrap().missing;
    assert_eq!(missing, [(ann.peer().unwrap(), there.id())]);
    let failed = engine.status().await.unwrap().peers[&ann.peer().unwrap()].attempts;
    assert!(failed >= 1, "it was tried");
    proxy.cut.send_replace(false);
    assert_eq!(engine.flush(Duration::from_secs(90)).await.unwrap().missing, []);
    let mut changes = there.database().changes();
    let end = Instant::now() + Duration::from_secs(90);
    while here.digest().unwrap() != there.digest().unwrap() {
        assert!(tokio::time::timeout_at(end, changes.next()).await.is_ok(), "not the same in time");
    }
    assert_eq!(there.digest().unwrap().documents, 800);
    assert!(proxy.accepted.load(Ordering::SeqCst) >= 3);
}
