import type { Document, WatchEvent } from "./answers.ts";
import type { DriftlessError } from "./failure.ts";
import type { Line } from "./line.ts";
import type { Value } from "./values.ts";
/** A live query: its documents now, and what changes. Iterate over it once, or give a callback; `close` ends it. */
export declare class Live<T = {
    [key: string]: Value;
}> implements AsyncIterable<WatchEvent<T>> {
    #private;
    constructor(line: Line, op: string, args: object, callback?: (event: WatchEvent<T>) => void, failed?: (error: DriftlessError) => void);
    /** The documents that match now, in no order. */
    get documents(): Document<T>[];
    /** Whether the first result is complete. */
    get isReady(): boolean;
    /** Ends it; whoever iterates comes to the end. */
    close(): void;
    [Symbol.asyncIterator](): AsyncIterator<WatchEvent<T>>;
}
