// The panels of heads: the grid, the maps of one head, and gates that run the model again.
// One of the files that visualizers/offline_page.py joins, in its order, into the explorer's one module.

// ---------------------------------------------------------------------------------------------------------------
// The grid of heads

/** What the grid shows: thumbnails, or one number for each head. */
function gridModes(app, scene) {
  const { say, state } = app;
  const modes = [];
  if (scene.arrays.attention_small) modes.push({ name: "attention", label: say("grid_attention"), thumbs: "attention" });
  if (scene.arrays.contribution_small) modes.push({ name: "contribution", label: say("grid_contribution"), thumbs: "contribution" });
  const size = scene.nLayers * scene.nHeads;
  const t = Math.min(app.sel.target, scene.targets.length - 1);
  modes.push({ name: "importance", label: say("grid_importance"), values: scene.arrays.importance.data.subarray(t * size, (t + 1) * size), unit: scene.unit });
  if (scene.arrays.closings) modes.push({ name: "closings", label: say("grid_closings"), short: say("fact_closings"), values: scene.arrays.closings.data.map((v) => v - scene.value[0]), unit: scene.unit });
  if (state.gap?.shares) modes.push({ name: "shares", label: say("grid_shares", { gap: state.gap.words }), short: say("fact_shares"), values: state.gap.shares.flat(), unit: "" });
  if (state.gap?.closings) modes.push({ name: "gap", label: say("grid_gap", { gap: state.gap.words }), short: say("fact_gap"), values: state.gap.closings.flat().map((v) => v - state.gap.estimate), unit: "" });
  scene.statistics.forEach((name, i) => modes.push({ name: `statistic_${i}`, label: name.replaceAll("_", " "), values: scene.statisticArrays[i], unit: "", plain: !scene.statisticArrays[i].some((v) => v < 0) }));
  return modes.map((mode) => ({ ...mode, values: mode.values?.length === size ? mode.values : mode.values && new Float32Array(size).fill(NaN) }));
}

function gridPanel(app) {
  const { say, sel } = app;
  const heading = h("h2", { id: `${app.uid}-heads` }, say("heads"));
  const tools = h("div", { class: "tools" });
  const body = h("div", { class: "sides" });
  const legend = h("p", { class: "legend" });
  const strongestList = h("ol", { class: "strongest", "aria-label": say("strongest_heads") });
  let grids = [];

  function build() {
    body.replaceChildren();
    body.classList.toggle("two", app.sides.length > 1);
    grids = app.sides.map((scene, s) => {
      const canvas = h("canvas", { "aria-hidden": "true" });
      const overlay = h("div", { role: "grid", class: "cells", "aria-label": say("grid_label", { layers: scene.nLayers, heads: scene.nHeads, id: app.nameOf(scene) }) });
      const cells = [];
      for (let layer = 0; layer < scene.nLayers; layer++) {
        const row = h("div", { role: "row" });
        for (let head = 0; head < scene.nHeads; head++) {
          const cell = h("div", { role: "gridcell", tabindex: "-1", "data-at": layer * scene.nHeads + head });
          cells.push(cell);
          row.append(cell);
        }
        overlay.append(row);
      }
      overlay.addEventListener("click", (event) => {
        const at = event.target.dataset?.at;
        if (at !== undefined) app.update({ layer: Math.floor(at / scene.nHeads), head: at % scene.nHeads, focus: s });
      });
      overlay.addEventListener("keydown", (event) => {
        const to = moved(event.key, sel.layer, sel.head, scene.nLayers, scene.nHeads);
        if (!to || event.altKey || event.ctrlKey || event.metaKey) return;
        event.preventDefault();
        event.stopPropagation();
        app.update({ layer: to[0], head: to[1], focus: s });
      });
      const top = h("div", { class: "top", "aria-hidden": "true" });
      const left = h("div", { class: "left", "aria-hidden": "true" });
      const frame = h("div", { class: "grid" }, top, left, h("div", { class: "cellbox" }, canvas, overlay));
      const side = h("div", { class: "side" });
      if (app.sides.length > 1) side.append(h("h3", { dir: "auto" }, app.nameOf(scene)));
      side.append(frame);
      body.append(side);
      return { scene, canvas, overlay, cells, frame, top, left, chosen: null };
    });
    draw();
  }

  function drawThumbs(grid, mode, cell, palette) {
    const { scene, canvas } = grid;
    const small = scene.arrays[`${mode.thumbs}_small`];
    const [rows, columns] = small.shape.slice(2);
    const colours = mode.thumbs === "attention" ? palette.attention() : palette.contribution(scene.levels);
    const context = sized(canvas, cell * scene.nHeads, cell * scene.nLayers);
    context.imageSmoothingEnabled = cell < rows;
    const sheet = pixels(small.data, small.data.length / columns, columns, colours);
    for (let at = 0; at < scene.nLayers * scene.nHeads; at++) {
      const [x, y] = [(at % scene.nHeads) * cell + 1, Math.floor(at / scene.nHeads) * cell + 1];
      context.drawImage(sheet, 0, at * rows, columns, rows, x, y, cell - 2, cell - 2);
    }
  }

  /** One scale for both grids where two stand side by side. */
  function largestOf(name) {
    return Math.max(...app.sides.map((scene) => fullAt(gridModes(app, scene).find((mode) => mode.name === name)?.values ?? [], 1)));
  }

  function drawMarks(grid, mode, cell, palette, top) {
    const { scene, canvas } = grid;
    const context = sized(canvas, cell * scene.nHeads, cell * scene.nLayers);
    const two = mode.values.some((v) => v < 0);
    mode.values.forEach((value, at) => {
      const [x, y] = [((at % scene.nHeads) + 0.5) * cell, (Math.floor(at / scene.nHeads) + 0.5) * cell];
      if (Number.isFinite(value)) mark(context, x, y, cell - 5, top ? Math.abs(value) / top : 0, value, palette, two);
      else {
        context.fillStyle = palette.soft;
        context.fillText("×", x - 3, y);
      }
    });
  }

  function draw() {
    const palette = app.palette();
    grids.forEach((grid, s) => {
      const { scene, frame, cells } = grid;
      const modes = gridModes(app, scene);
      const mode = modes.find((one) => one.name === sel.grid) ?? modes[0];
      const width = (body.clientWidth || 480) / (app.sides.length > 1 ? 2 : 1) - 40;
      const cell = Math.max(12, Math.min(64, Math.floor(width / scene.nHeads), Math.max(20, Math.floor(460 / scene.nLayers))));
      frame.style.setProperty("--cell", `${cell}px`);
      const every = cell < 18 ? 4 : cell < 24 ? 2 : 1;
      const ticks = (n) => Array.from({ length: n }, (_, i) => h("span", {}, i % every ? "" : String(i)));
      grid.top.replaceChildren(...ticks(scene.nHeads));
      grid.left.replaceChildren(...ticks(scene.nLayers));
      if (mode.thumbs) drawThumbs(grid, mode, cell, palette);
      else drawMarks(grid, mode, cell, palette, largestOf(mode.name));
      cells.forEach((one, at) => {
        const name = say("head_name", { layer: Math.floor(at / scene.nHeads), head: at % scene.nHeads });
        const important = modes.find((m) => m.name === (mode.thumbs ? "importance" : mode.name));
        const said = `${name}: ${clipped(important.label, 60)} ${important.plain ? number(important.values[at]) : signed(important.values[at])}`;
        one.setAttribute("aria-label", said);
        one.title = said;
      });
      if (s === 0) {
        tools.replaceChildren(choice(say("show"), modes.map((one) => [one.name, clipped(one.label, 60)]), mode.name, (name) => app.update({ grid: name })));
        drawLegend(mode);
        drawStrongest(scene, mode.thumbs ? modes.find((m) => m.name === "importance") : mode);
      }
    });
    select();
  }

  function drawLegend(mode) {
    legend.replaceChildren();
    if (mode.thumbs) legend.append(say(`grid_legend_${mode.thumbs}`));
    else {
      const two = mode.values.some((v) => v < 0);
      const square = (kind) => h("i", { class: `square ${kind}`, "aria-hidden": "true" });
      if (two) legend.append(square("more"), ` ${say("more")} `, square("less"), ` ${say("less")} `);
      else legend.append(square("plain"), ` ${say("area")} `);
      legend.append(say("largest_is", { value: number(largestOf(mode.name)), unit: mode.unit }), " ", say(`about_${mode.name.startsWith("statistic") ? "statistic" : mode.name}`));
    }
  }

  function drawStrongest(scene, mode) {
    const order = [...mode.values.keys()].filter((at) => Number.isFinite(mode.values[at])).sort((a, b) => Math.abs(mode.values[b]) - Math.abs(mode.values[a]));
    strongestList.replaceChildren(...order.slice(0, 8).map((at) => {
      const [layer, head] = [Math.floor(at / scene.nHeads), at % scene.nHeads];
      return h("li", {}, h("button", { type: "button", "data-at": at, onclick: () => app.update({ layer, head }) }, `L${layer}.H${head} `, h("b", {}, mode.plain ? number(mode.values[at]) : signed(mode.values[at]))));
    }));
  }

  function select() {
    grids.forEach((grid, s) => {
      const at = Math.min(sel.layer, grid.scene.nLayers - 1) * grid.scene.nHeads + Math.min(sel.head, grid.scene.nHeads - 1);
      if (grid.chosen !== at) {
        for (const [place, on] of [[grid.chosen, false], [at, true]]) {
          if (place === null) continue;
          grid.cells[place].setAttribute("aria-selected", String(on));
          grid.cells[place].tabIndex = on ? 0 : -1;
        }
        grid.chosen = at;
      }
      for (const cell of grid.overlay.querySelectorAll(".gated")) cell.classList.remove("gated");
      if (s === 0) for (const key of sel.gates.keys()) grid.cells[key]?.classList.add("gated");
      if (sel.focus === s) grid.cells[at].focus({ preventScroll: true });
    });
    sel.focus = null;
    for (const button of strongestList.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.at) === sel.layer * app.sides[0].nHeads + sel.head));
    }
  }

  const element = h("section", { class: "panel heads", "aria-labelledby": heading.id }, h("div", { class: "head" }, heading, tools), body, legend, h("h3", {}, say("strongest_heads")), strongestList);
  return {
    element,
    draw(changed) {
      if (changed.has("scene")) build();
      else if (["target", "grid", "theme", "size"].some((name) => changed.has(name))) draw();
      else if (["layer", "head", "gates"].some((name) => changed.has(name))) select();
    },
  };
}

// ---------------------------------------------------------------------------------------------------------------
// Maps of one head: where it looks (A), and what of it moves the target (A x dA)

const NAMED = 40; // rows and columns that have their names beside them
const LINED = 44; // tokens on each side of a picture of lines
const WINDOW = 128; // queries and keys of a window of a long input
const LINE_HEIGHT = 16;

/** Places of a map's rows or columns as words: a token, or the tokens of a block. */
function placeName(scene, map, axis, at, limit = 24) {
  const [names, first, last, count] = axis === "query" ? [scene.queries, map.q0, map.q1, map.rows] : [scene.tokens, map.k0, map.k1, map.columns];
  const [from, to] = blockRange(at, last - first, count);
  if (to - from <= 1) return quoted(names[first + from], limit);
  return `${number(first + from + 1, 0)}–${number(first + to, 0)}`;
}

/** The row of a map that holds the chosen query, null where none is chosen or it lies outside. */
function rowOf(scene, map, query) {
  if (query < 0 || query >= scene.queries.length || query < map.q0 || query >= map.q1) return null;
  return blockOf(query - map.q0, map.q1 - map.q0, map.rows);
}

const weight = (value) => number(value, value < 0.01 ? 5 : 3); // means over blocks are small
const fullOf = (map, kind) => (kind === "attention" ? map.attentionFull : map.contributionFull);

function drawMatrix(app, scene, map, kind, canvas, width, full) {
  const palette = app.palette();
  const named = map.rows <= NAMED && map.columns <= NAMED && map.grain !== "means" && map.grain !== "largest";
  const context = canvas.getContext("2d");
  const widest = (names) => Math.max(0, ...names.map((name) => context.measureText(clipped(readable(name), 13)).width));
  context.font = FONT;
  const rowNames = named ? scene.queries.slice(map.q0, map.q1) : [number(map.q1, 0)];
  const margin = Math.ceil(widest(rowNames)) + 8;
  const below = named ? Math.ceil(0.87 * widest(scene.tokens.slice(map.k0, map.k1))) + 14 : 20;
  const cell = Math.min((width - margin - 2) / map.columns, 460 / map.rows, 30);
  const [w, t] = [cell * map.columns, cell * map.rows];
  sized(canvas, width, t + below);
  const reach = Math.sqrt(Math.min(1, fullOf(map, kind) / full));
  const colours = kind === "attention" ? palette.attention(reach) : palette.contribution(map.levels, reach);
  context.imageSmoothingEnabled = cell < 1;
  context.drawImage(pixels(map[kind], map.rows, map.columns, colours), margin, 1, w, t);
  context.strokeStyle = palette.rule;
  context.lineWidth = 1;
  context.strokeRect(margin - 0.5, 0.5, w + 1, t + 1);
  const row = rowOf(scene, map, app.sel.query);
  const column = app.sel.key >= map.k0 && app.sel.key < map.k1 ? blockOf(app.sel.key - map.k0, map.k1 - map.k0, map.columns) : null;
  context.fillStyle = palette.soft;
  if (named) {
    const every = Math.max(1, Math.ceil(9 / cell));
    context.textAlign = "right";
    for (let i = 0; i < map.rows; i++) {
      if (i % every && i !== row) continue;
      context.fillStyle = i === row ? palette.accent : palette.soft;
      context.fillText(clipped(readable(scene.queries[map.q0 + i]), 13), margin - 5, 1 + (i + 0.5) * cell);
    }
    for (let i = 0; i < map.columns; i++) {
      if (i % every) continue;
      context.save();
      context.translate(margin + (i + 0.5) * cell, t + 7);
      context.rotate(-Math.PI / 3);
      context.fillStyle = i === column ? palette.accent : palette.soft;
      context.fillText(clipped(readable(scene.tokens[map.k0 + i]), 13), 0, 0);
      context.restore();
    }
  } else {
    const ticks = [0, 0.5, 1];
    context.textAlign = "right";
    ticks.forEach((share) => context.fillText(number(map.q0 + share * (map.q1 - map.q0), 0), margin - 5, Math.max(6, Math.min(t - 5, share * t))));
    ticks.forEach((share) => {
      context.textAlign = ["left", "center", "right"][2 * share];
      context.fillText(number(map.k0 + share * (map.k1 - map.k0), 0), margin + share * w, t + 11);
    });
  }
  context.strokeStyle = palette.accent;
  context.lineWidth = 2;
  if (row !== null) context.strokeRect(margin - 1, 1 + row * cell - 1, w + 2, Math.max(3, cell + 2));
  if (column !== null) context.strokeRect(margin + column * cell - 1, 0, Math.max(3, cell + 2), t + 2);
  return (x, y) => {
    const [r, c] = [Math.floor((y - 1) / cell), Math.floor((x - margin) / cell)];
    return r >= 0 && r < map.rows && c >= 0 && c < map.columns ? { row: r, column: c } : null;
  };
}

/** Which rows and columns a picture of lines shows: all of a short example, else those that matter to the choice. */
function linedUp(map, kind, row) {
  const all = (n) => Array.from({ length: n }, (_, i) => i);
  const centre = row ?? Math.floor((strongest(map, kind, null, 1)[0]?.row ?? 0));
  const rows = map.rows <= LINED ? all(map.rows) : all(map.rows).slice(...windowAt(centre, LINED, map.rows));
  if (map.columns <= LINED) return { rows, columns: all(map.columns) };
  if (row === null) return { rows, columns: all(map.columns).slice(...windowAt(centre, LINED, map.columns)) };
  const best = strongest(map, kind, row, LINED).map((cell) => cell.column);
  return { rows, columns: (best.length ? best : all(LINED)).sort((a, b) => a - b) };
}

function drawLines(app, scene, map, kind, canvas, width, full) {
  const palette = app.palette();
  const row = rowOf(scene, map, app.sel.query);
  const { rows, columns } = linedUp(map, kind, row);
  const height = LINE_HEIGHT * Math.max(rows.length, columns.length) + 8;
  const context = sized(canvas, width, height);
  const [left, right] = [width * 0.36, width * 0.64];
  const yOf = (places) => new Map(places.map((place, i) => [place, 4 + (i + 0.5) * LINE_HEIGHT]));
  const [yRow, yColumn] = [yOf(rows), yOf(columns)];
  const cells = row === null ? strongest(map, kind, null, 240) : strongest(map, kind, row, LINED);
  const top = app.sides.length > 1 ? full : Math.max(1e-30, Math.abs(cells[0]?.value ?? 0)); // two share one scale
  for (const { row: r, column: c, value } of cells.reverse()) {
    if (!yRow.has(r) || !yColumn.has(c)) continue;
    const share = Math.min(1, Math.abs(value) / top);
    context.globalAlpha = 0.12 + 0.88 * share;
    context.strokeStyle = kind === "attention" ? palette.ink : value < 0 ? palette.against : palette.for;
    context.lineWidth = 0.6 + 2.6 * share;
    context.setLineDash(value < 0 ? [2, 3] : []);
    context.beginPath();
    context.moveTo(left, yRow.get(r));
    const bend = (right - left) / 2;
    context.bezierCurveTo(left + bend, yRow.get(r), right - bend, yColumn.get(c), right, yColumn.get(c));
    context.stroke();
  }
  context.globalAlpha = 1;
  context.setLineDash([]);
  const weights = row === null ? null : new Map(cells.map((cell) => [cell.column, cell.value]));
  for (const [places, axis, x, align] of [[yRow, "query", left - 6, "right"], [yColumn, "key", right + 6, "left"]]) {
    context.textAlign = align;
    for (const [place, y] of places) {
      const on = axis === "query" && place === row;
      if (on) {
        context.fillStyle = palette.faint;
        context.fillRect(0, y - 8, left, LINE_HEIGHT);
      }
      context.fillStyle = on ? palette.accent : axis === "key" && weights?.has(place) ? palette.ink : palette.soft;
      context.fillText(placeName(scene, map, axis, place, 18), x, y, width * 0.34);
    }
  }
  return (x, y) => {
    const i = Math.floor((y - 4) / LINE_HEIGHT);
    if (x < width / 2) return rows[i] === undefined ? null : { row: rows[i], column: null };
    return columns[i] === undefined ? null : { row, column: columns[i] };
  };
}

function mapPanel(app) {
  const { say, sel } = app;
  const heading = h("h2", { id: `${app.uid}-map` });
  const tools = h("div", { class: "tools" });
  const about = h("dl", { class: "about" });
  const body = h("div", { class: "maps" });
  const note = h("p", { class: "note", role: "status" });
  let figures = [];

  function figure(scene, kind, label) {
    const canvas = h("canvas", { tabindex: "0", role: "application", "aria-roledescription": say("map") });
    const readout = h("p", { class: "readout" });
    const caption = h("figcaption", {}, h("b", {}, label), " ", h("span", {}, say(`caption_${kind}`)));
    const list = h("ol", { class: "pairs" });
    const made = { scene, kind, canvas, readout, list, hit: null, map: null, title: h("p", { class: "listed" }), scale: h("p", { class: "scale" }) };
    made.element = h("figure", {}, caption, h("div", { class: "canvasbox" }, canvas), made.scale, readout, made.title, list);
    const tell = (place) => {
      const map = made.map;
      if (!place || !map) return readout.replaceChildren("\u00a0");
      if (place.column === null || place.row === null) return readout.replaceChildren(placeName(scene, map, place.column === null ? "query" : "key", place.column ?? place.row, 60));
      const value = valueOf(map, kind, place.row * map.columns + place.column);
      const names = { query: placeName(scene, map, "query", place.row, 40), key: placeName(scene, map, "key", place.column, 40) };
      return readout.replaceChildren(say(map.grain === "largest" ? "cell_largest" : map.grain === "means" ? "cell_means" : "cell", { ...names, value: kind === "attention" ? number(value, 4) : signed(value, 4) }));
    };
    canvas.addEventListener("pointermove", (event) => tell(made.hit?.(event.offsetX, event.offsetY)));
    canvas.addEventListener("pointerleave", () => tell(null));
    canvas.addEventListener("click", (event) => {
      const place = made.hit?.(event.offsetX, event.offsetY);
      if (!place) return;
      const { map } = made;
      const query = place.row === null ? sel.query : map.q0 + blockRange(place.row, map.q1 - map.q0, map.rows)[0];
      const key = place.column === null ? sel.key : map.k0 + blockRange(place.column, map.k1 - map.k0, map.columns)[0];
      if (map.grain === "means") app.update({ query, key, window: windowOver(scene, query, key) });
      else app.update({ query: query === sel.query && sel.view === "lines" && place.column === null ? -1 : query, key: sel.view === "lines" ? sel.key : key });
      tell(place);
    });
    canvas.addEventListener("keydown", (event) => {
      const { map } = made;
      if (!map || event.altKey || event.ctrlKey || event.metaKey) return;
      if (event.key === "Enter" && map.grain === "means") app.update({ window: windowOver(scene, Math.max(0, sel.query), Math.max(0, sel.key)) });
      else if (event.key === "Escape") app.update(sel.window ? { window: null } : { query: -1, key: -1 });
      else {
        const [row, column] = [rowOf(scene, map, sel.query) ?? 0, Math.max(0, blockOf(Math.max(0, sel.key - map.k0), map.k1 - map.k0, map.columns))];
        const to = moved(event.key, row, column, map.rows, map.columns);
        if (!to) return;
        app.update({ query: map.q0 + blockRange(to[0], map.q1 - map.q0, map.rows)[0], key: map.k0 + blockRange(to[1], map.k1 - map.k0, map.columns)[0] });
        tell({ row: to[0], column: to[1] });
      }
      event.preventDefault();
      event.stopPropagation();
    });
    return made;
  }

  function windowOver(scene, query, key) {
    return [...windowAt(query, WINDOW, scene.queries.length), ...windowAt(key, WINDOW, scene.tokens.length)];
  }

  function build() {
    figures = app.sides.flatMap((scene) => ["attention", "contribution"].map((kind) => figure(scene, kind, say(`label_${kind}`))));
    body.replaceChildren();
    app.sides.forEach((scene, s) => {
      if (app.sides.length > 1) body.append(h("h3", { dir: "auto" }, app.nameOf(scene)));
      body.append(h("div", { class: "twomaps" }, figures[2 * s].element, figures[2 * s + 1].element));
    });
  }

  /** Lists the strongest cells: of the chosen query's row, else of the whole map. */
  function drawList(one, map, row) {
    const { scene, kind, list, title } = one;
    const cells = map[kind] ? strongest(map, kind, row, 5) : [];
    title.textContent = say(row === null ? `pairs_${kind}` : `row_${kind}`, { query: row === null ? "" : placeName(scene, map, "query", row) });
    list.replaceChildren(...cells.map((cell) => {
      const key = placeName(scene, map, "key", cell.column);
      const pair = row === null ? `${placeName(scene, map, "query", cell.row, 16)} → ${key}` : key;
      return h("li", {}, h("span", {}, pair), " ", h("b", {}, kind === "attention" ? weight(cell.value) : signed(cell.value, 4)));
    }));
    const best = cells.slice(0, 3).map((c) => say("said_cell", { query: placeName(scene, map, "query", c.row), key: placeName(scene, map, "key", c.column), value: kind === "attention" ? weight(c.value) : signed(c.value, 4) }));
    one.canvas.setAttribute("aria-label", say(`map_alt_${kind}`, { head: app.headName(), rows: map.rows, columns: map.columns, best: best.join("; ") || say("nothing") }));
  }

  function draw() {
    const scene = app.sides[0];
    heading.textContent = app.headName();
    about.replaceChildren(...app.headFacts(scene).map(([name, value, rank]) => h("div", {}, h("dt", { dir: "auto" }, clipped(name, 80)), h("dd", {}, h("b", {}, value), rank ? ` ${rank}` : ""))));
    const views = [["matrix", say("view_matrix")], ["lines", say("view_lines")]];
    tools.replaceChildren(segments(say("view"), views, sel.view, (view) => app.update({ view })));
    const notes = new Set();
    for (const one of figures) {
      const own = one.scene;
      const [layer, head] = [Math.min(sel.layer, own.nLayers - 1), Math.min(sel.head, own.nHeads - 1)];
      const window = sel.window && sel.window[1] <= own.queries.length && sel.window[3] <= own.tokens.length ? sel.window : null;
      let map = mapOf(own, layer, head, window);
      if (!map || (map.grain !== "whole" && map.grain !== "window")) want(own, layer, head, window, notes);
      map ??= mapOf(own, layer, head, null);
      one.map = map?.[one.kind] ? map : null;
      one.canvas.hidden = !one.map;
      if (!map) continue;
      if (map.grain === "means") notes.add(say(app.state.live ? "note_means" : "note_means_page", { block: Math.round((map.q1 - map.q0) / map.rows) }));
      if (map.grain === "largest") notes.add(say(app.state.live ? "note_loading" : "note_largest", { size: map.rows }));
      if (one.kind === "contribution" && sel.target > 0) notes.add(say("note_target", { target: clipped(readable(own.targets[0]), 60) }));
      if (!one.map) {
        one.title.textContent = say(map.grain === "means" && app.state.live ? "contribution_in_window" : "no_contribution");
        one.list.replaceChildren();
        one.scale.replaceChildren();
        continue;
      }
    }
    for (const one of figures) {
      if (!one.map) continue;
      const { map, kind, scene: own } = one;
      const full = Math.max(1e-30, ...figures.filter((other) => other.kind === kind && other.map).map((other) => fullOf(other.map, kind)));
      const width = Math.max(180, Math.floor(one.element.clientWidth || 300));
      one.hit = (sel.view === "lines" ? drawLines : drawMatrix)(app, own, map, kind, one.canvas, width, full);
      one.scale.replaceChildren(kind === "attention" ? "0" : signed(-full), h("i", { class: `ramp ${kind}`, "aria-hidden": "true" }), kind === "attention" ? weight(full) : signed(full), h("span", {}, say(app.sides.length > 1 ? "scale_two" : "scale")));
      one.readout.replaceChildren("\u00a0");
      drawList(one, map, rowOf(own, map, sel.query));
    }
    if (sel.window) {
      const [q0, q1, k0, k1] = sel.window.map((v) => number(v, 0));
      notes.add(say("note_window", { q0: number(sel.window[0] + 1, 0), q1, k0: number(sel.window[2] + 1, 0), k1, from: q0, to: k0 }));
      tools.prepend(h("button", { type: "button", onclick: () => app.update({ window: null }) }, say("back")));
    } else if (app.state.live && scene.detail && mapOf(scene, 0, 0, null)?.grain === "means") {
      tools.prepend(h("button", { type: "button", onclick: () => app.update({ window: windowOver(scene, Math.max(0, sel.query), Math.max(0, sel.key < 0 ? sel.query : sel.key)) }) }, say("open_window")));
    }
    note.textContent = [...notes].join(" ");
  }

  function want(scene, layer, head, window, notes) {
    if (!app.state.live || !scene.detail) return;
    if (!window && scene.queries.length * scene.tokens.length > AT_ONCE) return;
    fetchMap(app.ask, scene, layer, head, window).then((came) => { if (came) app.draw(new Set(["maps"])); }, (error) => app.fail(error));
    notes.add(say("note_asked"));
  }

  const element = h("section", { class: "panel map", "aria-labelledby": heading.id }, h("div", { class: "head" }, heading, tools), about, body, note);
  return {
    element,
    draw(changed) {
      if (changed.has("scene")) build();
      if (["scene", "layer", "head", "query", "key", "view", "window", "target", "theme", "size", "maps"].some((name) => changed.has(name))) draw();
    },
  };
}

// ---------------------------------------------------------------------------------------------------------------
// Gates: the model run again with some heads scaled

const FACTORS = [0, 0.5, 1, 2];

function gatePanel(app) {
  const { say, sel, state } = app;
  const heading = h("h2", { id: `${app.uid}-gates` }, say("gates"));
  const buttons = h("div", { class: "tools" });
  const chips = h("ul", { class: "chips" });
  const answer = h("div", { class: "answer", "aria-live": "polite" });
  const why = h("p", { class: "soft", id: `${app.uid}-why` });
  let asked = 0;

  /** What this page can answer without a model: one head closed, computed when the page was written. */
  function foretold(scene) {
    const { layer, head } = sel;
    const at = layer * scene.nHeads + head;
    const value = scene.arrays.closings?.data[at];
    const gap = state.gap?.closings?.[layer]?.[head] ?? null;
    return value === undefined && gap === null ? null : { at, value: value ?? null, gap };
  }

  function draw() {
    const scene = app.sides[0];
    const at = sel.layer * scene.nHeads + sel.head;
    const known = foretold(scene);
    const now = sel.gates.get(at) ?? 1;
    const refuse = (factor) => (state.runs || factor === 1 || (factor === 0 && known) ? null : say(known ? "gate_page" : "gate_none"));
    buttons.replaceChildren(
      h("span", {}, app.headName()),
      segments(say("gate_of", { head: app.headName() }), FACTORS.map((factor) => [factor, say(`factor_${factor}`.replace(".", "_")), refuse(factor)]), now, (factor) => app.gate(at, factor)),
      h("button", { type: "button", onclick: () => app.openAll(), "aria-disabled": sel.gates.size ? null : "true" }, say("open_all")),
    );
    why.textContent = say(state.runs ? "gate_live" : known ? "gate_page" : "gate_none");
    chips.replaceChildren(...[...sel.gates].map(([key, factor]) => {
      const name = `L${Math.floor(key / scene.nHeads)}.H${key % scene.nHeads} × ${factor}`;
      return h("li", {}, h("button", { type: "button", "aria-label": say("remove_gate", { name }), onclick: () => app.gate(key, 1) }, name, h("span", { "aria-hidden": "true" }, " ✕")));
    }));
  }

  function tell(scene, values, gap) {
    const row = (name, before, after, more, unit) => {
      const change = after - before;
      return h("tr", {}, h("th", { scope: "row", dir: "auto" }, name), h("td", {}, number(before)), h("td", {}, number(after)),
        h("td", { class: change < 0 ? "less" : "more" }, `${change < 0 ? "▼" : change > 0 ? "▲" : ""} ${signed(change)}${unit ? ` ${unit}` : ""}`), h("td", {}, more));
    };
    const rows = values.flatMap((value, t) => (value === null ? [] : [row(clipped(readable(scene.targets[t]), 60), scene.value[t], value, "", scene.unit)]));
    if (gap !== null && state.gap) rows.push(row(state.gap.words, state.gap.estimate, gap, say("gap_before", { low: number(state.gap.low), high: number(state.gap.high), n: number(state.gap.n, 0) }), ""));
    const head = ["quantity", "all_open", "gated", "change", "before"].map((name) => h("th", { scope: "col" }, say(name)));
    answer.replaceChildren(h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": say("gates_answer") }, h("table", {}, h("caption", { class: "unseen" }, say("gates_answer")), h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows.slice(0, 12)))));
  }

  async function run() {
    const scene = app.sides[0];
    const question = ++asked;
    if (!sel.gates.size) return answer.replaceChildren(h("p", { class: "soft" }, say("no_gate")));
    if (!state.runs) {
      const known = foretold(scene);
      return tell(scene, [known.value], known.gap);
    }
    answer.replaceChildren(h("p", { class: "soft" }, say("running")));
    const gates = [...sel.gates].map(([key, factor]) => [Math.floor(key / scene.nHeads), key % scene.nHeads, factor]);
    try {
      const { value, gap } = await app.ask("rerun", { place: scene.place, gates });
      if (question === asked) tell(scene, value, gap);
    } catch (error) {
      if (question === asked) answer.replaceChildren(h("p", { class: "error" }, String(error.message)));
    }
    return undefined;
  }

  const element = h("section", { class: "panel gates", "aria-labelledby": heading.id }, h("div", { class: "head" }, heading), buttons, chips, answer, why);
  return {
    element,
    draw(changed) {
      if (["scene", "layer", "head", "gates"].some((name) => changed.has(name))) draw();
      if (changed.has("gates") || changed.has("scene")) run();
    },
  };
}
