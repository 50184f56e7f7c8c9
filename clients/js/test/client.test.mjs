import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { DriftlessError, connect } from "../dist/driftless.js";
import { Served, until } from "./served.mjs";

const served = new Served();
before(() => served.start());
after(() => served.remove());
const QUICK = { first: 10, most: 100 };

function fails(code) {
  return (error) => error instanceof DriftlessError && error.code === code && error.hint !== "";
}

test("documents are written, read, searched and explained", async () => {
  const db = connect({ url: served.url });
  const notes = db.collection("home", "documents");
  assert.equal((await db.hello()).user, "ann");
  const fields = { title: "Milk", n: 1, large: 2n ** 60n, bytes: new Uint8Array([1, 2, 3]), far: Infinity };
  const { id, commit } = await notes.insert(fields);
  await notes.edit(id, { $inc: { n: 2 }, $push: { tags: "shop" } });
  const read = await notes.get(id);
  assert.deepEqual([read.title, read.n, read.large, read.bytes, read.far, read.tags], ["Milk", 3, 2n ** 60n, new Uint8Array([1, 2, 3]), Infinity, ["shop"]]);
  assert.equal((await notes.get(id, commit)).n, 1);
  assert.deepEqual(await notes.diff(id, commit), { $set: { n: 3, tags: ["shop"] } });
  // What was read may come back; a large integer is not rounded on the way.
  assert.notEqual((await notes.save(id, { ...read, title: "Oat milk" })).commit, null);
  assert.equal((await notes.save(id, { ...read, title: "Oat milk" })).commit, null);
  assert.equal((await notes.find({ large: { $gt: 2n ** 60n - 1n } }, { sort: "-n", limit: 5 })).length, 1);
  await notes.insert({ title: "Bread" }, { id: "bread", parent: id });
  assert.equal(await notes.count({ title: "Bread" }), 1);
  await notes.delete("bread");
  await assert.rejects(notes.get("bread"), fails("not_found"));
  await notes.restore("bread");
  assert.equal((await notes.get("bread"))._parent, id);
  assert.equal((await notes.log("bread")).length, 3);
  assert.equal((await notes.explain("bread")).ok, true);
  assert.equal((await notes.explain("nothing")).ok, false);
  assert.ok((await db.collections("home")).some((line) => line.collection === "documents"));
  assert.equal((await db.status()).ok, true);
  assert.deepEqual(await db.peers(), []);
  const digest = await db.digest("home");
  assert.equal(digest.view, served.run("digest", "home")[0].view);
  await assert.rejects(notes.find({ a: { $no: 1 } }), fails("invalid_filter"));
  await assert.rejects(notes.insert({ a: NaN }), fails("invalid_json"));
  await assert.rejects(db.call("nothing"), fails("unknown_operation"));
  db.close();
  await assert.rejects(db.hello(), fails("closed"));
});

test("a live query is iterated over until it is closed", async () => {
  const db = connect({ url: served.url });
  const notes = db.collection("home", "iterated");
  const { id } = await notes.insert({ done: false, n: 1 });
  const live = notes.watch({ done: false });
  const kinds = [];
  for await (const change of live) {
    kinds.push(change.kind);
    if (change.kind === "ready") await notes.edit(id, { $set: { n: 2 } });
    if (change.kind === "update") {
      assert.deepEqual([change.document.n, change.origin, live.documents.length], [2, "local", 1]);
      served.run("edit", "home", "iterated", String(id), '{"$set": {"done": true}}');
    }
    if (change.kind === "delete") break;
  }
  assert.deepEqual(kinds, ["insert", "ready", "update", "delete"]);
  assert.equal(live.documents.length, 0);
  db.close();
});

test("who iterates slowly gets of each document what its changes come to", async () => {
  const db = connect({ url: served.url });
  const notes = db.collection("home", "slowly");
  const live = notes.watch();
  const changes = live[Symbol.asyncIterator]();
  assert.equal((await changes.next()).value.kind, "ready");
  await notes.insert({ n: 1 }, { id: "kept" });
  await notes.insert({ n: 1 }, { id: "gone" });
  for (let n = 2; n <= 20; n += 1) await notes.edit("kept", { $set: { n } });
  await notes.delete("gone");
  const heard = until();
  const other = notes.watch({}, heard.tell);
  await heard.hear(() => other.isReady);
  // The other began after all that was written, and its events came over the same connection.
  const { value } = await changes.next();
  assert.deepEqual([value.kind, value.id, value.document.n], ["insert", "kept", 20]);
  live.close();
  assert.equal((await changes.next()).done, true);
  db.close();
});

test("signals say that something changed, here and elsewhere", async () => {
  const db = connect({ url: served.url });
  const heard = until();
  db.on("document.changed", heard.tell);
  await db.hello();
  served.run("insert", "home", "signalled", "{}");
  const [signal] = await heard.hear((told) => told.length > 0);
  assert.deepEqual([signal.collections, signal.origin], [["signalled"], "local"]);
  db.close();
});

test("after a break only what differs is told", async () => {
  const db = connect({ url: served.url, reconnect: QUICK });
  const notes = db.collection("home", "resumed");
  for (const id of ["stays", "changes", "goes"]) await notes.insert({ n: 1 }, { id });
  const heard = until();
  const live = notes.watch({}, heard.tell);
  await heard.hear(() => live.isReady);
  const before = heard.told.length;
  const signals = until();
  db.on("document.changed", signals.tell);
  db.on("disconnected", () => signals.tell("disconnected"));
  await served.stop("SIGKILL");
  await signals.hear((told) => told.includes("disconnected"));
  // Nobody serves: commands work on the file.
  served.run("edit", "home", "resumed", "changes", '{"$set": {"n": 2}}');
  served.run("delete", "home", "resumed", "goes");
  served.run("insert", "home", "resumed", '{"n": 3}', "--id", "new");
  // What is asked meanwhile waits.
  const count = notes.count();
  await served.start();
  assert.equal(await count, 3);
  const told = await heard.hear((told) => told.length >= before + 3);
  const after = told.slice(before).map((event) => [event.kind, event.id, event.document?.n]);
  assert.deepEqual(after.sort(), [["delete", "goes", undefined], ["insert", "new", 3], ["update", "changes", 2]]);
  // ... and it goes on.
  await notes.edit("stays", { $set: { n: 5 } });
  const last = (await heard.hear((told) => told.length >= before + 4)).at(-1);
  assert.deepEqual([last.kind, last.id, last.origin], ["update", "stays", "local"]);
  assert.deepEqual(live.documents.map((document) => document.n).sort(), [2, 3, 5]);
  await signals.hear((told) => told.some((signal) => signal?.collections === null));
  db.close();
});

test("what was asked when the connection broke fails with a word of its own", async () => {
  const db = connect({ url: served.url, reconnect: QUICK });
  await db.hello();
  const asked = db.call("count", { space: "home", collection: "resumed" });
  const broken = asked.then(() => "done", (error) => error.code);
  await served.stop("SIGKILL");
  assert.ok(["done", "connection_lost"].includes(await broken));
  await served.start();
  assert.equal((await db.hello()).user, "ann");
  db.close();
});

test("a wrong token is said once, and not tried again", async () => {
  const closed = until();
  const db = connect({ url: served.url.replace(/token=.*/, `token=${"a".repeat(52)}`), reconnect: QUICK });
  db.on("closed", closed.tell);
  const live = db.collection("home", "notes").watch();
  await assert.rejects(db.hello(), fails("wrong_token"));
  await assert.rejects(live[Symbol.asyncIterator]().next(), fails("wrong_token"));
  assert.equal(closed.told.length, 1);
  assert.throws(() => connect({ url: "http://127.0.0.1:1" }), fails("wrong_token"));
});
