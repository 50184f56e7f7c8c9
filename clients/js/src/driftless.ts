// @driftless/client: a driftless database on this machine, from a web page or from Node.
//
//   const db = connect({ url: "http://127.0.0.1:7480/#token=..." });
//   const notes = db.collection("home", "notes");
//   await notes.insert({ title: "Milk" });
//   for await (const change of notes.watch({ done: false })) console.log(change.kind, change.document);

import type {
  Changed,
  Commit,
  Digest,
  Exchange,
  Hello,
  Member,
  Peer,
  Space,
  Status,
  SyncEvent,
} from "./answers.ts";
import { Collection } from "./collection.ts";
import { DriftlessError } from "./failure.ts";
import type { SocketClass } from "./line.ts";
import { Line } from "./line.ts";
import { tokenOfPage } from "./page.ts";
import type { Value } from "./values.ts";

export type * from "./answers.ts";
export { Collection } from "./collection.ts";
export type { FindOptions, Moment, Query } from "./collection.ts";
export { DriftlessError } from "./failure.ts";
export type { SocketClass, SocketLike } from "./line.ts";
export { Live } from "./live.ts";
export { tokenOfPage } from "./page.ts";
export { decode, encode } from "./values.ts";
export type { Id, Value } from "./values.ts";

export interface Options {
  /** What `driftless serve --ui` prints, with the token behind the `#` or without. If left out, where this page is from. */
  url?: string;
  /** The token. If left out, it is in the url, or in the address of this page. */
  token?: string;
  /** Another WebSocket than the built-in one: for Node before 22, such as that of the package `ws`. */
  WebSocket?: SocketClass;
  /** Milliseconds before connecting again, doubled up to `most`. If left out, 250 and 16,000. */
  reconnect?: { first?: number; most?: number };
}

interface Signals {
  "document.changed": Changed;
  connected: undefined;
  disconnected: undefined;
  /** There will be no connection any more: it was closed, or refused for good. */
  closed: DriftlessError;
}

/** Connects, and again whenever it breaks. What is asked meanwhile waits. */
export function connect(options: Options = {}): Driftless {
  return new Driftless(options);
}

export class Driftless {
  readonly #line: Line;
  readonly #listeners = new Map<string, Set<(said: never) => void>>();

  constructor(options: Options) {
    const here = typeof location === "undefined" ? undefined : location.origin;
    const said = options.url ?? here;
    if (said === undefined) throw new DriftlessError("usage", "there is no url", "give the one that `driftless serve --ui` prints");
    const url = new URL(said);
    const token = options.token ?? new URLSearchParams(url.hash.slice(1)).get("token") ?? tokenOfPage();
    if (token === undefined) throw new DriftlessError("wrong_token", "there is no token", "it is behind the `#` of the address that `driftless serve --ui` prints");
    const builtIn = (globalThis as { WebSocket?: SocketClass }).WebSocket;
    const socket = options.WebSocket ?? builtIn;
    if (socket === undefined) {
      const hint = "use Node 22 or later, `node --experimental-websocket`, or give one as the option `WebSocket`";
      throw new DriftlessError("no_websocket", "this platform has no WebSocket", hint);
    }
    const { first = 250, most = 16_000 } = options.reconnect ?? {};
    this.#line = new Line({ url: url.origin, token, WebSocket: socket, first, most }, (kind, said) => this.#heard(kind, said));
  }

  /** Whether there is a connection now. */
  get isConnected(): boolean {
    return this.#line.isOpen;
  }

  /** Ends everything. */
  close(): void {
    this.#line.close();
  }

  /** Any operation by its name; docs/front.md lists them. */
  call(op: string, args: object = {}): Promise<unknown> {
    return this.#line.call(op, args);
  }

  /** Hears signals; gives what ends that. */
  on<K extends keyof Signals>(kind: K, listener: (said: Signals[K]) => void): () => void {
    let listeners = this.#listeners.get(kind);
    if (listeners === undefined) this.#listeners.set(kind, (listeners = new Set()));
    listeners.add(listener as (said: never) => void);
    return () => void listeners.delete(listener as (said: never) => void);
  }

  #heard(kind: string, said: unknown): void {
    for (const listener of this.#listeners.get(kind) ?? []) listener(said as never);
    // Whatever could not be heard while there was no connection.
    if (kind === "connected" && this.#wasConnected) {
      const any: Changed = { space: null, collections: null, origin: null };
      for (const listener of this.#listeners.get("document.changed") ?? []) listener(any as never);
    }
    this.#wasConnected ||= kind === "connected";
  }

  #wasConnected = false;

  /** A collection of a space, which is named by its id, a prefix of it, or its name here. */
  collection<T = { [key: string]: Value }>(space: string, name: string): Collection<T> {
    return new Collection<T>(this.#line, space, name);
  }

  hello(): Promise<Hello> {
    return this.call("hello") as Promise<Hello>;
  }

  spaces(): Promise<Space[]> {
    return this.call("spaces") as Promise<Space[]>;
  }

  space(space: string): Promise<Space> {
    return this.call("space", { space }) as Promise<Space>;
  }

  collections(space: string): Promise<{ collection: string; indexes: string[] }[]> {
    return this.call("collections", { space }) as Promise<{ collection: string; indexes: string[] }[]>;
  }

  log(space: string, options: { limit?: number } = {}): Promise<Commit[]> {
    return this.call("log", { space, ...options }) as Promise<Commit[]>;
  }

  members(space: string): Promise<Member[]> {
    return this.call("members", { space }) as Promise<Member[]>;
  }

  status(space?: string): Promise<Status> {
    return this.call("status", { space }) as Promise<Status>;
  }

  digest(space: string): Promise<Digest> {
    return this.call("digest", { space }) as Promise<Digest>;
  }

  peers(): Promise<Peer[]> {
    return this.call("peers") as Promise<Peer[]>;
  }

  peer(peer: string): Promise<Peer> {
    return this.call("peer", { peer }) as Promise<Peer>;
  }

  exchanges(options: { peer?: string; space?: string; limit?: number } = {}): Promise<Exchange[]> {
    return this.call("exchanges", options) as Promise<Exchange[]>;
  }

  /** Exchanges now, and waits for it. */
  sync(options: { space?: string; peer?: string } = {}): Promise<{ [key: string]: Value }[]> {
    return this.call("sync", options) as Promise<{ [key: string]: Value }[]>;
  }

  /** What sync does, as it happens; gives what ends it. */
  events(callback: (event: SyncEvent) => void, failed?: (error: DriftlessError) => void): () => void {
    return this.#line.stream("events", {}, {
      begin: () => {},
      event: (event) => callback(event as SyncEvent),
      end: (error) => {
        if (error !== undefined) failed?.(error);
      },
    });
  }
}
