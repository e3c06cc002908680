// What Python or the page answers, and the elements and colours that every panel draws with.
// One of the files that visualizers/offline_page.py joins, in its order, into the explorer's one module.

// ---------------------------------------------------------------------------------------------------------------
// What Python (or the page) answers

/** Questions with answers: each question has a number, and its answer, or the error in words, comes with it. */
function asking(model) {
  const waiting = new Map();
  const hear = (message, buffers = []) => {
    const question = waiting.get(message.re);
    if (!question) return;
    waiting.delete(message.re);
    if (message.error === undefined) question.answered({ ...message, buffers });
    else question.refused(new Error(message.error));
  };
  model.on("msg:custom", hear);
  return {
    ask(kind, rest = {}) {
      const re = `${Date.now()}-${Math.random()}`; // two views of one model hear the same answers
      return new Promise((answered, refused) => {
        waiting.set(re, { answered, refused });
        model.send({ kind, re, ...rest });
      });
    },
    close: () => model.off("msg:custom", hear),
  };
}

/** An example as it is drawn: its words, its small arrays, and the maps that have come. */
async function loadScene(ask, place) {
  const { words, plain, buffers } = await ask("scene", { place }); // plain: not compressed, so that nothing waits for it
  const arrays = unpack(words.layout, plain ? buffers[0].buffer : await gunzip(buffers[0]));
  const [layers, heads] = arrays.importance.shape.slice(1);
  const scene = { ...words, place, arrays, nLayers: layers, nHeads: heads, whole: null, held: new Map(), waiting: new Set() };
  scene.self = scene.queries === null;
  scene.queries ??= scene.tokens;
  scene.statisticArrays = scene.statistics.map((_, i) => arrays[`statistic_${i}`].data);
  return scene;
}

async function loadMaps(ask, scene) {
  if (!scene.maps.heads.length || scene.whole) return;
  const { buffers } = await ask("maps", { place: scene.place });
  scene.whole = unpack(scene.maps.layout, await gunzip(buffers[0]));
}

/** The best map of a head that is here: a window that was opened, the whole, or a coarse one. */
function mapOf(scene, layer, head, window) {
  const n = { rows: scene.queries.length, columns: scene.tokens.length };
  const flat = layer * scene.nHeads + head;
  const key = `${flat}:${window ?? "whole"}`;
  if (scene.held.has(key)) return scene.held.get(key);
  if (window) return null;
  const at = scene.whole ? scene.maps.heads.indexOf(flat) : -1;
  if (at >= 0) {
    const { attention, attention_full, contribution, contribution_full } = scene.whole;
    const size = n.rows * n.columns;
    const map = {
      ...n, q0: 0, k0: 0, q1: n.rows, k1: n.columns, grain: "whole", levels: scene.maps.levels,
      attention: attention.data.subarray(at * size, (at + 1) * size), attentionFull: attention_full.data[at],
      contribution: contribution ? contribution.data.subarray(at * size, (at + 1) * size) : null,
      contributionFull: contribution_full ? contribution_full.data[at] : 0,
    };
    scene.held.set(key, map);
    return map;
  }
  const { attention_small: small, contribution_small: signedSmall, overview } = scene.arrays;
  const coarse = overview ?? small;
  if (!coarse) return null;
  const [rows, columns] = coarse.shape.slice(2);
  const size = rows * columns;
  const mine = !overview && signedSmall;
  return {
    rows, columns, q0: 0, k0: 0, q1: n.rows, k1: n.columns, levels: scene.levels,
    grain: rows === n.rows && columns === n.columns ? "whole" : overview ? "means" : "largest",
    attention: coarse.data.subarray(flat * size, (flat + 1) * size), attentionFull: scene.arrays.attention_full.data[flat],
    contribution: mine ? signedSmall.data.subarray(flat * size, (flat + 1) * size) : null,
    contributionFull: mine ? scene.arrays.contribution_full.data[flat] : 0,
  };
}

const AT_ONCE = 700_000; // cells of a map that is asked for whole
const MOST_HELD = 48;

/** Ask for a map that is not here; resolves when there is something new to draw. */
async function fetchMap(ask, scene, layer, head, window) {
  const flat = layer * scene.nHeads + head;
  const key = `${flat}:${window ?? "whole"}`;
  if (scene.held.has(key) || scene.waiting.has(key)) return false;
  scene.waiting.add(key);
  try {
    const [q0, q1, k0, k1] = window ?? [0, scene.queries.length, 0, scene.tokens.length];
    const { layout, levels, buffers } = await ask("map", { place: scene.place, layer, head, window: [q0, q1, k0, k1] });
    const { attention, attention_full, contribution, contribution_full } = unpack(layout, await gunzip(buffers[0]));
    if (scene.held.size >= MOST_HELD) scene.held.delete(scene.held.keys().next().value);
    scene.held.set(key, {
      rows: q1 - q0, columns: k1 - k0, q0, q1, k0, k1, levels, grain: window ? "window" : "whole",
      attention: attention.data, attentionFull: attention_full.data[0],
      contribution: contribution?.data ?? null, contributionFull: contribution_full?.data[0] ?? 0,
    });
    return true;
  } finally {
    scene.waiting.delete(key);
  }
}

// ---------------------------------------------------------------------------------------------------------------
// Elements and colours

/** An element. Everything that comes from data goes in as text. */
function h(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "selected") made[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function svg(tag, properties) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(properties)) made.setAttribute(name, value);
  return made;
}

/** A list to choose from. */
function choice(label, options, chosen, onchange, more = {}) {
  const select = h("select", { onchange: (event) => onchange(event.target.value), ...more });
  for (const [value, text] of options) select.append(h("option", { value, selected: value === chosen }, text));
  select.value = chosen;
  return h("label", { class: "choice" }, h("span", {}, label), select);
}

/** A row of buttons of which one is pressed. */
function segments(label, options, chosen, onchange) {
  const group = h("div", { class: "segments", role: "group", "aria-label": label });
  for (const [value, text, why] of options) {
    const pressed = { type: "button", "aria-pressed": String(value === chosen), "aria-disabled": why ? "true" : null, title: why };
    group.append(h("button", { ...pressed, "data-value": value, onclick: () => why || onchange(value) }, text));
  }
  return group;
}

const rgb = (text) => {
  const hex = text.trim().replace("#", "");
  return [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16));
};

/** The colours of the theme around, and a colour for every byte of a map. */
function paletteOf(root) {
  const style = getComputedStyle(root);
  const names = ["paper", "ink", "soft", "rule", "faint", "accent", "for", "against", "weight", "mid-for", "mid-against"];
  const made = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--c-${name}`).trim()]));
  const paper = rgb(made.paper);
  const mix = (stops, share) => {
    const at = Math.min(stops.length - 2, Math.floor(share * (stops.length - 1)));
    const rest = share * (stops.length - 1) - at;
    const [r, g, b] = stops[at].map((v, i) => Math.round(v + rest * (stops[at + 1][i] - v)));
    return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
  };
  const weights = [paper, rgb(made.weight), rgb(made.ink)];
  const signs = [[paper, rgb(made["mid-for"]), rgb(made.for)], [paper, rgb(made["mid-against"]), rgb(made.against)]];
  // `reach`: the root of this map's largest value as a part of the largest that has the full colour.
  made.attention = (reach = 1) => Uint32Array.from({ length: 256 }, (_, i) => mix(weights, (reach * i) / 255));
  made.contribution = (levels, reach = 1) => {
    const own = new Uint32Array(256); // by the unsigned reading of the signed byte
    for (let v = -levels; v <= levels; v++) own[v & 255] = mix(signs[v < 0 ? 1 : 0], (reach * Math.abs(v)) / levels);
    return own;
  };
  return made;
}

/** Bytes as an image, one pixel for each. */
function pixels(bytes, rows, columns, colours) {
  const image = new ImageData(columns, rows);
  const words = new Uint32Array(image.data.buffer);
  for (let i = 0; i < bytes.length; i++) words[i] = colours[bytes[i] & 255];
  const canvas = h("canvas");
  canvas.width = columns;
  canvas.height = rows;
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

const FONT = '11px system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif';

/** A canvas made so large, sharp on this screen, and its context in CSS pixels. */
function sized(canvas, width, height) {
  const ratio = Math.min(2, globalThis.devicePixelRatio || 1);
  const [w, t] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== t) {
    canvas.width = w;
    canvas.height = t;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = FONT;
  context.textBaseline = "middle";
  return context;
}

/** A square whose area says how much: filled for more, hollow for less. */
function mark(context, x, y, side, share, value, palette, twoSigns) {
  const size = Math.max(2, Math.sqrt(Math.min(1, share)) * side);
  context.fillStyle = context.strokeStyle = twoSigns ? (value < 0 ? palette.against : palette.for) : palette.ink;
  if (value >= 0) context.fillRect(x - size / 2, y - size / 2, size, size);
  else {
    context.lineWidth = Math.min(1.75, size / 3);
    const inner = size - context.lineWidth;
    context.strokeRect(x - inner / 2, y - inner / 2, inner, inner);
  }
}
