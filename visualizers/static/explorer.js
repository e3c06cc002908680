// The explorer of heads, for notebooks (anywidget) and the offline page: one module, no build step, no requests.
// This is its last part: the table of examples, and the whole. Before it come, joined by visualizers/offline_page.py,
// explorer_values.js, explorer_drawing.js, explorer_example.js, explorer_heads.js.

// ---------------------------------------------------------------------------------------------------------------
// The table of examples

const ROWS = 100;

function browserPanel(app) {
  const { say, state } = app;
  const own = state.index.filter((one) => one.model === 0);
  const filter = { facts: {}, wrong: false, pairs: false, search: "", model: 0 };
  const body = h("tbody");
  const count = h("p", { class: "soft", role: "status" });
  const names = [...new Set(own.flatMap((one) => Object.keys(one.facts)))];
  const controls = h("div", { class: "tools" });
  const check = (label, name) => h("label", { class: "check" }, h("input", { type: "checkbox", onchange: (event) => { filter[name] = event.target.checked; draw(); } }), label);
  for (const name of names) {
    const values = [...new Set(own.map((one) => one.facts[name]).filter((v) => v !== undefined))].map((v) => String(v ?? ""));
    if (values.length < 2 || values.length > 40) continue;
    const options = [["", say("any")], ...values.filter((v) => v !== "").sort().map((v) => [v, clipped(readable(v), 40)])];
    controls.append(choice(clipped(readable(name), 40), options, "", (value) => { filter.facts[name] = value; draw(); }));
  }
  if (own.some((one) => one.wrong === true)) controls.append(check(say("only_wrong"), "wrong"));
  if (own.some((one) => one.partner)) controls.append(check(say("only_pairs"), "pairs"));
  controls.append(h("label", { class: "choice" }, h("span", {}, say("search")), h("input", { type: "search", oninput: (event) => { filter.search = event.target.value; draw(); } })));

  function draw() {
    const places = filtered(state.index, filter);
    count.textContent = say("examples_count", { shown: Math.min(ROWS, places.length), found: places.length, n: own.length });
    body.replaceChildren(...places.slice(0, ROWS).map((place) => {
      const one = state.index[place];
      const open = place === app.sel.place;
      const pair = one.partner ? state.index.findIndex((other) => other.model === 0 && other.id === one.partner) : -1;
      const facts = Object.entries(one.facts).map(([name, value]) => `${clipped(readable(name), 30)} ${value === null ? say("unknown") : clipped(readable(value), 30)}`).join(" · ");
      const actions = h("td", { class: "actions" }, h("button", { type: "button", onclick: () => app.compare(place), "aria-disabled": open ? "true" : null }, say("compare")));
      if (pair >= 0) actions.append(" ", h("button", { type: "button", onclick: () => app.openPair(place, pair) }, say("with_partner")));
      return h("tr", { "aria-current": open ? "true" : null },
        h("th", { scope: "row" }, h("button", { type: "button", class: "link", dir: "auto", onclick: () => app.open(place) }, clipped(readable(one.id), 40))),
        h("td", { dir: "auto" }, one.text ? clipped(readable(one.text), 140) : one.kind), h("td", { dir: "auto" }, facts),
        h("td", { class: one.wrong ? "bad" : "" }, one.wrong === null ? "" : one.wrong ? say("wrong") : say("right")),
        h("td", { class: "n" }, signed(one.value)), actions);
    }));
  }

  const heads = ["id", "example", "facts", "prediction", "target", "compare"].map((name) => h("th", { scope: "col" }, say(`column_${name}`)));
  const table = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": say("examples") }, h("table", {}, h("thead", {}, h("tr", {}, ...heads)), body));
  const element = h("details", { class: "panel examples" }, h("summary", {}, say("examples"), " ", h("span", { class: "soft" }, String(own.length))), controls, count, table);
  draw();
  return { element, draw: (changed) => changed.has("scene") && draw() };
}

// ---------------------------------------------------------------------------------------------------------------
// The whole

const MOST_LISTED = 300;
let views = 0;

/** Controls that belong to all panels: example, target, baseline, comparison. */
function headerPanel(app) {
  const { say, state, sel } = app;
  const bar = h("div", { class: "controls" });
  const [headline, ...notes] = (state.title || say("title")).split("; ");
  const title = h(state.page ? "h1" : "p", { class: "title", dir: "auto" }, headline);
  const keys = h("details", { class: "keys" }, h("summary", {}, say("keys")),
    h("dl", {}, ...["arrows", "escape", "h", "t", "m", "v", "w", "s", "g", "n", "c", "bracket", "help"].flatMap((name) => [h("dt", {}, say(`key_${name}`)), h("dd", {}, say(`key_${name}_does`))])));
  const element = h("header", { class: "bar" }, h("div", { class: "titles" }, title, notes.length ? h("p", { class: "notes", dir: "auto" }, `${notes.join("; ")}.`) : null, h("p", { class: "caution" }, h("b", {}, say("caution")), " ", say("caution_more"))), bar, keys);

  function draw() {
    const scene = app.sides[0];
    const own = state.index.flatMap((one, place) => (one.model === 0 ? [place] : []));
    const label = (place) => clipped(readable(state.index[place].id), 40);
    const step = (by, text, name) => h("button", { type: "button", "aria-label": say(name), onclick: () => app.step(by) }, text);
    const near = own.length <= MOST_LISTED ? own : [sel.place];
    const parts = [h("div", { class: "stepper" }, choice(say("example"), near.map((place) => [String(place), label(place)]), String(sel.place), (place) => app.open(Number(place))),
      ...(own.length > 1 ? [step(-1, "‹", "previous"), step(1, "›", "next")] : []))];
    if (scene.targets.length > 1) parts.push(choice(say("target"), scene.targets.map((name, i) => [String(i), clipped(readable(name), 48)]), String(sel.target), (t) => app.update({ target: Number(t) })));
    if (scene.baselines.length > 1) parts.push(choice(say("baseline"), scene.baselines.map((name, i) => [String(i), clipped(readable(name), 48)]), String(sel.baseline), (b) => app.update({ baseline: Number(b) })));
    else parts.push(h("p", { class: "choice fixed" }, h("span", {}, say("baseline")), h("b", { dir: "auto" }, clipped(readable(scene.baselines[0] ?? ""), 60))));
    const options = [["", say("compare_none")]];
    const twin = state.index.findIndex((one) => one.model === 1 && one.id === scene.id);
    const partner = app.partnerOf(sel.place);
    if (twin >= 0) options.push([String(twin), say("compare_model", { name: state.names[1] || say("other_model") })]);
    if (partner >= 0) options.push([String(partner), say("compare_partner", { id: label(partner) })]);
    for (const place of near) if (place !== sel.place && place !== partner) options.push([String(place), label(place)]);
    const listed = options.some(([value]) => value === String(sel.other ?? ""));
    if (!listed) options.push([String(sel.other), label(sel.other)]);
    if (options.length > 1) parts.push(choice(say("compare_with"), options, String(sel.other ?? ""), (other) => app.compare(other === "" ? null : Number(other))));
    bar.replaceChildren(...parts);
  }
  return { element, keys, draw: (changed) => ["scene", "target", "baseline"].some((name) => changed.has(name)) && draw() };
}

/** The frame that is due, or a tenth of a second where none comes, as in a tab that nobody sees. */
function painted() {
  return new Promise((done) => {
    const late = setTimeout(done, 100);
    requestAnimationFrame(() => setTimeout(() => { clearTimeout(late); done(); }, 0));
  });
}

/** Everything that the panels share: the selection, the examples that are shown, words, colours. */
function application(model, root, ask, state) {
  const scenes = new Map();
  let palette = null;
  let panels = [];
  const sel = {
    place: 0, other: null, layer: 0, head: 0, query: -1, key: -1, target: 0, baseline: 0, words: true, shade: "scores",
    grid: "", view: "matrix", window: null, gates: new Map(), focus: null,
  };
  const app = {
    state, sel, ask, root, uid: `clino${++views}`, sides: [],
    say: (name, values) => {
      if (!(name in state.phrases)) throw new Error(`no phrase ${name}`);
      return fill(state.phrases[name], values);
    },
    palette: () => (palette ??= paletteOf(root)),
    forgetPalette: () => { palette = null; },
    setPanels: (made) => { panels = made; },
    /** The widths that panels are drawn into, as one number. */
    inside: () => root.clientWidth + (root.querySelector(".sides")?.clientWidth ?? 0) * 1e4,
    draw: (changed) => {
      if (changed.has("scene") || changed.has("size")) app.drawnIn = app.inside();
      panels.forEach((panel) => panel.draw(changed));
    },
    headName: () => app.say("head_name", { layer: sel.layer, head: sel.head }),
    nameOf: (scene) => {
      const { id, model: which } = state.index[scene.place];
      const name = state.names[which];
      return name && state.index.some((one) => one.model === 1) ? `${clipped(readable(id), 40)} · ${clipped(readable(name), 40)}` : clipped(readable(id), 60);
    },
    partnerOf: (place) => {
      const { partner, model: which } = state.index[place];
      return partner ? state.index.findIndex((one) => one.model === which && one.id === partner) : -1;
    },
    /** What is known of the chosen head: [name, value, rank or nothing]. */
    headFacts(scene) {
      const at = sel.layer * scene.nHeads + sel.head;
      return gridModes(app, scene).filter((mode) => mode.values).map(({ name, label, short, values, unit, plain }) => {
        const rank = name === "importance" ? app.say("rank", { rank: rankOf(values, at), n: values.length }) : "";
        return [short ?? label, `${plain ? number(values[at]) : signed(values[at])}${unit ? ` ${unit}` : ""}`, rank];
      });
    },
    fail: (error) => {
      const line = root.querySelector(".failed");
      line.hidden = false;
      line.textContent = app.say("failed", { error: error.message });
    },
  };

  async function loaded(place) {
    if (!scenes.has(place)) scenes.set(place, loadScene(ask, place));
    try {
      return await scenes.get(place);
    } catch (error) {
      scenes.delete(place); // so that it can be asked for again
      throw error;
    }
  }

  function fit() {
    const [scene] = app.sides;
    sel.layer = Math.max(0, Math.min(scene.nLayers - 1, sel.layer));
    sel.head = Math.max(0, Math.min(scene.nHeads - 1, sel.head));
    sel.target = Math.max(0, Math.min(scene.targets.length - 1, sel.target));
    sel.baseline = Math.max(0, Math.min(scene.baselines.length - 1, sel.baseline));
    if (sel.query >= scene.queries.length) sel.query = -1;
    if (sel.key >= scene.tokens.length) sel.key = -1;
    if (!gridModes(app, scene).some((mode) => mode.name === sel.grid)) sel.grid = "importance";
  }

  function tell() {
    const [scene] = app.sides;
    model.set("layer", sel.layer);
    model.set("head", sel.head);
    model.set("query", sel.query);
    model.set("target", sel.target);
    model.set("example", scene.id);
    model.save_changes();
    if (state.page) {
      try {
        history.replaceState(null, "", formatLink(sel.layer, sel.head, state.index.length > 1 ? scene.id : null));
      } catch {
        root.dataset.link = "none"; // a sandboxed frame has no address of its own to change
      }
    }
    clearTimeout(app.speaking);
    app.speaking = setTimeout(() => {
      const said = root.querySelector(".said");
      if (said) said.textContent = `${app.headName()}. ${app.headFacts(scene).map((fact) => fact.join(" ")).join(". ")}. ${sel.query >= 0 ? app.say("query_said", { query: quoted(scene.queries[sel.query]) }) : ""}`;
    }, 250);
  }

  Object.assign(app, {
    /** Change the selection and draw what depends on it. */
    update(changes, quiet = false) {
      const changed = new Set(Object.keys(changes).filter((name) => sel[name] !== changes[name]));
      Object.assign(sel, changes);
      if (!changed.size || !app.sides.length) return;
      fit();
      app.draw(changed);
      if (!quiet) tell();
    },
    /** Show another example, or the same with another beside it. */
    async open(place, other = null, quiet = false) {
      try {
        const asked = (app.asked = Symbol("open"));
        const sides = await Promise.all([place, ...(other === null ? [] : [other])].map(loaded));
        if (app.asked !== asked) return;
        Object.assign(sel, { place, other, window: null });
        if (app.sides[0] !== sides[0]) sel.gates = new Map();
        app.sides = sides;
        fit();
        app.draw(new Set(["scene"]));
        root.dataset.drawn = "true"; // all panels, maps as thumbnails have them
        if (!quiet) tell();
        await painted();
        await Promise.all(sides.map((scene) => loadMaps(ask, scene)));
        if (app.asked === asked) app.draw(new Set(["maps"]));
      } catch (error) {
        app.fail(error);
      }
    },
    compare: (other) => app.open(sel.place, other === sel.place ? null : other),
    openPair: (place, pair) => app.open(place, pair),
    step(by) {
      const own = state.index.flatMap((one, place) => (one.model === 0 ? [place] : []));
      const next = own[own.indexOf(sel.place) + by];
      if (next !== undefined) app.open(next);
    },
    gate(at, factor) {
      const gates = new Map(state.runs ? sel.gates : []); // a page knows heads closed one at a time
      if (factor === 1) gates.delete(at);
      else gates.set(at, factor);
      app.update({ gates });
    },
    openAll: () => sel.gates.size && app.update({ gates: new Map() }),
  });
  return app;
}

/** Keys that work wherever the focus is, except where somebody types. */
function shortcuts(app, header, event) {
  if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches?.("input:not([type=range]), select, textarea")) return;
  const { sel, root } = app;
  const scene = app.sides[0];
  if (!scene) return;
  const shades = ["scores", "attention", "contribution"];
  const actions = {
    n: () => app.step(1),
    p: () => app.step(-1),
    v: () => app.update({ view: sel.view === "matrix" ? "lines" : "matrix" }),
    w: () => app.update({ words: !sel.words }),
    s: () => app.update({ shade: shades[(shades.indexOf(sel.shade) + 1) % 3] }),
    g: () => root.querySelector(`.gates [data-value="${sel.gates.has(sel.layer * scene.nHeads + sel.head) ? 1 : 0}"]`)?.click(),
    c: () => app.compare(sel.other === null ? [app.partnerOf(sel.place), app.state.index.findIndex((one) => one.model === 1 && one.id === scene.id)].find((place) => place >= 0) ?? null : null),
    "[": () => app.update({ target: Math.max(0, sel.target - 1) }),
    "]": () => app.update({ target: Math.min(scene.targets.length - 1, sel.target + 1) }),
    h: () => root.querySelector(".heads [role=gridcell][tabindex='0']").focus(),
    t: () => root.querySelector(".tokens").focus(),
    m: () => root.querySelector(".map canvas:not([hidden])")?.focus(),
    "?": () => { header.keys.open = !header.keys.open; },
  };
  const act = actions[event.key];
  if (!act) return;
  event.preventDefault();
  event.stopPropagation();
  act();
}

async function start(model, root, ask, cleanup) {
  const { state } = await ask("open");
  const app = application(model, root, ask, state);
  const header = headerPanel(app);
  const parts = { example: examplePanel(app), grid: gridPanel(app), map: mapPanel(app), gates: gatePanel(app), browser: state.index.filter((one) => one.model === 0).length > 1 ? browserPanel(app) : null };
  app.setPanels([header, ...Object.values(parts)].filter(Boolean));
  root.replaceChildren(
    header.element, h("p", { class: "failed error", role: "alert", hidden: true }), parts.example.element,
    h("div", { class: "columns" }, parts.grid.element, h("div", { class: "column" }, parts.map.element, parts.gates.element)),
    parts.browser?.element ?? "", h("p", { class: "said unseen", role: "status" }),
  );
  const listen = (target, name, act) => {
    target.addEventListener(name, act);
    cleanup.push(() => target.removeEventListener(name, act));
  };
  // JupyterLab asks the element that has the focus, not those around it, whether keys are its own.
  listen(root, "focusin", (event) => event.target.setAttribute("data-lm-suppress-shortcuts", "true"));
  listen(state.page ? document : root, "keydown", (event) => shortcuts(app, header, event));
  // The panel too: a host may bring the style sheet after the module, and the panel's inside changes with it.
  const resized = new ResizeObserver(() => {
    if (app.sides.length && app.inside() !== app.drawnIn) app.draw(new Set(["size"]));
  });
  for (const watchedBox of [root, parts.grid.element.querySelector(".sides")]) resized.observe(watchedBox);
  const retheme = () => {
    app.forgetPalette();
    if (app.sides.length) app.draw(new Set(["theme"]));
  };
  const watched = new MutationObserver(retheme);
  watched.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name"] });
  listen(matchMedia("(prefers-color-scheme: dark)"), "change", retheme);
  cleanup.push(() => resized.disconnect(), () => watched.disconnect());

  const placeOf = (id) => state.index.findIndex((one) => one.model === 0 && one.id === id);
  const follow = (name, act) => {
    const heard = () => act(model.get(name));
    model.on(`change:${name}`, heard);
    cleanup.push(() => model.off(`change:${name}`, heard));
  };
  for (const name of ["layer", "head", "query", "target"]) {
    app.sel[name] = model.get(name) ?? app.sel[name];
    follow(name, (value) => app.update({ [name]: value }, true));
  }
  follow("example", (id) => { if (app.sides[0]?.id !== id && placeOf(id) >= 0) app.open(placeOf(id), null, true); });
  const linked = () => {
    const link = state.page && parseLink(location.hash);
    if (!link) return null;
    Object.assign(app.sel, { layer: link.layer, head: link.head });
    return link.example === null ? null : placeOf(link.example);
  };
  if (state.page) {
    listen(globalThis, "hashchange", () => {
      const link = parseLink(location.hash);
      if (!link) return;
      const place = link.example === null ? app.sel.place : placeOf(link.example);
      if (place >= 0 && place !== app.sel.place) app.open(place);
      app.update({ layer: link.layer, head: link.head });
    });
  }
  await app.open(Math.max(0, linked() ?? placeOf(model.get("example"))));
  root.dataset.ready = "true";
}

/** Called by anywidget, and by the offline page, for each view. */
function render({ model, el }) {
  const root = h("div", { class: "clino" }, h("p", { class: "waiting" }, "…"));
  el.append(root);
  const questions = asking(model);
  const cleanup = [questions.close];
  start(model, root, questions.ask, cleanup).catch((error) => {
    root.replaceChildren(h("p", { class: "error", role: "alert" }, String(error.message)));
    root.dataset.ready = "failed";
  });
  return () => cleanup.forEach((act) => act());
}

export default { render };
