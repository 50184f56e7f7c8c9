// The connection: operations by their ids, streams that are begun again after it broke, signals. Knows no operation.

import { DriftlessError } from "./failure.ts";
import { decode, encode } from "./values.ts";

/** What of `WebSocket` is used, so that another one may be given. */
export interface SocketLike {
  readyState: number;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

export type SocketClass = new (url: string, protocols: string[]) => SocketLike;

export interface LineOptions {
  url: string;
  token: string;
  WebSocket: SocketClass;
  /** Milliseconds before the first attempt to connect again, and at most between two. */
  first: number;
  most: number;
}

/** Who hears of one stream. */
export interface Listener {
  /** It begins, for the first time or again. */
  begin(): void;
  event(event: unknown): void;
  /** It is over; `error` unless it was closed. */
  end(error?: DriftlessError): void;
}

interface Call {
  op: string;
  args: object;
  done(answer: unknown): void;
  failed(error: DriftlessError): void;
}

interface Stream {
  op: string;
  args: object;
  listener: Listener;
  id?: number;
}

/** Calls that wait for a connection. */
const MOST_WAITING = 1_000;
/** Refusals that no second attempt changes. */
const FINAL = new Set(["wrong_token", "wrong_host", "wrong_origin"]);

export class Line {
  readonly #options: LineOptions;
  #socket: SocketLike | undefined;
  #open = false;
  #next = 1;
  #failures = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #over: DriftlessError | undefined;
  readonly #waiting: Call[] = [];
  readonly #calls = new Map<number, Call>();
  readonly #streams = new Set<Stream>();
  readonly #running = new Map<number, Stream>();
  readonly #heard: (kind: string, said: unknown) => void;

  constructor(options: LineOptions, heard: (kind: string, said: unknown) => void) {
    this.#options = options;
    this.#heard = heard;
    this.#dial();
  }

  get isOpen(): boolean {
    return this.#open;
  }

  /** Asks once. Waits for a connection; if that breaks after it was asked, nobody knows whether it was done. */
  call(op: string, args: object): Promise<unknown> {
    return new Promise((done, failed) => {
      const call = { op, args, done, failed };
      if (this.#over !== undefined) return failed(this.#over);
      if (this.#open) return this.#ask(call);
      if (this.#waiting.length >= MOST_WAITING) return failed(lost("too much waits for a connection"));
      this.#waiting.push(call);
    });
  }

  /** Begins a stream, and again after each break. Gives what ends it. */
  stream(op: string, args: object, listener: Listener): () => void {
    const stream: Stream = { op, args, listener };
    if (this.#over !== undefined) {
      listener.end(this.#over);
      return () => {};
    }
    this.#streams.add(stream);
    if (this.#open) this.#begin(stream);
    return () => {
      if (!this.#streams.delete(stream)) return;
      if (stream.id !== undefined && this.#open) {
        this.#running.delete(stream.id);
        this.#send({ id: this.#next++, op: "cancel", args: { id: stream.id } });
      }
      listener.end();
    };
  }

  close(): void {
    this.#end(new DriftlessError("closed", "this client was closed", "connect again"));
  }

  #dial(): void {
    const { url, token, WebSocket } = this.#options;
    const socket = new WebSocket(`${url.replace(/^http/, "ws")}/api/1/ws`, ["driftless.1", `bearer.${token}`]);
    this.#socket = socket;
    socket.onopen = () => {
      this.#open = true;
      this.#failures = 0;
      for (const stream of this.#streams) this.#begin(stream);
      for (const call of this.#waiting.splice(0)) this.#ask(call);
      this.#heard("connected", undefined);
    };
    socket.onmessage = (event: { data: unknown }) => {
      if (socket === this.#socket) this.#take(String(event.data));
    };
    // An end follows, but not in Node before 22 where there never was a connection.
    socket.onerror = () => {
      if (socket === this.#socket && !this.#open) void this.#broken();
    };
    socket.onclose = () => {
      if (socket === this.#socket) void this.#broken();
    };
  }

  async #broken(): Promise<void> {
    const was_open = this.#open;
    this.#open = false;
    this.#socket = undefined;
    this.#running.clear();
    for (const stream of this.#streams) delete stream.id;
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const call of calls) call.failed(lost("the connection broke before the answer came"));
    if (was_open) this.#heard("disconnected", undefined);
    // A browser does not say why it could not connect; asking over HTTP does.
    const refused = was_open ? undefined : await this.#whyRefused();
    if (this.#over !== undefined) return;
    if (refused !== undefined) return this.#end(refused);
    const { first, most } = this.#options;
    // Not all pages at the same moment, when the database comes back.
    const pause = Math.min(most, first * 2 ** this.#failures) * (0.5 + Math.random() / 2);
    this.#failures = Math.min(this.#failures + 1, 16);
    this.#timer = setTimeout(() => this.#dial(), pause);
  }

  async #whyRefused(): Promise<DriftlessError | undefined> {
    try {
      const headers = { authorization: `Bearer ${this.#options.token}` };
      const answer = await fetch(`${this.#options.url}/api/1/hello`, { method: "POST", headers });
      const error = answer.ok ? undefined : DriftlessError.from(((await answer.json()) as { error?: unknown }).error);
      return error !== undefined && FINAL.has(error.code) ? error : undefined;
    } catch {
      return undefined;
    }
  }

  #end(error: DriftlessError): void {
    if (this.#over !== undefined) return;
    this.#over = error;
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = undefined;
    this.#open = false;
    socket?.close(1000);
    const calls = [...this.#waiting.splice(0), ...this.#calls.values()];
    this.#calls.clear();
    for (const call of calls) call.failed(error);
    const streams = [...this.#streams];
    this.#streams.clear();
    this.#running.clear();
    for (const stream of streams) stream.listener.end(error.code === "closed" ? undefined : error);
    this.#heard("closed", error);
  }

  #ask(call: Call): void {
    const id = this.#next++;
    let text: string;
    try {
      text = encode({ id, op: call.op, args: call.args });
    } catch (error) {
      call.failed(new DriftlessError("invalid_json", String(error), "documents hold what JSON holds, bigint and Uint8Array"));
      return;
    }
    this.#calls.set(id, call);
    this.#socket?.send(text);
  }

  #begin(stream: Stream): void {
    stream.id = this.#next++;
    this.#running.set(stream.id, stream);
    stream.listener.begin();
    this.#send({ id: stream.id, op: stream.op, args: stream.args });
  }

  #send(message: object): void {
    this.#socket?.send(encode(message));
  }

  #take(text: string): void {
    const message = decode(text) as Record<string, unknown>;
    if (typeof message["signal"] === "string") return this.#heard(message["signal"], message);
    const id = Number(message["id"]);
    const call = this.#calls.get(id);
    if (call !== undefined) {
      this.#calls.delete(id);
      if ("error" in message) call.failed(DriftlessError.from(message["error"]));
      else call.done(message["ok"]);
      return;
    }
    const stream = this.#running.get(id);
    if (stream === undefined) return;
    if ("event" in message) return stream.listener.event(message["event"]);
    this.#running.delete(id);
    delete stream.id;
    const error = "error" in message ? DriftlessError.from(message["error"]) : undefined;
    // Who was too slow begins again, and is told only what differs.
    if (error?.code === "slow_reader") return this.#begin(stream);
    this.#streams.delete(stream);
    stream.listener.end(error);
  }
}

function lost(why: string): DriftlessError {
  return new DriftlessError("connection_lost", why, "look whether it was done, then ask again");
}
