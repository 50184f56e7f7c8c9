import assert from "node:assert/strict";
import { test } from "node:test";
import { decode, encode } from "../dist/driftless.js";

test("what JavaScript has and JSON has not survives", () => {
  const value = { large: 2n ** 63n - 1n, bytes: new Uint8Array([0, 1, 255]), inf: [Infinity, -Infinity], text: "é\u0000", none: null };
  assert.equal(encode({ a: 1n, b: new Uint8Array([0, 1]) }), '{"a":{"$i64":"1"},"b":{"$bytes":"AAE="}}');
  assert.deepEqual(decode(encode(value)), value);
  assert.deepEqual(decode(encode({ bytes: new Uint8Array(200_000).fill(7) })).bytes.length, 200_000);
});

test("what no document can hold is said, and what only looks special is left alone", () => {
  assert.throws(() => encode({ a: NaN }), TypeError);
  assert.equal(encode({ a: undefined, at: new Date(0) }), '{"at":"1970-01-01T00:00:00.000Z"}');
  assert.deepEqual(decode('{"a":{"$i64":5},"b":{"$set":"x"},"c":{"$bytes":"AA==","more":1}}'), {
    a: { $i64: 5 },
    b: { $set: "x" },
    c: { $bytes: "AA==", more: 1 },
  });
});
