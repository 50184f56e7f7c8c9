// A collection of a space: what is done with documents.

import type { Commit, Document, Explanation, WatchEvent, Written } from "./answers.ts";
import type { DriftlessError } from "./failure.ts";
import type { Line } from "./line.ts";
import { Live } from "./live.ts";
import type { Id, Value } from "./values.ts";

/** A filter, or operators, in MongoDB's language. */
export type Query = { [key: string]: Value };

export interface FindOptions {
  /** Fields with commas between them, `-` for descending: `"country,-name"`. */
  sort?: string;
  limit?: number;
  skip?: number;
  /** Deleted documents, too. */
  deleted?: boolean;
}

/** A commit id, Unix milliseconds, or a date in UTC such as `"2026-11-20T12:00:00"`. */
export type Moment = string | number;

export class Collection<T = { [key: string]: Value }> {
  readonly space: string;
  readonly name: string;
  readonly #line: Line;

  constructor(line: Line, space: string, name: string) {
    this.#line = line;
    this.space = space;
    this.name = name;
  }

  #call(op: string, args: object): Promise<unknown> {
    return this.#line.call(op, { space: this.space, collection: this.name, ...args });
  }

  /** The document, now or as it was; fails with `not_found` if there is none. */
  get(id: Id, at?: Moment): Promise<Document<T>> {
    return this.#call("get", { id, at }) as Promise<Document<T>>;
  }

  find(filter: Query = {}, options: FindOptions = {}): Promise<Document<T>[]> {
    return this.#call("find", { filter, ...options }) as Promise<Document<T>[]>;
  }

  async count(filter: Query = {}, options: { deleted?: boolean } = {}): Promise<number> {
    return ((await this.#call("count", { filter, ...options })) as { count: number }).count;
  }

  /** Makes a document, with a new random id unless one is given. */
  insert(document: T, options: { id?: Id; parent?: Id } = {}): Promise<Written> {
    return this.#call("insert", { document, ...options }) as Promise<Written>;
  }

  /** Makes the document be this, by the smallest edit. What `get` gave may come back, changed. */
  save(id: Id, document: T): Promise<Written> {
    return this.#call("save", { id, document }) as Promise<Written>;
  }

  /** `edit(id, {$set: {done: true}, $inc: {n: 1}})` */
  edit(id: Id, operators: Query): Promise<Written> {
    return this.#call("edit", { id, operators }) as Promise<Written>;
  }

  delete(id: Id): Promise<Written> {
    return this.#call("delete", { id }) as Promise<Written>;
  }

  restore(id: Id): Promise<Written> {
    return this.#call("restore", { id }) as Promise<Written>;
  }

  /** The commits that edit a document, the newest first. */
  log(id: Id, options: { limit?: number } = {}): Promise<Commit[]> {
    return this.#call("log", { id, ...options }) as Promise<Commit[]>;
  }

  /** The operators that make the document of one moment into that of another, or of now. */
  diff(id: Id, from: Moment, to?: Moment): Promise<Query> {
    return this.#call("diff", { id, from, to }) as Promise<Query>;
  }

  /** Why a document is, or is not, here or at a peer. */
  explain(id: Id, peer?: string): Promise<Explanation> {
    return this.#call("explain", { id, peer }) as Promise<Explanation>;
  }

  /**
   * A live query: what matches now, `ready`, then every difference, over broken connections too. With a callback each
   * event is told at once, and `failed` says why there are no more; without one, iterate over it.
   */
  watch(
    filter: Query = {},
    callback?: (event: WatchEvent<T>) => void,
    failed?: (error: DriftlessError) => void,
  ): Live<T> {
    const args = { space: this.space, collection: this.name, filter };
    return new Live<T>(this.#line, "watch", args, callback, failed);
  }
}
