// Values of documents as JavaScript has them: integers beyond 2^53 - 1 are bigint, bytes are Uint8Array.

/** A value of a document. */
export type Value = null | boolean | number | bigint | string | Uint8Array | Value[] | { [key: string]: Value };

/** A document id: text, an integer, bytes, or a list of these. */
export type Id = string | number | bigint | Uint8Array | Id[];

/** Writes a message. `undefined` fields are left out, as in JSON; NaN is refused, which no document can hold. */
export function encode(value: unknown): string {
  return JSON.stringify(value, function (this: unknown, key: string, plain: unknown) {
    const whole = (this as Record<string, unknown>)[key];
    if (typeof whole === "bigint") return { $i64: whole.toString() };
    if (whole instanceof Uint8Array) return { $bytes: toBase64(whole) };
    if (typeof plain === "number" && !Number.isFinite(plain)) {
      if (Number.isNaN(plain)) throw new TypeError("NaN is no value of a document");
      return { $f64: plain > 0 ? "inf" : "-inf" };
    }
    return plain;
  });
}

/** Reads a message. */
export function decode(text: string): unknown {
  return JSON.parse(text, (_key, value: unknown) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
    const [key, ...more] = Object.keys(value);
    if (key === undefined || more.length > 0 || !key.startsWith("$")) return value;
    const said = (value as Record<string, unknown>)[key];
    if (typeof said !== "string") return value;
    if (key === "$i64") return BigInt(said);
    if (key === "$bytes") return fromBase64(said);
    if (key === "$f64") return said === "-inf" ? -Infinity : Infinity;
    return value;
  });
}

function toBase64(bytes: Uint8Array): string {
  let binary = "";
  // In parts: so many arguments do not fit on the stack.
  for (let at = 0; at < bytes.length; at += 0x8000) {
    binary += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  }
  return btoa(binary);
}

function fromBase64(text: string): Uint8Array {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at += 1) bytes[at] = binary.charCodeAt(at);
  return bytes;
}
