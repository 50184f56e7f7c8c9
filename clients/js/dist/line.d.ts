import { DriftlessError } from "./failure.ts";
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
export declare class Line {
    #private;
    constructor(options: LineOptions, heard: (kind: string, said: unknown) => void);
    get isOpen(): boolean;
    /** Asks once. Waits for a connection; if that breaks after it was asked, nobody knows whether it was done. */
    call(op: string, args: object): Promise<unknown>;
    /** Begins a stream, and again after each break. Gives what ends it. */
    stream(op: string, args: object, listener: Listener): () => void;
    close(): void;
}
