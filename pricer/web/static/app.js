// The page: the list of runs, the run that is looked at, and one view of it.

import * as api from "./api.js";
import { book } from "./book.js";
import { compare } from "./compare.js";
import { brief, count, h, minute, rough, short, spoken } from "./dom.js";
import { firm } from "./firm.js";
import { plotly } from "./plots.js";
import { Slices } from "./slices.js";
import { address, read, write } from "./state.js";
import { surface } from "./surface.js";
import { table } from "./table.js";
import { duration, timeline } from "./timeline.js";

const POLL_MS = 1000;
const IDLE_MS = 3000;
const LISTED = 50;
const MOST_LISTED = 1000;

const VIEWS = {
  surface: ["Surface", surface, ["grid"]],
  points: ["Points", book, ["book"]],
  firm: ["Firm", firm, ["panel"]],
  compare: ["Compare", compare, ["grid"]],
  timeline: ["Timeline", timeline, null],
  rows: ["Rows", table, null],
};

const list = document.querySelector("#list");
const nav = document.querySelector("#runs");
const main = document.querySelector("#main");
const trouble = document.querySelector("#trouble");
const older = document.querySelector("#older");
const toggle = document.querySelector("#toggle");

let state = read();
let heads = null; // what the list says of each run
let listed = LISTED; // how many of them are asked for
let rest = 0; // how many there are beyond those
let store = "";
let loaded = new Map(); // by id: its shape and slices
let current = null; // {run, name, view, parts} that is on the page
let paces = new Map(); // how far a run was, and when
const strangers = new Set(); // what the address has asked for and is no run

const runs = { list: () => heads ?? [], load };

/** Fetch what kind of run `id` is, once. */
function load(id) {
  const head = heads?.find(({ run }) => run.startsWith(id));
  const whole = head?.run ?? id;
  if (!loaded.has(whole)) {
    const run = fetched(whole);
    run.catch(() => loaded.delete(whole));
    loaded.set(whole, run);
  }
  return loaded.get(whole);
}

async function fetched(id) {
  const [shape, status] = await Promise.all([api.axes(id), api.status(id)]);
  shape.axes?.forEach((axis) => { axis.count = axis.values.length; });
  return { id: status.run, shape, status, slices: shape.axes && new Slices(status.run, shape.axes) };
}

/** Change the state; `step` is a place that the back button comes back to. */
function go(patch, { step = false } = {}) {
  const at = { ...state.at, ...patch.at };
  const other = { ...state.other, ...patch.other };
  for (const places of [at, other]) {
    for (const [name, value] of Object.entries(places)) if (!value) delete places[name];
  }
  // Who has chosen anything stays with that run, though a later one be submitted.
  const run = state.run ?? chosenHead()?.run;
  state = { ...state, run, ...patch, at, other };
  write(state, step);
  show();
}

const chosenHead = () =>
  heads?.find(({ run }) => state.run && run.startsWith(state.run)) ?? (state.run ? null : heads?.[0]);

let showing = 0;

/** Bring the page to the state. */
async function show() {
  const mine = ++showing;
  drawList();
  const head = chosenHead();
  if (!heads) return;
  if (!heads.length) {
    only(empty());
    return;
  }
  if (!head) {
    only(h("p", { class: "note" }, `There is no run ${state.run} in this store.`));
    return;
  }
  let run;
  try {
    run = await load(head.run);
  } catch (error) {
    if (mine === showing) only(h("p", { class: "note" }, error.message));
    return;
  }
  if (mine !== showing) return;
  const { kind } = run.shape;
  const views = Object.entries(VIEWS).filter(([, [, , kinds]]) => !kinds || kinds.includes(kind));
  const [name, [, make]] =
    views.find(([view]) => view === state.view) ?? views.find(([view]) => view !== "timeline");
  if (current?.run !== run || current?.name !== name) {
    leave();
    const body = h("section", { class: "view", "aria-label": VIEWS[name][0] });
    const tabs = h("nav", { class: "tabs", "aria-label": "Views" });
    const parts = { title: h("div", { class: "title" }), tabs };
    main.replaceChildren(parts.title, parts.tabs, body);
    current = { run, name, parts, views, view: make(body, run, go, runs) };
  }
  document.title = `${head.name || brief(head.run)} · pricer`;
  drawTitle();
  drawTabs();
  current.view.update(state);
}

/** Show nothing but `element`; the same again is left as it is, with what is selected in it. */
function only(element) {
  leave();
  const there = main.children.length === 1 && main.firstElementChild.isEqualNode(element);
  if (!there) main.replaceChildren(element);
}

function leave() {
  current?.view.leave();
  current = null;
}

function drawTabs() {
  const { parts, views, name } = current;
  const key = JSON.stringify([address(state), name]);
  if (parts.key === key) return;
  parts.key = key;
  const { activeElement } = document;
  const focused = parts.tabs.contains(activeElement) ? activeElement.textContent : null;
  parts.tabs.replaceChildren(...views.map(([view, [text]]) => h("a", {
    href: address({ ...state, view }), "aria-current": view === name ? "page" : null,
    onclick: (event) => follow(event, { view }),
  }, text)));
  if (focused) [...parts.tabs.children].find((tab) => tab.textContent === focused)?.focus();
}

/** Follow a link within the page, unless it is to open elsewhere. */
function follow(event, patch) {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  go(patch, { step: true });
}

function drawList() {
  if (!heads) return;
  const head = chosenHead();
  const key = JSON.stringify([heads, head?.run, rest]);
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  const focused = list.contains(document.activeElement) ? document.activeElement.dataset.run : null;
  list.replaceChildren(...heads.map((one) => h("li", {}, entry(one, one === head))));
  older.hidden = !rest || listed >= MOST_LISTED;
  older.textContent = `${count(rest)} older`;
  if (focused) list.querySelector(`[data-run="${focused}"]`)?.focus();
}

/** What the list says of a run. */
function entry({ run, name, state: how, cells, done, submitted_at: submitted, as_of: asOf }, isChosen) {
  const id = brief(run);
  const properties = {
    href: address({ ...state, run: id }), "data-run": run,
    "aria-current": isChosen ? "true" : null,
    onclick: (event) => {
      follow(event, { run: id });
      open(false);
    },
  };
  return h("a", properties,
    h("span", { class: "name" }, name || id),
    h("span", { class: `state ${how}` }, how),
    h("span", { class: "more" }, `${id} · ${count(cells)} cells`),
    h("span", { class: "more" }, asOf ? `as of ${minute(asOf)}` : minute(submitted)),
    how === "complete" ? null
      : h("progress", { max: cells, value: done, "aria-label": `${name || id}: cells priced` }));
}

/** What is known of the run that is looked at, above its views. */
function drawTitle() {
  const head = chosenHead();
  const { run, parts } = current;
  const { status } = run;
  const key = JSON.stringify([head, status]);
  if (parts.drawn === key || !head) return;
  parts.drawn = key;
  const failed = status.failures.map((failure) =>
    h("li", {}, `${count(failure.count)} ${failure.status}: ${failure.reason}`));
  const reasons = Object.entries(status.reasons).map(([of, why]) => h("li", {}, `${of}: ${why}`));
  const single = (run.shape.axes ?? []).filter(({ values }) => values.length === 1);
  const inputs = [
    ...Object.entries(run.shape.fixed ?? {}),
    ...single.map(({ name, values }) => [name, values[0]]),
  ].map(([name, value]) => `${spoken(name)} ${short(value)}`);
  const of = run.shape.kind === "panel" ? "asset vol" : "price";
  const facts = [
    head.as_of ? `as of ${minute(head.as_of)}` : "",
    `${count(head.cells)} cells`,
    head.done < head.cells ? `${count(head.done)} priced` : "",
    head.failed ? `${count(head.failed)} not ok` : head.done === head.cells ? "all ok" : "",
    status.measures.error ? `largest error of ${of} ${rough(status.measures.error.max)}` : "",
    `submitted ${minute(head.submitted_at)}`,
  ];
  parts.title.replaceChildren(
    h("h2", {}, head.name || brief(head.run), " ",
      h("span", { class: `state ${head.state}` }, head.state)),
    h("p", { class: "facts" }, facts.filter(Boolean).flatMap(unbroken)),
    inputs.length ? h("p", { class: "facts" }, [run.shape.type, ...inputs].flatMap(unbroken)) : "",
    head.state === "complete" ? "" : h("div", { class: "progress" },
      h("progress", {
        id: "progress", max: head.cells, value: head.done, "aria-label": "Cells priced",
      }),
      h("span", {}, pace(head))),
    failed.length || reasons.length
      ? h("details", {}, h("summary", {}, "What is not ok"), h("ul", {}, failed, reasons)) : "",
  );
}

const unbroken = (text, i, all) => [h("span", {}, i < all.length - 1 ? `${text} ·` : text), " "];

/** How fast a run is, and for how long yet; or what to do where nobody prices it. */
function pace({ run, state: how, cells, done }) {
  const share = `${Math.floor((100 * done) / cells)} %`;
  if (how !== "running") return `${share}; pricer resume ${brief(run)} finishes it`;
  if (!done) {
    return "Nothing is priced yet: it waits for the kernels, which are compiled on first use, or for"
      + " a worker.";
  }
  const now = performance.now();
  if (!paces.has(run)) paces.set(run, { done, now });
  const since = paces.get(run);
  const rate = (1000 * (done - since.done)) / (now - since.now);
  if (!(rate > 0)) return share;
  return `${share} · ${count(Math.round(rate))} cells/s · ${duration((cells - done) / rate)} left`;
}

function empty() {
  const where = store.startsWith("dynamodb:") ? "--on aws" : `--store '${store}'`;
  return h("div", { class: "empty" },
    h("h2", {}, "No runs yet"),
    h("p", {}, "Nothing has been submitted to ", h("code", {}, store), "."),
    h("p", {}, "Say what to price in a file and submit it. It appears here once it is planned, and"
      + " fills in while it is being priced:"),
    h("pre", {}, `pricer submit examples/one_surface.toml ${where}`));
}

function fail(error) {
  trouble.textContent = error.message;
  trouble.hidden = false;
}

let next = 0; // what asks again, while nothing is being asked

/** Ask how far the runs are, again and again: each second while one is priced; unseen, never. */
async function poll() {
  let wait = IDLE_MS;
  next = 0;
  if (!document.hidden) {
    try {
      const answer = await api.runs(listed);
      const found = [...answer.runs, ...await unlisted(answer)];
      trouble.hidden = true;
      ({ store } = answer);
      rest = answer.total - answer.runs.length;
      document.querySelector("#store").textContent = store;
      const before = heads && chosenHead();
      const were = heads;
      heads = found;
      if (found.some((head) => head.state === "running")) wait = POLL_MS;
      const now = chosenHead();
      if (!were || !current || before?.run !== now?.run) await show();
      else {
        drawList();
        if (now && (now.done !== before.done || now.state !== before.state)) await further(now);
      }
    } catch (error) {
      fail(error);
      wait = POLL_MS;
    }
  }
  next = setTimeout(poll, wait);
}

/** What the list would say of the run that is chosen, where it is further down than is listed. */
async function unlisted({ runs: found, total: all }) {
  const isListed = !state.run || found.some(({ run }) => run.startsWith(state.run));
  if (isListed || found.length === all || strangers.has(state.run)) return [];
  const { run } = state;
  try {
    return [await api.status(run)];
  } catch (error) {
    if (error.status !== 404) throw error;
    strangers.add(run);
    return [];
  }
}

async function further(head) {
  const here = current;
  here.run.status = await api.status(head.run);
  if (here !== current) return;
  drawTitle();
  here.view.further();
}

function askNow() {
  if (!next) return;
  clearTimeout(next);
  poll();
}

function open(whether) {
  nav.classList.toggle("open", whether);
  toggle.setAttribute("aria-expanded", String(whether));
}

older.addEventListener("click", () => {
  listed = Math.min(listed + 4 * LISTED, MOST_LISTED);
  askNow();
});
toggle.addEventListener("click", () => open(!nav.classList.contains("open")));
document.querySelector("#skip").addEventListener("click", () => main.focus());
addEventListener("popstate", () => {
  state = read();
  show();
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) askNow();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => current?.view.redraw());

// While the list is asked for: the library is 5 MB.
plotly().catch(fail);
poll();
