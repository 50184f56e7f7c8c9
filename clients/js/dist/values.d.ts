/** A value of a document. */
export type Value = null | boolean | number | bigint | string | Uint8Array | Value[] | {
    [key: string]: Value;
};
/** A document id: text, an integer, bytes, or a list of these. */
export type Id = string | number | bigint | Uint8Array | Id[];
/** Writes a message. `undefined` fields are left out, as in JSON; NaN is refused, which no document can hold. */
export declare function encode(value: unknown): string;
/** Reads a message. */
export declare function decode(text: string): unknown;
