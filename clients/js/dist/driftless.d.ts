import type { Changed, Commit, Digest, Exchange, Hello, Member, Peer, Space, Status, SyncEvent } from "./answers.ts";
import { Collection } from "./collection.ts";
import { DriftlessError } from "./failure.ts";
import type { SocketClass } from "./line.ts";
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
    reconnect?: {
        first?: number;
        most?: number;
    };
}
interface Signals {
    "document.changed": Changed;
    connected: undefined;
    disconnected: undefined;
    /** There will be no connection any more: it was closed, or refused for good. */
    closed: DriftlessError;
}
/** Connects, and again whenever it breaks. What is asked meanwhile waits. */
export declare function connect(options?: Options): Driftless;
export declare class Driftless {
    #private;
    constructor(options: Options);
    /** Whether there is a connection now. */
    get isConnected(): boolean;
    /** Ends everything. */
    close(): void;
    /** Any operation by its name; docs/front.md lists them. */
    call(op: string, args?: object): Promise<unknown>;
    /** Hears signals; gives what ends that. */
    on<K extends keyof Signals>(kind: K, listener: (said: Signals[K]) => void): () => void;
    /** A collection of a space, which is named by its id, a prefix of it, or its name here. */
    collection<T = {
        [key: string]: Value;
    }>(space: string, name: string): Collection<T>;
    hello(): Promise<Hello>;
    spaces(): Promise<Space[]>;
    space(space: string): Promise<Space>;
    collections(space: string): Promise<{
        collection: string;
        indexes: string[];
    }[]>;
    log(space: string, options?: {
        limit?: number;
    }): Promise<Commit[]>;
    members(space: string): Promise<Member[]>;
    status(space?: string): Promise<Status>;
    digest(space: string): Promise<Digest>;
    peers(): Promise<Peer[]>;
    peer(peer: string): Promise<Peer>;
    exchanges(options?: {
        peer?: string;
        space?: string;
        limit?: number;
    }): Promise<Exchange[]>;
    /** Exchanges now, and waits for it. */
    sync(options?: {
        space?: string;
        peer?: string;
    }): Promise<{
        [key: string]: Value;
    }[]>;
    /** What sync does, as it happens; gives what ends it. */
    events(callback: (event: SyncEvent) => void, failed?: (error: DriftlessError) => void): () => void;
}
