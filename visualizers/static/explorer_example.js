// The panel of an example: text, table, picture or series, shaded by what each token adds or by where a head looks.
// One of the files that visualizers/offline_page.py joins, in its order, into the explorer's one module.

// ---------------------------------------------------------------------------------------------------------------
// Examples: text, tables, pictures, series

const LONG = 400; // tokens from which on a text is shown through a window
const SHOWN = 240;
// Between isolates, so that a word written from right to left turns nothing but itself.
const quoted = (text, limit) => `‘\u2068${clipped(readable(text), limit)}\u2069’`;

/** What tokens are shaded by: scores of the target, or a row of the chosen head's maps. */
function shadingOf(app, scene, shade = app.sel.shade) {
  const { sel } = app;
  const n = scene.tokens.length;
  const target = Math.min(sel.target, scene.targets.length - 1);
  const baseline = Math.min(sel.baseline, scene.baselines.length - 1);
  const at = (target * scene.baselines.length + baseline) * n;
  const scores = scene.arrays.scores.data.subarray(at, at + n);
  const map = shade !== "scores" && sel.query >= 0 ? mapOf(scene, Math.min(sel.layer, scene.nLayers - 1), Math.min(sel.head, scene.nHeads - 1), null) : null;
  if (!map || !map[shade]) return { kind: "scores", values: scores, full: fullAt(scores), unit: scene.unit };
  const row = blockOf(Math.min(sel.query, scene.queries.length - 1), scene.queries.length, map.rows);
  const values = new Float32Array(n);
  for (let i = 0; i < n; i++) values[i] = valueOf(map, shade, row * map.columns + blockOf(i, n, map.columns));
  const full = shade === "attention" ? Math.max(...bins(values, 200).map((bin) => bin.high)) : fullAt(values, 1);
  return { kind: shade, values, full, unit: shade === "attention" ? "" : scene.unit };
}

/** The item that lies nearest in a direction: lines of text and patches of a picture have no fixed columns. */
function nearest(items, current, key) {
  const here = items[current].element.getBoundingClientRect();
  const down = key === "ArrowDown" ? 1 : -1;
  let [best, least] = [current, Infinity];
  items.forEach(({ element }, i) => {
    const box = element.getBoundingClientRect();
    const rise = down * (box.top + box.height / 2 - here.top - here.height / 2);
    const cost = 4 * rise + Math.abs(box.left + box.width / 2 - here.left - here.width / 2);
    if (rise > here.height / 2 && box.width && cost < least) [best, least] = [i, cost];
  });
  return best;
}

/** Tokens of one example along one axis as a list of options; `paint` shades, `select` marks the chosen one. */
function tokenList(app, scene, axis, label, shade) {
  const { say, sel } = app;
  const keys = axis === "key" || scene.self;
  const names = keys ? scene.tokens : scene.queries;
  const chosenName = axis === "key" && !scene.self ? "key" : "query";
  const box = h("div", { class: `tokens ${keys ? scene.kind : "text"}`, role: "listbox", tabindex: "0", "aria-label": `${label}${overPicture(app, scene, keys)}` });
  const wrap = h("div", { class: "tokenbox" });
  let items = [];
  let from = 0;
  let shading = null;
  const isLong = names.length > LONG;
  const profile = isLong ? h("canvas", { class: "profile", "aria-hidden": "true" }) : null;
  const slider = isLong && h("input", {
    type: "range", min: 0, max: names.length - SHOWN, step: 1, value: 0, "aria-label": say("window_slider", { shown: SHOWN, n: names.length }),
    oninput: () => { from = Number(slider.value); build(); paint(); select(); },
  });
  const place = isLong && h("p", { class: "soft" });

  function grouping() {
    const words = keys ? scene.words : names.map((_, i) => i);
    const values = shading?.values ?? new Float32Array(names.length);
    const whole = sel.words && keys && scene.kind === "text";
    if (!isLong) return grouped(names, words, values, whole);
    const part = [names.slice(from, from + SHOWN), words.slice(from, from + SHOWN), values.subarray(from, from + SHOWN)];
    return grouped(...part, whole).map((item) => ({ ...item, first: item.first + from, last: item.last + from }));
  }

  function build() {
    items = grouping();
    items.forEach((item, i) => {
      item.element = h("span", { class: "token", role: "option", id: `${app.uid}-${scene.place}-${axis}-${shade ?? ""}-${i}`, "data-i": i });
      if (keys && scene.kind === "table") {
        const value = scene.values[item.first] ?? "";
        item.bar = h("i", { class: "bar" });
        item.said = h("b", {});
        item.element.append(h("span", { dir: "auto" }, clipped(readable(item.text), 60)),
          h("span", { class: "value", dir: "auto" }, value === "" ? "" : clipped(readable(value), 40)), h("span", { class: "track" }, item.bar), item.said);
      } else if (keys && (scene.kind === "image" || scene.kind === "series")) {
        const [left, top, right, bottom] = scene.picture?.boxes[item.first] ?? [0, 0, 0, 0];
        if (right > left) {
          item.element.classList.add("patch");
          item.element.style.cssText = `left:${100 * left}%;top:${100 * top}%;width:${100 * (right - left)}%;height:${100 * (bottom - top)}%`;
        } else item.element.append(clipped(readable(item.text)));
      } else item.element.append(h("bdi", { dir: "auto" }, clipped(readable(item.text), 48)));
    });
    const patches = items.filter((item) => item.element.classList.contains("patch")).map((item) => item.element);
    const rest = items.filter((item) => !item.element.classList.contains("patch")).map((item) => item.element);
    box.replaceChildren();
    if (patches.length) box.append(h("div", { class: `stage ${scene.kind}`, role: "presentation" }, pictureOf(app, scene), ...patches));
    if (patches.length && rest.length) box.append(h("div", { class: "rest", role: "presentation" }, ...rest));
    else box.append(...rest);
    if (isLong) place.textContent = say("window_place", { first: number(from + 1, 0), last: number(Math.min(names.length, from + SHOWN), 0), n: number(names.length, 0) });
  }

  function paint() {
    shading = keys ? shadingOf(app, scene, shade) : null;
    if (shade && shading.kind !== shade) shading.values = new Float32Array(names.length); // nothing until a token is chosen
    const fresh = grouping();
    const full = shading ? (fresh.length < names.length && !isLong ? fullAt(fresh.map((item) => item.value)) : shading.full) : 0;
    items.forEach((item, i) => {
      item.value = fresh[i].value;
      const step = shading ? stepOf(item.value, full) : 0;
      item.element.dataset.step = step;
      item.element.dataset.sign = !step ? "0" : shading.kind === "attention" ? "w" : item.value < 0 ? "-" : "+";
      const value = keys && scene.values[item.first] ? ` ${readable(scene.values[item.first])}` : "";
      const amount = shading ? (shading.kind === "attention" ? number(item.value) : signed(item.value)) : "";
      item.element.setAttribute("aria-label", `${clipped(readable(item.text), 80)}${value}${amount ? `, ${amount}` : ""}`);
      item.element.title = `${clipped(readable(item.text), 200)}${value} ${amount} ${shading?.unit ?? ""}`.trim();
      if (item.bar) {
        const share = full > 0 ? Math.min(1, Math.abs(item.value) / full) * 50 : 0;
        item.bar.style.cssText = item.value < 0 ? `right:50%;width:${share}%` : `left:50%;width:${share}%`;
        item.said.textContent = amount;
      }
    });
    if (isLong) drawProfile();
  }

  function drawProfile() {
    const width = Math.max(200, wrap.clientWidth || 600);
    const context = sized(profile, width, 46);
    const palette = app.palette();
    const values = shading?.values ?? [];
    const drawn = bins(values, Math.floor(width / 2));
    const top = Math.max(1e-30, ...drawn.map((bin) => Math.max(bin.high, -bin.low)));
    drawn.forEach(({ low, high }, i) => {
      context.fillStyle = shading.kind === "attention" ? palette.ink : palette.for;
      context.fillRect(2 * i, 23 - (21 * high) / top, 1.6, (21 * high) / top);
      context.fillStyle = palette.against;
      context.fillRect(2 * i, 23, 1.6, (-21 * low) / top);
    });
    context.strokeStyle = palette.accent;
    context.lineWidth = 2;
    context.strokeRect((from / names.length) * width + 1, 1, Math.max(4, (SHOWN / names.length) * width), 44);
  }

  function select() {
    const chosen = sel[chosenName];
    if (isLong && chosen >= 0 && (chosen < from || chosen >= from + SHOWN)) {
      [from] = windowAt(chosen, SHOWN, names.length);
      slider.value = from;
      build();
      paint();
    }
    let active = null;
    for (const item of items) {
      const on = chosen >= item.first && chosen <= item.last;
      item.element.setAttribute("aria-selected", String(on));
      if (on) active = item.element;
    }
    if (active) box.setAttribute("aria-activedescendant", active.id);
    else box.removeAttribute("aria-activedescendant");
    if (active && document.activeElement === box && !active.classList.contains("patch")) active.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  box.addEventListener("click", (event) => {
    const hit = event.target.closest?.("[data-i]");
    if (!hit) return;
    const { first, last } = items[Number(hit.dataset.i)];
    app.update({ [chosenName]: sel[chosenName] >= first && sel[chosenName] <= last ? -1 : first });
  });
  box.addEventListener("keydown", (event) => {
    const now = items.findIndex((item) => sel[chosenName] >= item.first && sel[chosenName] <= item.last);
    let next = null;
    if (event.key === "Escape" && sel[chosenName] >= 0) app.update({ [chosenName]: -1 });
    else if (event.key === "ArrowRight") next = now + 1;
    else if (event.key === "ArrowLeft") next = now < 0 ? 0 : now - 1;
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") next = now < 0 ? 0 : nearest(items, now, event.key);
    else if (event.key === "Home") next = isLong ? -Infinity : 0;
    else if (event.key === "End") next = isLong ? Infinity : items.length - 1;
    else return;
    event.preventDefault();
    event.stopPropagation();
    if (next === null) return;
    const limit = names.length - 1;
    if (next === -Infinity) app.update({ [chosenName]: 0 });
    else if (next === Infinity) app.update({ [chosenName]: limit });
    else if (next >= items.length) app.update({ [chosenName]: Math.min(limit, items[items.length - 1].last + (isLong ? 1 : 0)) });
    else if (next < 0) app.update({ [chosenName]: Math.max(0, items[0].first - 1) });
    else app.update({ [chosenName]: items[next].first });
  });
  profile?.addEventListener("click", (event) => {
    const share = event.offsetX / profile.clientWidth;
    [from] = windowAt(Math.floor(share * names.length), SHOWN, names.length);
    slider.value = from;
    build();
    paint();
    select();
  });
  if (isLong) wrap.append(profile, slider, place);
  wrap.append(box);
  build();
  return { element: wrap, paint, select, rebuild() { build(); paint(); select(); } };
}

const DASHES = ["", "7 3", "2 3", "9 3 2 3"];

/** What the tokens stand on, in words. */
function overPicture(app, scene, keys) {
  if (!keys || !scene.picture) return "";
  const { png, series, channels } = scene.picture;
  if (png) return `, ${app.say("picture_alt", { id: scene.id })}`;
  return `, ${app.say("series_alt", { n: series.length, channels: channels.slice(0, 8).map((name) => clipped(readable(name))).join(", ") })}`;
}

/** The picture under the patches, or the curves under the windows of a series. */
function pictureOf(app, scene) {
  const { png, series, channels } = scene.picture;
  if (png) return h("img", { src: png, alt: "" }); // the list around it says what it is
  const count = Math.min(8, channels.length);
  const figure = svg("svg", { viewBox: `0 0 1000 ${60 * count}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  for (let c = 0; c < count; c++) {
    const values = series.map((row) => row[c]).map((v) => (Number.isFinite(v) ? v : null));
    const known = values.filter((v) => v !== null);
    const [low, high] = [known.reduce((a, b) => Math.min(a, b), Infinity), known.reduce((a, b) => Math.max(a, b), -Infinity)];
    const path = values.map((v, i) => v === null ? "" : `${i && values[i - 1] !== null ? "L" : "M"}${(1000 * (i + 0.5)) / values.length} ${60 * c + 55 - (50 * (v - low)) / (high - low || 1)}`).join("");
    figure.append(svg("path", { d: path || "M0 0", class: "curve", "stroke-dasharray": DASHES[c % 4] }));
  }
  const names = h("ul", { class: "channels", "aria-hidden": "true" }, ...channels.slice(0, count).map((name) => h("li", { dir: "auto" }, clipped(readable(name), 20))));
  return h("div", { class: "curves", style: `height:${52 * count}px`, role: "presentation" }, figure, names);
}

/** The example (or two of them) with what each token adds, its facts, and the sum that the scores have to reach. */
function examplePanel(app) {
  const { say, sel } = app;
  const body = h("div", { class: "sides" });
  const heading = h("h2", { id: `${app.uid}-example` });
  const tools = h("div", { class: "tools" });
  const legend = h("p", { class: "legend" });
  let lists = [];

  function facts(scene) {
    const list = h("ul", { class: "facts" });
    const wrong = scene.wrong === null ? null : h("li", { class: scene.wrong ? "bad" : "" }, scene.wrong ? say("wrong") : say("right"));
    for (const [name, value] of Object.entries(scene.facts)) {
      list.append(h("li", {}, h("span", { dir: "auto" }, clipped(readable(name), 40)), " ", h("b", { dir: "auto" }, value === null ? say("unknown") : clipped(readable(value), 60))));
    }
    if (wrong) list.append(wrong);
    return list;
  }

  function equation(scene) {
    const t = Math.min(sel.target, scene.targets.length - 1);
    const b = Math.min(sel.baseline, scene.baselines.length - 1);
    const n = scene.tokens.length;
    const from = (t * scene.baselines.length + b) * n;
    const sum = scene.arrays.scores.data.subarray(from, from + n).reduce((x, y) => x + y, 0);
    return h("p", { class: "equation" }, say("equation", {
      value: signed(scene.value[t]), base: signed(scene.base_value[t][b]), sum: signed(sum), residual: signed(scene.residual[t][b]), unit: scene.unit,
    }));
  }

  function chosen(scene) {
    const at = scene.self ? sel.query : sel.key;
    if (at < 0 || at >= scene.tokens.length) return say("choose_token");
    const { values, kind, unit } = shadingOf(app, scene);
    const amount = kind === "attention" ? number(values[at]) : signed(values[at]);
    return say(`token_${kind}`, { token: quoted(scene.tokens[at], 400), place: number(at + 1, 0), n: number(scene.tokens.length, 0), amount, unit });
  }

  function build() {
    lists = [];
    body.replaceChildren();
    body.classList.toggle("two", app.sides.length > 1);
    app.sides.forEach((scene) => {
      const name = app.nameOf(scene);
      const side = h("div", { class: "side" });
      if (app.sides.length > 1) side.append(h("h3", { dir: "auto" }, name));
      const thrice = scene.kind === "image" && app.sides.length === 1 ? ["scores", "attention", "contribution"] : [undefined];
      const mains = thrice.map((shade) => tokenList(app, scene, "key", `${say("tokens_of", { id: name })}${shade ? `, ${say(`shade_${shade}`)}` : ""}`, shade));
      const line = h("p", { class: "chosen" });
      const sum = h("div");
      const pictures = mains.map((main, i) => (thrice[i] ? h("figure", {}, h("figcaption", {}, h("span", {}, say(`shade_${thrice[i]}`))), main.element) : main.element));
      side.append(facts(scene), h("div", { class: thrice.length > 1 ? "pictures" : "" }, ...pictures));
      mains.forEach((list, i) => lists.push({ scene, list, line: i ? null : line, sum: i ? null : sum, always: thrice.length > 1 }));
      if (!scene.self) {
        const second = tokenList(app, scene, "query", say("queries_of", { id: name }));
        side.append(h("h3", {}, say("queries_heading")), second.element);
        lists.push({ scene, list: second, line: null, sum: null, always: false });
      }
      side.append(line, sum);
      body.append(side);
    });
    paint();
    select();
  }

  function toolbar() {
    const scene = app.sides[0];
    const hasWords = scene.kind === "text" && scene.words.some((word, i) => i > 0 && word >= 0 && word === scene.words[i - 1]);
    const hint = sel.query < 0 ? say("shade_needs_token") : null;
    tools.replaceChildren(
      ...(lists.some((list) => list.always) ? [] : [choice(say("shade_by"), [["scores", say("shade_scores")], ["attention", say("shade_attention")], ["contribution", say("shade_contribution")]], sel.shade, (shade) => app.update({ shade }))]),
      ...(hasWords ? [segments(say("level"), [[true, say("words")], [false, say("tokens")]], sel.words, (words) => app.update({ words }))] : []),
    );
    if (sel.shade !== "scores" && hint) tools.append(h("span", { class: "soft" }, hint));
  }

  function paint() {
    const scene = app.sides[0];
    const { kind, full, unit } = shadingOf(app, scene);
    heading.textContent = say(kind === "scores" ? `heading_scores_${scene.kind}` : `heading_${kind}`, { target: clipped(readable(scene.targets[Math.min(sel.target, scene.targets.length - 1)]), 60), head: app.headName() });
    toolbar();
    const swatch = (step, sign, text) => [h("span", { class: "token swatch", "data-step": step, "data-sign": sign }, text), " "];
    const weights = lists.some((list) => list.always) ? [h("span", { class: "swatch seen" }, say("legend_weight")), " "] : [];
    legend.replaceChildren(...weights, ...(kind === "attention" ? swatch(4, "w", say("legend_weight")) : [...swatch(4, "+", say("legend_for")), ...swatch(4, "-", say("legend_against"))]), say("legend_full", { full: number(full), unit }));
    for (const { list, scene: own, sum } of lists) {
      list.paint();
      sum?.replaceChildren(equation(own));
    }
  }

  function select() {
    for (const { list, line, scene } of lists) {
      list.select();
      if (line) line.textContent = chosen(scene);
    }
  }

  const element = h("section", { class: "panel example", "aria-labelledby": heading.id }, h("div", { class: "head" }, heading, tools), legend, body);
  return {
    element,
    draw(changed) {
      if (changed.has("scene") || changed.has("words")) return build();
      const head = changed.has("layer") || changed.has("head") || changed.has("maps") || changed.has("query");
      if (["target", "baseline", "shade", "theme", "size"].some((name) => changed.has(name)) || ((sel.shade !== "scores" || lists.some((list) => list.always)) && head)) paint();
      if (head || changed.has("key") || changed.has("target") || changed.has("shade") || changed.has("baseline")) select();
      return undefined;
    },
  };
}
