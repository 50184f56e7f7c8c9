import type { Id, Value } from "./values.ts";
/** The fields of a document that the database sets. */
export interface System {
    _id: Id;
    _collection: string;
    _created: number;
    _updated: number;
    _author: string;
    _deleted?: true;
    _parent?: Id;
}
/** A document as it is read. */
export type Document<T = {
    [key: string]: Value;
}> = T & System;
export interface Hello {
    version: string;
    api: number;
    user: string;
    author: string;
    peer: string;
}
export interface Space {
    space: string;
    name: string;
    commits: number;
    documents: number;
    heads: string[];
}
/** `commit` is null when nothing had to be written. */
export interface Written {
    id: Id;
    commit: string | null;
}
export interface Commit {
    commit: string;
    author: string;
    seq: number;
    time: number;
    parents: string[];
    kind: "rules" | "documents";
    edits: {
        [key: string]: Value;
    }[];
    state: "applied" | "held" | "void" | "wanted";
}
/** `fix` is about the first step that is not `ok`. */
export interface Explanation {
    ok: boolean;
    steps: {
        step: string;
        ok: boolean;
        detail: string;
    }[];
    fix: string | null;
}
export interface Member {
    subject: string;
    permission: string;
    you: boolean;
}
export interface Digest {
    space: string;
    heads: string[];
    commits: number;
    documents: number;
    view: string;
}
/** How many, and the first hundred of them. */
export interface Waiting {
    count: number;
    commits: {
        commit: string;
        author: string;
        time: number;
        reason: string;
    }[];
}
export interface SpaceStatus {
    space: string;
    name: string;
    commits: number;
    documents: number;
    applied: number;
    sync: {
        on_commit: boolean;
        interval: number | null;
    } | null;
    lag: number | null;
    held: Waiting;
    void: Waiting;
    wanted: Waiting;
    forked: {
        author: string;
        seq: number;
        commits: string[];
        proof: string[];
        since: number;
    }[];
}
export interface Status {
    ok: boolean;
    user: string;
    author: string;
    bytes: number;
    spaces: SpaceStatus[];
    refused: {
        hash: string;
        space: string | null;
        author: string | null;
        code: string;
        reason: string;
        time: number;
        times: number;
    }[];
    requests: number;
}
export interface Peer {
    peer: string;
    name: string | null;
    addresses: string[];
    advertised: string[];
    spaces: string[];
    connected: boolean | null;
    last_sync: number | null;
    successes: number;
    failures: number;
    rate: number | null;
    last_error: string | null;
    waiting: string[];
    exchanges: {
        [key: string]: Value;
    }[];
}
export interface Exchange {
    peer: string;
    space: string;
    time: number;
    commits: number;
    bytes: number;
    error: string | null;
}
/** What sync does: `connected`, `disconnected`, `dial_failed`, `exchange` or `missed`. */
export interface SyncEvent {
    kind: string;
    time: number;
    peer?: string;
    space?: string;
    error?: string | null;
    [more: string]: Value | undefined;
}
/** Something became visible: `null` is any. */
export interface Changed {
    space: string | null;
    collections: string[] | null;
    origin: "local" | "peer" | "bundle" | null;
}
/** What a live query tells. `origin` is null where it is not known, and of what was there already. */
export type WatchEvent<T = {
    [key: string]: Value;
}> = {
    kind: "insert" | "update";
    id: Id;
    document: Document<T>;
    origin: string | null;
} | {
    kind: "delete";
    id: Id;
    document: null;
    origin: string | null;
} | {
    kind: "ready";
    id: null;
    document: null;
    origin: null;
};
