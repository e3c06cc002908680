// The explorer's pure functions, in Node: node --test tests/visualizers/explorer.test.mjs
import assert from "node:assert/strict";
import { test } from "node:test";
import * as x from "../../visualizers/static/explorer_values.js";

test("numbers have a true minus sign, and a dash where there is none", () => {
  assert.equal(x.number(-1234.5678), "−1,234.568");
  assert.equal(x.number(0.00001), "1.0e−5");
  assert.equal(x.number(null), "–");
  assert.equal(x.number(NaN), "–");
  assert.equal(x.number(-0), "0.000");
  assert.equal(x.signed(0.25), "+0.250");
  assert.equal(x.signed(-0.25), "−0.250");
  assert.equal(x.signed(0), "0.000");
  assert.equal(x.signed(undefined), "–");
});

test("a phrase without a value is refused", () => {
  assert.equal(x.fill("{a} of {b}", { a: "<b>", b: 2 }), "<b> of 2");
  assert.throws(() => x.fill("{a}", {}), /misses a/);
});

test("invisible characters are shown, joiners inside words and emoji are left", () => {
  assert.equal(x.readable("\u202eevil"), "⟨U+202E⟩evil");
  assert.equal(x.readable("zero\u200bwidth"), "zero⟨U+200B⟩width");
  assert.equal(x.readable("\u200d"), "⟨U+200D⟩");
  assert.equal(x.readable("👩\u200d👩"), "👩\u200d👩");
  assert.equal(x.readable("می\u200cخواهم"), "می\u200cخواهم");
  assert.equal(x.readable(""), "∅");
  assert.equal(x.readable("  "), "␣␣");
  assert.equal(x.readable("a\nb\tc"), "a⏎b⇥c");
  assert.equal(x.readable("<script>"), "<script>");
});

test("clipping counts whole characters", () => {
  assert.equal(x.clipped("short", 10), "short");
  assert.equal(x.clipped("😀".repeat(9), 9), "😀".repeat(8) + "…");
  assert.equal(x.clipped("x".repeat(10000), 24).length, 24);
});

test("words are the sums of their tokens", () => {
  const items = x.grouped(["[CLS]", "un", "##do", "it", "[SEP]", "[PAD]"], [-1, 0, 0, 1, -1, -1], [1, 2, 3, 4, 5, 6], true);
  assert.deepEqual(items.map((i) => [i.text, i.value, i.first, i.last]), [["[CLS]", 1, 0, 0], ["undo", 5, 1, 2], ["it", 4, 3, 3], ["[SEP]", 5, 4, 4], ["[PAD]", 6, 5, 5]]);
  assert.equal(x.grouped(["un", "##do"], [0, 0], [1, 2], false).length, 2);
});

test("links are read back, and others are none", () => {
  assert.deepEqual(x.parseLink(x.formatLink(4, 3, "a b/#@é")), { layer: 4, head: 3, example: "a b/#@é" });
  assert.deepEqual(x.parseLink("#L4.H3"), { layer: 4, head: 3, example: null });
  for (const wrong of ["", "#", "#L.H3", "#L4.H3x", "#L1.H1@%E0%A4%A"]) assert.equal(x.parseLink(wrong), null);
});

const index = [
  { id: "a", model: 0, text: "One", facts: { g: "w" }, wrong: true, partner: "b" },
  { id: "b", model: 0, text: "two", facts: { g: "m" }, wrong: false, partner: "a" },
  { id: "c", model: 0, text: "three", facts: { g: null }, wrong: null, partner: null },
  { id: "a", model: 1, text: "One", facts: { g: "w" }, wrong: true, partner: null },
];

test("filters keep what they name", () => {
  assert.deepEqual(x.filtered(index, {}), [0, 1, 2]);
  assert.deepEqual(x.filtered(index, { wrong: true }), [0]);
  assert.deepEqual(x.filtered(index, { pairs: true }), [0, 1]);
  assert.deepEqual(x.filtered(index, { facts: { g: "m" } }), [1]);
  assert.deepEqual(x.filtered(index, { facts: { g: "" } }), [0, 1, 2]);
  assert.deepEqual(x.filtered(index, { search: "ONE" }), [0]);
  assert.deepEqual(x.filtered(index, { search: "nobody" }), []);
});

test("arrays are views of one buffer", () => {
  const buffer = new ArrayBuffer(24);
  new Float32Array(buffer, 8, 2).set([1.5, -2]);
  new Int8Array(buffer, 16, 3).set([-127, 0, 5]);
  const { a, b } = x.unpack([{ name: "a", type: "float32", shape: [1, 2], at: 8 }, { name: "b", type: "int8", shape: [3], at: 16 }], buffer);
  assert.deepEqual([...a.data], [1.5, -2]);
  assert.deepEqual([...b.data], [-127, 0, 5]);
});

const map = {
  rows: 2, columns: 3, levels: 127, attentionFull: 1, contributionFull: 2,
  attention: Uint8Array.from([255, 0, 10, 20, 30, 40]), contribution: Int8Array.from([-127, 3, 0, 64, -2, 1]),
};

test("bytes are roots of values", () => {
  assert.equal(x.valueOf(map, "attention", 0), 1);
  assert.ok(Math.abs(x.valueOf(map, "attention", 5) - (40 / 255) ** 2) < 1e-12);
  assert.equal(x.valueOf(map, "contribution", 0), -2);
  assert.ok(x.valueOf(map, "contribution", 3) > 0);
});

test("the strongest cells are those of a full sort", () => {
  const n = 40;
  const bytes = Int8Array.from({ length: n * n }, (_, i) => ((i * 7919) % 251) - 125);
  const large = { rows: n, columns: n, levels: 127, contributionFull: 1, contribution: bytes };
  const sizes = [...bytes].map(Math.abs).sort((a, b) => b - a).slice(0, 7);
  const found = x.strongest(large, "contribution", null, 7);
  assert.deepEqual(found.map((c) => Math.abs(bytes[c.row * n + c.column])), sizes);
  const row = x.strongest(large, "contribution", 3, 5);
  assert.ok(row.every((c) => c.row === 3) && row.length === 5);
  assert.deepEqual(x.strongest({ ...large, contribution: new Int8Array(n * n) }, "contribution", null, 5), []);
});

test("blocks cover all places once", () => {
  for (const [n, parts] of [[5, 2], [128, 32], [1000, 64], [7, 7], [32768, 64]]) {
    for (let place = 0; place < n; place++) {
      const [from, to] = x.blockRange(x.blockOf(place, n, parts), n, parts);
      assert.ok(from <= place && place < to, `${place} of ${n} in ${parts}`);
    }
  }
});

test("bins keep the extremes", () => {
  const values = Float32Array.from({ length: 1000 }, (_, i) => (i === 500 ? -9 : i === 700 ? 8 : 0.1));
  const made = x.bins(values, 50);
  assert.equal(Math.min(...made.map((b) => b.low)), -9);
  assert.equal(Math.max(...made.map((b) => b.high)), 8);
  assert.equal(made.length, 50);
});

test("windows stay inside", () => {
  assert.deepEqual(x.windowAt(0, 10, 100), [0, 10]);
  assert.deepEqual(x.windowAt(99, 10, 100), [90, 100]);
  assert.deepEqual(x.windowAt(50, 10, 100), [45, 55]);
  assert.deepEqual(x.windowAt(2, 10, 4), [0, 4]);
});

test("shades are full at a quantile and never beyond", () => {
  assert.equal(x.fullAt([]), 0);
  assert.equal(x.fullAt([0, 0, 0, -4], 0.5), 4);
  assert.equal(x.fullAt(Array.from({ length: 100 }, (_, i) => i + 1)), 98);
  assert.equal(x.stepOf(-10, 5), 5);
  assert.equal(x.stepOf(1, 5), 1);
  assert.equal(x.stepOf(1, 0), 0);
  assert.equal(x.stepOf(NaN, 1), 0);
});

test("arrow keys stay inside, others lead nowhere", () => {
  assert.deepEqual(x.moved("ArrowLeft", 0, 0, 2, 3), [0, 0]);
  assert.deepEqual(x.moved("ArrowRight", 0, 0, 2, 3), [0, 1]);
  assert.deepEqual(x.moved("End", 1, 0, 2, 3), [1, 2]);
  assert.equal(x.moved("a", 0, 0, 2, 3), null);
});

test("ranks are by size", () => {
  assert.equal(x.rankOf([0.1, -5, 2], 1), 1);
  assert.equal(x.rankOf([0.1, -5, 2], 0), 3);
});
