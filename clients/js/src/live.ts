// Live queries. After a break the first result comes again; only what differs from what was told before is told.

import type { Document, WatchEvent } from "./answers.ts";
import type { DriftlessError } from "./failure.ts";
import type { Line } from "./line.ts";
import type { Id, Value } from "./values.ts";
import { encode } from "./values.ts";

interface Known<T> {
  id: Id;
  document: Document<T>;
  text: string;
}

/** A live query: its documents now, and what changes. Iterate over it once, or give a callback; `close` ends it. */
export class Live<T = { [key: string]: Value }> implements AsyncIterable<WatchEvent<T>> {
  readonly #known = new Map<string, Known<T>>();
  /** While the first result comes again: what was told before and has not come. */
  #missing: Set<string> | undefined;
  #ready = false;
  #over = false;
  #error: DriftlessError | undefined;
  readonly #callback: ((event: WatchEvent<T>) => void) | undefined;
  readonly #failed: ((error: DriftlessError) => void) | undefined;
  /** What nobody has taken yet: for each document what it comes to, so that it stays as small as the result. */
  readonly #untold = new Map<string, WatchEvent<T>>();
  #wake: (() => void) | undefined;
  readonly #close: () => void;

  constructor(
    line: Line,
    op: string,
    args: object,
    callback?: (event: WatchEvent<T>) => void,
    failed?: (error: DriftlessError) => void,
  ) {
    this.#callback = callback;
    this.#failed = failed;
    this.#close = line.stream(op, args, {
      begin: () => {
        this.#missing = this.#ready || this.#known.size > 0 ? new Set(this.#known.keys()) : undefined;
      },
      event: (event) => this.#take(event as WatchEvent<T>),
      end: (error) => this.#end(error),
    });
  }

  /** The documents that match now, in no order. */
  get documents(): Document<T>[] {
    return [...this.#known.values()].map((known) => known.document);
  }

  /** Whether the first result is complete. */
  get isReady(): boolean {
    return this.#ready;
  }

  /** Ends it; whoever iterates comes to the end. */
  close(): void {
    this.#close();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<WatchEvent<T>> {
    try {
      for (;;) {
        const [next] = this.#untold;
        if (next !== undefined) {
          this.#untold.delete(next[0]);
          yield next[1];
        } else if (this.#over) {
          if (this.#error !== undefined) throw this.#error;
          return;
        } else {
          await new Promise<void>((wake) => (this.#wake = wake));
        }
      }
    } finally {
      this.close();
    }
  }

  #take(event: WatchEvent<T>): void {
    if (event.kind === "ready") {
      const gone = this.#missing ?? new Set();
      this.#missing = undefined;
      for (const key of gone) this.#forget(key, null);
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
    this.#tell(key, { ...event, kind: before === undefined ? "insert" : "update" });
  }

  #forget(key: string, origin: string | null): void {
    const known = this.#known.get(key);
    if (known === undefined) return;
    this.#known.delete(key);
    this.#tell(key, { kind: "delete", id: known.id, document: null, origin });
  }

  #tell(key: string, event: WatchEvent<T>): void {
    if (this.#callback !== undefined) {
      this.#callback(event);
      return;
    }
    const before = this.#untold.get(key);
    const both = before === undefined ? event : together(before, event);
    if (both === undefined) this.#untold.delete(key);
    else this.#untold.set(key, both);
    this.#wake?.();
  }

  #end(error: DriftlessError | undefined): void {
    this.#over = true;
    this.#error = error;
    this.#wake?.();
    if (error !== undefined) this.#failed?.(error);
  }
}

/** What two events of one document come to. */
function together<T>(before: WatchEvent<T>, event: WatchEvent<T>): WatchEvent<T> | undefined {
  if (before.kind === "insert" && event.kind === "delete") return undefined;
  if (before.kind === "insert" && event.kind === "update") return { ...event, kind: "insert" };
  if (before.kind === "delete" && event.kind === "insert") return { ...event, kind: "update" };
  return event;
}
