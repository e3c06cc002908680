// Text, numbers, bytes and maps of the explorer: pure functions, run in Node by tests/visualizers/explorer.test.mjs.
// One of the files that visualizers/offline_page.py joins, in its order, into the explorer's one module.

// ---------------------------------------------------------------------------------------------------------------
// Text and numbers

const DASH = "–";
const formats = new Map();

/** A number with a true minus sign, a dash where there is none. */
export function number(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return DASH;
  const size = Math.abs(value);
  if (size >= 1e7 || (size > 0 && size < 0.5 * 10 ** -digits)) return value.toExponential(1).replaceAll("-", "−");
  if (!formats.has(digits)) {
    const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
    formats.set(digits, new Intl.NumberFormat("en", options));
  }
  return formats.get(digits).format(value + 0).replace("-", "−");
}

/** A number that always shows its sign. */
export function signed(value, digits = 3) {
  return value > 0 && Number.isFinite(value) ? `+${number(value, digits)}` : number(value, digits);
}

/** A phrase with its places filled; a place without a value is an error of ours, not a blank. */
export function fill(phrase, values = {}) {
  return phrase.replace(/\{(\w+)\}/g, (_, name) => {
    if (!(name in values)) throw new Error(`the phrase "${phrase}" misses ${name}`);
    return String(values[name]);
  });
}

const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\u3164\u115f\u1160\uffa0]/gu;
// Alternatives, not one class: Chromium 156 finds no picture in [\p{Extended_Pictographic}] before an anchor.
const JOINED = /^(?:\p{L}|\p{M}|\p{Extended_Pictographic}|\ufe0f|[\u{1f3fb}-\u{1f3ff}])/u;

/** A token as it can be seen: spaces, line ends and invisible characters get a sign or their number. */
export function readable(token) {
  if (token === "") return "∅";
  if (/^ +$/.test(token)) return "␣".repeat(Math.min(3, token.length));
  return token.replace(UNSEEN, (character, at) => {
    if (character === "\n") return "⏎";
    if (character === "\t") return "⇥";
    // Joiners belong to emoji and to Persian and Indic words; alone they are as invisible as the rest.
    const before = [...token.slice(Math.max(0, at - 2), at)].pop() ?? "";
    if ("\u200c\u200d".includes(character) && JOINED.test(before) && at + 1 < token.length) return character;
    return `⟨U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`;
  });
}

/** The first so many characters, whole ones, and a sign that there are more. */
export function clipped(text, limit = 24) {
  if (text.length <= limit) return text;
  const characters = [...text.slice(0, 2 * limit)];
  return characters.length < limit && text.length <= 2 * limit ? text : `${characters.slice(0, limit - 1).join("")}…`;
}

/** Tokens, or the words they are parts of, each with the sum of its values. */
export function grouped(tokens, words, values, whole) {
  const made = [];
  for (let i = 0; i < tokens.length; i++) {
    const last = made[made.length - 1];
    if (whole && last && words[i] >= 0 && words[i - 1] === words[i]) {
      last.last = i;
      last.text += tokens[i].replace(/^##/, "");
      last.value += values[i];
    } else made.push({ first: i, last: i, text: tokens[i], value: values[i], special: words[i] < 0 });
  }
  return made;
}

/** The layer and the head of an address like #L4.H3, and the example of #L4.H3@name; null where it is none. */
export function parseLink(hash) {
  const found = /^#L(\d+)\.H(\d+)(?:@(.+))?$/.exec(hash);
  if (!found) return null;
  let example = null;
  try {
    example = found[3] === undefined ? null : decodeURIComponent(found[3]);
  } catch {
    return null; // no address that this page has made
  }
  return { layer: Number(found[1]), head: Number(found[2]), example };
}

export function formatLink(layer, head, example) {
  return `#L${layer}.H${head}${example ? `@${encodeURIComponent(example)}` : ""}`;
}

/** Which examples remain: of these groups, wrong ones alone, pairs alone, with this text in them. */
export function filtered(index, { facts = {}, wrong = false, pairs = false, search = "", model = 0 }) {
  const wanted = search.toLowerCase();
  return index.flatMap((one, place) => {
    if (one.model !== model || (wrong && one.wrong !== true) || (pairs && !one.partner)) return [];
    if (Object.entries(facts).some(([name, value]) => value !== "" && String(one.facts[name] ?? "") !== value)) return [];
    if (wanted && !`${one.id} ${one.text}`.toLowerCase().includes(wanted)) return [];
    return [place];
  });
}

// ---------------------------------------------------------------------------------------------------------------
// Bytes and maps

const TYPES = { float32: Float32Array, uint8: Uint8Array, int8: Int8Array };

/** Named arrays over one buffer: { name: { data, shape } }. */
export function unpack(layout, buffer) {
  const made = {};
  for (const { name, type, shape, at } of layout) {
    made[name] = { data: new TYPES[type](buffer, at, shape.reduce((a, b) => a * b, 1)), shape };
  }
  return made;
}

/** A quantile of magnitudes: where shading is full, so that one token cannot blank all others. */
export function fullAt(values, quantile = 0.98) {
  const sizes = Array.from(values, (v) => Math.abs(v) || 0).sort((a, b) => a - b);
  if (!sizes.length) return 0;
  return sizes[Math.min(sizes.length - 1, Math.ceil(quantile * sizes.length) - 1)] || sizes[sizes.length - 1];
}

/** Of five steps of shading the one of a value. */
export function stepOf(value, full) {
  return full > 0 && Number.isFinite(value) ? Math.min(5, Math.round((5 * Math.abs(value)) / full)) : 0;
}

/** The value behind a byte: weights are squares of 255 steps, contributions signed squares of `levels`. */
export function valueOf(map, kind, at) {
  if (kind === "attention") return (map.attention[at] / 255) ** 2 * map.attentionFull;
  const share = map.contribution[at] / map.levels;
  return share * Math.abs(share) * map.contributionFull;
}

/** In which of `parts` blocks a place among n lies (blocks begin at floor(block * n / parts)). */
export function blockOf(place, n, parts) {
  return Math.min(parts - 1, Math.floor(((place + 1) * parts - 1) / n));
}

/** First and last place + 1 of a block. */
export function blockRange(block, n, parts) {
  return [Math.floor((block * n) / parts), Math.floor(((block + 1) * n) / parts)];
}

/** So many cells of the largest size, of one row or of all, the largest first: [{ row, column, value }]. */
export function strongest(map, kind, row, count) {
  const bytes = map[kind];
  const from = row === null ? 0 : row * map.columns;
  const to = row === null ? map.rows * map.columns : from + map.columns;
  const best = []; // small, sorted by size
  let least = 0;
  for (let at = from; at < to; at++) {
    const size = Math.abs(bytes[at]);
    if (size === 0 || (best.length === count && size <= least)) continue;
    let place = best.length;
    while (place > 0 && Math.abs(bytes[best[place - 1]]) < size) place--;
    best.splice(place, 0, at);
    if (best.length > count) best.pop();
    least = Math.abs(bytes[best[best.length - 1]]);
  }
  return best.map((at) => ({ row: Math.floor(at / map.columns), column: at % map.columns, value: valueOf(map, kind, at) }));
}

/** The rank by size of one of many, 1 for the largest. */
export function rankOf(values, at) {
  const size = Math.abs(values[at]);
  let before = 0;
  for (const value of values) if (Math.abs(value) > size) before++;
  return before + 1;
}

/** A window of so many places around a centre, inside n: [first, last + 1]. */
export function windowAt(centre, size, n) {
  const first = Math.max(0, Math.min(n - size, centre - Math.floor(size / 2)));
  return [first, Math.min(n, first + size)];
}

/** The lowest and the highest value in each of so many bins. */
export function bins(values, count) {
  const parts = Math.min(count, values.length);
  return Array.from({ length: parts }, (_, bin) => {
    const [from, to] = blockRange(bin, values.length, parts);
    let [low, high] = [0, 0];
    for (let i = from; i < to; i++) {
      if (values[i] < low) low = values[i];
      if (values[i] > high) high = values[i];
    }
    return { from, low, high };
  });
}

/** Where an arrow key leads in a grid of rows and columns, inside it; null for other keys. */
export function moved(key, row, column, rows, columns) {
  const clamp = (v, n) => Math.max(0, Math.min(n - 1, v));
  switch (key) {
    case "ArrowLeft": return [row, clamp(column - 1, columns)];
    case "ArrowRight": return [row, clamp(column + 1, columns)];
    case "ArrowUp": return [clamp(row - 1, rows), column];
    case "ArrowDown": return [clamp(row + 1, rows), column];
    case "Home": return [row, 0];
    case "End": return [row, columns - 1];
    case "PageUp": return [0, column];
    case "PageDown": return [rows - 1, column];
    default: return null;
  }
}

async function gunzip(bytes) {
  if (!bytes || !bytes.byteLength) return new ArrayBuffer(0);
  // The body of an answer, not of a Blob: that one comes from another process, which is busy while a page loads.
  return new Response(new Response(bytes).body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}
