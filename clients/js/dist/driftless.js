// @driftless/client. Made by `npm run build` in clients/js from src/; change that instead.

// src/values.ts
function encode(value) {
  return JSON.stringify(value, function(key, plain) {
    const whole = this[key];
    if (typeof whole === "bigint") return { $i64: whole.toString() };
    if (whole instanceof Uint8Array) return { $bytes: toBase64(whole) };
    if (typeof plain === "number" && !Number.isFinite(plain)) {
      if (Number.isNaN(plain)) throw new TypeError("NaN is no value of a document");
      return { $f64: plain > 0 ? "inf" : "-inf" };
    }
    return plain;
  });
}
function decode(text) {
  return JSON.parse(text, (_key, value) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
    const [key, ...more] = Object.keys(value);
    if (key === void 0 || more.length > 0 || !key.startsWith("$")) return value;
    const said = value[key];
    if (typeof said !== "string") return value;
    if (key === "$i64") return BigInt(said);
    if (key === "$bytes") return fromBase64(said);
    if (key === "$f64") return said === "-inf" ? -Infinity : Infinity;
    return value;
  });
}
function toBase64(bytes) {
  let binary = "";
  for (let at = 0; at < bytes.length; at += 32768) {
    binary += String.fromCharCode(...bytes.subarray(at, at + 32768));
  }
  return btoa(binary);
}
function fromBase64(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at += 1) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

// src/live.ts
var Live = class {
  #known = /* @__PURE__ */ new Map();
  /** While the first result comes again: what was told before and has not come. */
  #missing;
  #ready = false;
  #over = false;
  #error;
  #callback;
  #failed;
  /** What nobody has taken yet: for each document what it comes to, so that it stays as small as the result. */
  #untold = /* @__PURE__ */ new Map();
  #wake;
  #close;
  constructor(line, op, args, callback, failed) {
    this.#callback = callback;
    this.#failed = failed;
    this.#close = line.stream(op, args, {
      begin: () => {
        this.#missing = this.#ready || this.#known.size > 0 ? new Set(this.#known.keys()) : void 0;
      },
      event: (event) => this.#take(event),
      end: (error) => this.#end(error)
    });
  }
  /** The documents that match now, in no order. */
  get documents() {
    return [...this.#known.values()].map((known) => known.document);
  }
  /** Whether the first result is complete. */
  get isReady() {
    return this.#ready;
  }
  /** Ends it; whoever iterates comes to the end. */
  close() {
    this.#close();
  }
  async *[Symbol.asyncIterator]() {
    try {
      for (; ; ) {
        const [next] = this.#untold;
        if (next !== void 0) {
          this.#untold.delete(next[0]);
          yield next[1];
        } else if (this.#over) {
          if (this.#error !== void 0) throw this.#error;
          return;
        } else {
          await new Promise((wake) => this.#wake = wake);
        }
      }
    } finally {
      this.close();
    }
  }
  #take(event) {
    if (event.kind === "ready") {
      const gone = this.#missing ?? /* @__PURE__ */ new Set();
      this.#missing = void 0;
      for (const key2 of gone) this.#forget(key2, null);
      if (!this.#ready) {
        this.#ready = true;
        this.#tell("ready", event);
      }
      return;
    }
    const key = encode(event.id);
    this.#missing?.delete(key);
    if (event.kind === "delete") return this.#forget(key, event.origin);
    const text = encode(event.document);
    const before = this.#known.get(key);
    if (before?.text === text) return;
    this.#known.set(key, { id: event.id, document: event.document, text });
    this.#tell(key, { ...event, kind: before === void 0 ? "insert" : "update" });
  }
  #forget(key, origin) {
    const known = this.#known.get(key);
    if (known === void 0) return;
    this.#known.delete(key);
    this.#tell(key, { kind: "delete", id: known.id, document: null, origin });
  }
  #tell(key, event) {
    if (this.#callback !== void 0) {
      this.#callback(event);
      return;
    }
    const before = this.#untold.get(key);
    const both = before === void 0 ? event : together(before, event);
    if (both === void 0) this.#untold.delete(key);
    else this.#untold.set(key, both);
    this.#wake?.();
  }
  #end(error) {
    this.#over = true;
    this.#error = error;
    this.#wake?.();
    if (error !== void 0) this.#failed?.(error);
  }
};
function together(before, event) {
  if (before.kind === "insert" && event.kind === "delete") return void 0;
  if (before.kind === "insert" && event.kind === "update") return { ...event, kind: "insert" };
  if (before.kind === "delete" && event.kind === "insert") return { ...event, kind: "update" };
  return event;
}

// src/collection.ts
var Collection = class {
  space;
  name;
  #line;
  constructor(line, space, name) {
    this.#line = line;
    this.space = space;
    this.name = name;
  }
  #call(op, args) {
    return this.#line.call(op, { space: this.space, collection: this.name, ...args });
  }
  /** The document, now or as it was; fails with `not_found` if there is none. */
  get(id, at) {
    return this.#call("get", { id, at });
  }
  find(filter = {}, options = {}) {
    return this.#call("find", { filter, ...options });
  }
  async count(filter = {}, options = {}) {
    return (await this.#call("count", { filter, ...options })).count;
  }
  /** Makes a document, with a new random id unless one is given. */
  insert(document, options = {}) {
    return this.#call("insert", { document, ...options });
  }
  /** Makes the document be this, by the smallest edit. What `get` gave may come back, changed. */
  save(id, document) {
    return this.#call("save", { id, document });
  }
  /** `edit(id, {$set: {done: true}, $inc: {n: 1}})` */
  edit(id, operators) {
    return this.#call("edit", { id, operators });
  }
  delete(id) {
    return this.#call("delete", { id });
  }
  restore(id) {
    return this.#call("restore", { id });
  }
  /** The commits that edit a document, the newest first. */
  log(id, options = {}) {
    return this.#call("log", { id, ...options });
  }
  /** The operators that make the document of one moment into that of another, or of now. */
  diff(id, from, to) {
    return this.#call("diff", { id, from, to });
  }
  /** Why a document is, or is not, here or at a peer. */
  explain(id, peer) {
    return this.#call("explain", { id, peer });
  }
  /**
   * A live query: what matches now, `ready`, then every difference, over broken connections too. With a callback each
   * event is told at once, and `failed` says why there are no more; without one, iterate over it.
   */
  watch(filter = {}, callback, failed) {
    const args = { space: this.space, collection: this.name, filter };
    return new Live(this.#line, "watch", args, callback, failed);
  }
};

// src/failure.ts
var DriftlessError = class _DriftlessError extends Error {
  name = "DriftlessError";
  code;
  /** What can be done now. */
  hint;
  constructor(code, message, hint) {
    super(message);
    this.code = code;
    this.hint = hint;
  }
  /** Out of what the front says under `error`. */
  static from(error) {
    const { code, message, hint } = error ?? {};
    return new _DriftlessError(String(code ?? "failed"), String(message ?? "it failed"), String(hint ?? ""));
  }
};

// src/line.ts
var MOST_WAITING = 1e3;
var FINAL = /* @__PURE__ */ new Set(["wrong_token", "wrong_host", "wrong_origin"]);
var Line = class {
  #options;
  #socket;
  #open = false;
  #next = 1;
  #failures = 0;
  #timer;
  #over;
  #waiting = [];
  #calls = /* @__PURE__ */ new Map();
  #streams = /* @__PURE__ */ new Set();
  #running = /* @__PURE__ */ new Map();
  #heard;
  constructor(options, heard) {
    this.#options = options;
    this.#heard = heard;
    this.#dial();
  }
  get isOpen() {
    return this.#open;
  }
  /** Asks once. Waits for a connection; if that breaks after it was asked, nobody knows whether it was done. */
  call(op, args) {
    return new Promise((done, failed) => {
      const call = { op, args, done, failed };
      if (this.#over !== void 0) return failed(this.#over);
      if (this.#open) return this.#ask(call);
      if (this.#waiting.length >= MOST_WAITING) return failed(lost("too much waits for a connection"));
      this.#waiting.push(call);
    });
  }
  /** Begins a stream, and again after each break. Gives what ends it. */
  stream(op, args, listener) {
    const stream = { op, args, listener };
    if (this.#over !== void 0) {
      listener.end(this.#over);
      return () => {
      };
    }
    this.#streams.add(stream);
    if (this.#open) this.#begin(stream);
    return () => {
      if (!this.#streams.delete(stream)) return;
      if (stream.id !== void 0 && this.#open) {
        this.#running.delete(stream.id);
        this.#send({ id: this.#next++, op: "cancel", args: { id: stream.id } });
      }
      listener.end();
    };
  }
  close() {
    this.#end(new DriftlessError("closed", "this client was closed", "connect again"));
  }
  #dial() {
    const { url, token, WebSocket } = this.#options;
    const socket = new WebSocket(`${url.replace(/^http/, "ws")}/api/1/ws`, ["driftless.1", `bearer.${token}`]);
    this.#socket = socket;
    socket.onopen = () => {
      this.#open = true;
      this.#failures = 0;
      for (const stream of this.#streams) this.#begin(stream);
      for (const call of this.#waiting.splice(0)) this.#ask(call);
      this.#heard("connected", void 0);
    };
    socket.onmessage = (event) => {
      if (socket === this.#socket) this.#take(String(event.data));
    };
    socket.onerror = () => {
      if (socket === this.#socket && !this.#open) void this.#broken();
    };
    socket.onclose = () => {
      if (socket === this.#socket) void this.#broken();
    };
  }
  async #broken() {
    const was_open = this.#open;
    this.#open = false;
    this.#socket = void 0;
    this.#running.clear();
    for (const stream of this.#streams) delete stream.id;
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const call of calls) call.failed(lost("the connection broke before the answer came"));
    if (was_open) this.#heard("disconnected", void 0);
    const refused = was_open ? void 0 : await this.#whyRefused();
    if (this.#over !== void 0) return;
    if (refused !== void 0) return this.#end(refused);
    const { first, most } = this.#options;
    const pause = Math.min(most, first * 2 ** this.#failures) * (0.5 + Math.random() / 2);
    this.#failures = Math.min(this.#failures + 1, 16);
    this.#timer = setTimeout(() => this.#dial(), pause);
  }
  async #whyRefused() {
    try {
      const headers = { authorization: `Bearer ${this.#options.token}` };
      const answer = await fetch(`${this.#options.url}/api/1/hello`, { method: "POST", headers });
      const error = answer.ok ? void 0 : DriftlessError.from((await answer.json()).error);
      return error !== void 0 && FINAL.has(error.code) ? error : void 0;
    } catch {
      return void 0;
    }
  }
  #end(error) {
    if (this.#over !== void 0) return;
    this.#over = error;
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = void 0;
    this.#open = false;
    socket?.close(1e3);
    const calls = [...this.#waiting.splice(0), ...this.#calls.values()];
    this.#calls.clear();
    for (const call of calls) call.failed(error);
    const streams = [...this.#streams];
    this.#streams.clear();
    this.#running.clear();
    for (const stream of streams) stream.listener.end(error.code === "closed" ? void 0 : error);
    this.#heard("closed", error);
  }
  #ask(call) {
    const id = this.#next++;
    let text;
    try {
      text = encode({ id, op: call.op, args: call.args });
    } catch (error) {
      call.failed(new DriftlessError("invalid_json", String(error), "documents hold what JSON holds, bigint and Uint8Array"));
      return;
    }
    this.#calls.set(id, call);
    this.#socket?.send(text);
  }
  #begin(stream) {
    stream.id = this.#next++;
    this.#running.set(stream.id, stream);
    stream.listener.begin();
    this.#send({ id: stream.id, op: stream.op, args: stream.args });
  }
  #send(message) {
    this.#socket?.send(encode(message));
  }
  #take(text) {
    const message = decode(text);
    if (typeof message["signal"] === "string") return this.#heard(message["signal"], message);
    const id = Number(message["id"]);
    const call = this.#calls.get(id);
    if (call !== void 0) {
      this.#calls.delete(id);
      if ("error" in message) call.failed(DriftlessError.from(message["error"]));
      else call.done(message["ok"]);
      return;
    }
    const stream = this.#running.get(id);
    if (stream === void 0) return;
    if ("event" in message) return stream.listener.event(message["event"]);
    this.#running.delete(id);
    delete stream.id;
    const error = "error" in message ? DriftlessError.from(message["error"]) : void 0;
    if (error?.code === "slow_reader") return this.#begin(stream);
    this.#streams.delete(stream);
    stream.listener.end(error);
  }
};
function lost(why) {
  return new DriftlessError("connection_lost", why, "look whether it was done, then ask again");
}

// src/page.ts
var KEY = "driftless.token";
function tokenOfPage() {
  if (typeof location === "undefined") return void 0;
  const shown = new URLSearchParams(location.hash.slice(1));
  const token = shown.get("token");
  if (token === null) return sessionStorage.getItem(KEY) ?? void 0;
  sessionStorage.setItem(KEY, token);
  shown.delete("token");
  const rest = shown.toString();
  history.replaceState(history.state, "", location.pathname + location.search + (rest === "" ? "" : `#${rest}`));
  return token;
}

// src/driftless.ts
function connect(options = {}) {
  return new Driftless(options);
}
var Driftless = class {
  #line;
  #listeners = /* @__PURE__ */ new Map();
  constructor(options) {
    const here = typeof location === "undefined" ? void 0 : location.origin;
    const said = options.url ?? here;
    if (said === void 0) throw new DriftlessError("usage", "there is no url", "give the one that `driftless serve --ui` prints");
    const url = new URL(said);
    const token = options.token ?? new URLSearchParams(url.hash.slice(1)).get("token") ?? tokenOfPage();
    if (token === void 0) throw new DriftlessError("wrong_token", "there is no token", "it is behind the `#` of the address that `driftless serve --ui` prints");
    const builtIn = globalThis.WebSocket;
    const socket = options.WebSocket ?? builtIn;
    if (socket === void 0) {
      const hint = "use Node 22 or later, `node --experimental-websocket`, or give one as the option `WebSocket`";
      throw new DriftlessError("no_websocket", "this platform has no WebSocket", hint);
    }
    const { first = 250, most = 16e3 } = options.reconnect ?? {};
    this.#line = new Line({ url: url.origin, token, WebSocket: socket, first, most }, (kind, said2) => this.#heard(kind, said2));
  }
  /** Whether there is a connection now. */
  get isConnected() {
    return this.#line.isOpen;
  }
  /** Ends everything. */
  close() {
    this.#line.close();
  }
  /** Any operation by its name; docs/front.md lists them. */
  call(op, args = {}) {
    return this.#line.call(op, args);
  }
  /** Hears signals; gives what ends that. */
  on(kind, listener) {
    let listeners = this.#listeners.get(kind);
    if (listeners === void 0) this.#listeners.set(kind, listeners = /* @__PURE__ */ new Set());
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }
  #heard(kind, said) {
    for (const listener of this.#listeners.get(kind) ?? []) listener(said);
    if (kind === "connected" && this.#wasConnected) {
      const any = { space: null, collections: null, origin: null };
      for (const listener of this.#listeners.get("document.changed") ?? []) listener(any);
    }
    this.#wasConnected ||= kind === "connected";
  }
  #wasConnected = false;
  /** A collection of a space, which is named by its id, a prefix of it, or its name here. */
  collection(space, name) {
    return new Collection(this.#line, space, name);
  }
  hello() {
    return this.call("hello");
  }
  spaces() {
    return this.call("spaces");
  }
  space(space) {
    return this.call("space", { space });
  }
  collections(space) {
    return this.call("collections", { space });
  }
  log(space, options = {}) {
    return this.call("log", { space, ...options });
  }
  members(space) {
    return this.call("members", { space });
  }
  status(space) {
    return this.call("status", { space });
  }
  digest(space) {
    return this.call("digest", { space });
  }
  peers() {
    return this.call("peers");
  }
  peer(peer) {
    return this.call("peer", { peer });
  }
  exchanges(options = {}) {
    return this.call("exchanges", options);
  }
  /** Exchanges now, and waits for it. */
  sync(options = {}) {
    return this.call("sync", options);
  }
  /** What sync does, as it happens; gives what ends it. */
  events(callback, failed) {
    return this.#line.stream("events", {}, {
      begin: () => {
      },
      event: (event) => callback(event),
      end: (error) => {
        if (error !== void 0) failed?.(error);
      }
    });
  }
};
export {
  Collection,
  Driftless,
  DriftlessError,
  Live,
  connect,
  decode,
  encode,
  tokenOfPage
};
