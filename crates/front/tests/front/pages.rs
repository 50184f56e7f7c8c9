//! The inspector, and somebody's own pages beside it.

use std::fs;

use driftless::Database;
use driftless_front::{Front, FrontError};

use crate::client::Served;

#[tokio::test]
async fn own_pages_are_served_beside_the_inspector_and_nothing_else_of_the_disk() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("pages");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("index.html"), "mine").unwrap();
    fs::write(home.path().join("secret"), "secret").unwrap();
    let db = Database::memory().unwrap();
    let space = db.create_space("home").unwrap();
    let builder = Front::builder(&db).pages(&folder);
    let served = Served { front: builder.listen("127.0.0.1:0".parse().unwrap()).await.unwrap(), space };
    let get = async |path: &str| served.send(format!("{}\r\n", served.head("GET", path)).as_bytes()).await;
    let page = get("/pages/").await;
    assert_eq!((page.status, page.body.as_slice()), (200, &b"mine"[..]));
    assert!(page.head.contains("frame-ancestors 'none'") && page.head.contains("nosniff"), "{}", page.head);
    // Their pages may use what makes markup; ours never do.
    assert!(!page.head.contains("trusted-types"), "{}", page.head);
    assert!(get("/").await.head.contains("trusted-types 'none'"));
    for path in [
        "/pages",
        "/pages/none",
        "/pages/../secret",
        "/pages/%2e%2e/secret",
        "/pages//etc/passwd",
        "/pages/..%2fsecret",
    ] {
        assert_eq!(get(path).await.status, 404, "{path}");
    }
    // Who comes from elsewhere sees nothing of them either.
    let foreign = format!("{}origin: https://evil.example\r\n\r\n", served.head("GET", "/pages/"));
    assert_eq!(served.send(foreign.as_bytes()).await.status, 403);
    let at = served.at();
    assert_eq!(
        served.front.pages_url().unwrap(),
        format!("http://{at}/pages/#token={}", served.front.token().as_str())
    );
    let without = Served::new().await;
    assert_eq!(without.front.pages_url(), None);
    let asked = format!("{}\r\n", without.head("GET", "/pages/"));
    assert_eq!(without.send(asked.as_bytes()).await.status, 404);
    let none =
        Front::builder(&db).pages(&home.path().join("none")).listen("127.0.0.1:0".parse().unwrap()).await;
    assert!(matches!(none, Err(FrontError::Pages { .. })));
}
