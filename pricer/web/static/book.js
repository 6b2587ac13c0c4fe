// A book as points: the smile of its vols, or any column against another.

import * as api from "./api.js";
import {
  brief, choice, count, errorBeside, exact, h, spoken, statusOf, terms, unpriced,
} from "./dom.js";
import { aloud, onPoint, pointAtRow, points, said, save } from "./plots.js";

const MOST_ROWS = 5000;
const MOST_COLOURS = 24;

/** The number that a value is, as quotes in columns that pass through are texts; else null. */
function numberOf(value) {
  if (typeof value === "number") return value;
  const isNumber = typeof value === "string" && value.trim() !== "" && Number.isFinite(Number(value));
  return isNumber ? Number(value) : null;
}

/** What can be chosen of a book's columns. */
function offers({ columns, measures, cells }) {
  const isNumber = ({ kind, values }) =>
    kind === "number" || (kind !== "word" && values.some((value) => numberOf(value) !== null));
  const across = columns.filter(isNumber).map(({ name }) => name);
  const differs = (name) => {
    const column = columns.find((one) => one.name === name);
    if (!column) return false;
    return column.kind === "number" ? column.min < column.max : column.distinct > 1;
  };
  // What is another text in every row, as an id, narrows nothing.
  const filters = columns.filter(({ kind, values, distinct }) =>
    kind !== "number" && values.length === distinct && distinct <= Math.max(2, cells / 4)
    && values.filter((text) => text !== "" && numberOf(text) === null).length > 1);
  return {
    across, differs, filters,
    up: [...across.filter((name) => name !== "row"), ...measures, "error"],
    by: columns.map(({ name }) => name).filter((name) => name !== "row"),
    hasSmile: ["strike", "vol"].every((name) => across.includes(name) && differs(name)),
  };
}

/** What `state` chooses of what is offered. */
function chosen({ across, up, by, differs, hasSmile }, measures, state) {
  const pick = (name, among, otherwise) => (among.includes(name) ? name : otherwise);
  return {
    x: pick(state.x, across, differs("strike") ? "strike" : across[0]),
    m: pick(state.m, up, hasSmile ? "vol" : measures[0]),
    by: state.by === "none" ? "" : pick(state.by, by, differs("expiry") ? "expiry" : ""),
  };
}

/** Lay the rows of a table out as groups of points, a line each where it is a smile. */
function grouped(table, rows, { x, m, by }) {
  const values = by ? [...new Set(table[by])] : [];
  const inOrder = values.every((value) => typeof value === "number")
    ? values.sort((a, b) => a - b) : values.sort();
  const isColoured = by && inOrder.length <= MOST_COLOURS;
  const groups = new Map();
  for (let i = 0; i < rows; i += 1) {
    const place = { x: numberOf(table[x][i]), y: numberOf(table[m][i]), i };
    if (place.x === null || place.y === null) continue;
    const value = isColoured ? table[by][i] : "";
    const isOk = [null, "ok"].includes(table.status[i]);
    const isPut = table.right?.[i] === "put";
    const key = JSON.stringify([value, isPut, table.spot?.[i], table.underlying?.[i], isOk]);
    if (!groups.has(key)) {
      const colour = isColoured ? inOrder.indexOf(value) : 0;
      groups.set(key, { name: exact(value), colour, symbol: isPut ? 1 : 0, isOk, places: [] });
    }
    groups.get(key).places.push(place);
  }
  const inColours = [...groups.values()].sort((a, b) => a.colour - b.colour);
  for (const { places } of inColours) places.sort((a, b) => a.x - b.x);
  return { groups: inColours, isColoured };
}

/** Show the rows of a book in `root`, as points. */
export function book(root, run, go) {
  const { columns, measures } = run.shape;
  const offered = offers(run.shape);
  const picks = h("div", { class: "fields" });
  const note = h("p", { class: "note", role: "status" });
  const plot = h("div", { class: "plot", id: "points", "aria-hidden": "true" });
  const frame = h("div", {
    class: "frame", id: "figure", tabindex: 0, role: "application", onkeydown: step,
    "aria-label": "Picture. Arrow keys go from row to row; its values are below.",
  }, plot);
  const announced = h("p", { class: "unseen", "aria-live": "polite" });
  const cell = h("div", { class: "cell", id: "cell" });
  const file = brief(run.id);
  const csv = h("a", { class: "button", id: "csv", download: `${file}.csv` }, "CSV of these rows");
  const png = h("button", { type: "button", onclick: () => save(plot, file) }, "PNG");
  root.replaceChildren(h("div", { class: "controls" }, picks), note, frame, announced, cell,
    h("div", { class: "downloads" }, csv, png));
  let turn = 0, built = "", drawn = null, here = 0, state;

  /** The rows that are asked for, as a query. */
  function selection() {
    const kept = offered.filters.filter(({ name, values }) => values.includes(state.at[name]));
    return Object.fromEntries(kept.map(({ name }) => [name, state.at[name]]));
  }

  function build({ x, m, by }) {
    const key = JSON.stringify([x, m, by, state.at]);
    if (key === built) return;
    built = key;
    const focused = document.activeElement?.dataset?.control;
    const step = (patch) => go(patch, { step: true });
    const kept = selection();
    picks.replaceChildren(
      choice("Across", offered.across, x, (name) => step({ x: name })),
      choice("Up", offered.up, m, (name) => step({ m: name })),
      choice("Colour by", [["none", "nothing"], ...offered.by], by || "none",
        (name) => step({ by: name })),
      ...offered.filters.map(({ name, values }) => {
        const texts = values.filter(Boolean).map((text) => [text, text]);
        const keep = (text) => step({ at: { [name]: text } });
        return choice(`Only ${spoken(name)}`, [["", "all"], ...texts], kept[name] ?? "", keep);
      }),
    );
    if (focused) picks.querySelector(`[data-control="${CSS.escape(focused)}"]`)?.focus();
  }

  async function update(next) {
    state = next;
    const view = chosen(offered, measures, state);
    build(view);
    csv.href = api.cellsUrl(run.id, selection(), { format: "csv", limit: MOST_ROWS });
    const mine = ++turn;
    try {
      const answer = await api.cells(run.id, selection(), { limit: MOST_ROWS });
      if (mine !== turn) return;
      frame.hidden = false;
      drawn = { ...view, answer };
      await draw();
    } catch (error) {
      if (mine !== turn) return;
      drawn = null;
      frame.hidden = true;
      cell.replaceChildren();
      note.textContent = error.message;
    }
  }

  async function draw() {
    const { x, m, by, answer } = drawn;
    const { columns: table, rows } = answer;
    const { groups, isColoured } = grouped(table, rows, drawn);
    const isQuoted = ["bid", "ask"].some((name) => table[name]?.some((one) => numberOf(one) !== null));
    const hasWhiskers = m === "vol" && isQuoted && table.price && table.vega;
    note.textContent = remarks(groups, isColoured, hasWhiskers);
    await points(plot, {
      x: { name: x }, y: { name: m }, by: isColoured ? by : "",
      groups: groups.map(({ places, isOk, ...group }) => ({
        // A vol that no option can have is part of no smile.
        ...group, joined: isOk && x === "strike" && m === "vol" && places.length > 1,
        x: places.map((place) => place.x), y: places.map((place) => place.y),
        rows: places.map(({ i }) => i), texts: places.map(({ i }) => text(i)),
        above: hasWhiskers ? places.map(({ i }) => whisker(table, i, "ask", 1)) : null,
        below: hasWhiskers ? places.map(({ i }) => whisker(table, i, "bid", -1)) : null,
      })),
    });
    onPoint(plot, ({ points: [found] }) => tell(found.customdata));
    if (rows) tell(Math.min(here, rows - 1));
    else cell.replaceChildren();
  }

  /** How far in vol a quote is from the price, to first order. */
  function whisker(table, i, name, sign) {
    const quote = numberOf(table[name]?.[i]);
    if (quote === null || table.price[i] === null || !(table.vega[i] > 0)) return 0;
    return Math.max(0, (sign * (quote - table.price[i])) / table.vega[i]);
  }

  /** What the pointer's label says of a row. */
  function text(i) {
    const names = new Set(["row", drawn.x, drawn.by, drawn.m, "error"].filter(Boolean));
    return said([...names].map((name) =>
      [name === "error" ? errorBeside(drawn.m) : name, drawn.answer.columns[name][i]]));
  }

  function remarks(groups, isColoured, hasWhiskers) {
    const { answer: { rows, total, missing: unpricedRows }, by } = drawn;
    const missing = rows - groups.reduce((sum, { places }) => sum + places.length, 0);
    const all = `The first ${count(rows)} of ${count(total)} rows; narrow them above.`;
    const parts = [rows < total ? all : `${count(rows)} rows.`];
    if (unpricedRows) parts.push(unpriced(unpricedRows, rows));
    if (!offered.hasSmile) {
      parts.push("This book has no smile: that takes a strike and a vol that differ from row to row.");
    }
    if (missing) parts.push(`Without such a value: ${count(missing)}.`);
    if (by && !isColoured) parts.push(`${spoken(by)} has too many values for colours.`);
    if (new Set(groups.map(({ symbol }) => symbol)).size > 1) {
      parts.push("Calls are dots \u25cf, puts open diamonds \u25c7.");
    }
    if (hasWhiskers) {
      parts.push("Whiskers reach to bid and ask: their distance from the price, divided by vega.");
    }
    return parts.join(" ");
  }

  function step(event) {
    const by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    if (!by || !drawn || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    tell(Math.min(Math.max(here + by, 0), drawn.answer.rows - 1));
    announced.textContent = aloud(text(here));
    pointAtRow(plot, here);
  }

  /** Tell all of a row. */
  function tell(i) {
    here = i;
    const table = drawn.answer.columns;
    const shown = (name) => (name === "status" ? statusOf(table[name][i]) : exact(table[name][i]));
    const of = (names) => names.map((name) => [name, shown(name)]);
    cell.replaceChildren(
      terms(of(columns.map(({ name }) => name)), "inputs"),
      terms(of([...measures, "error", "status"])),
    );
  }

  return {
    update,
    further() { if (state && (!drawn || drawn.answer.missing)) update(state); },
    redraw: () => drawn && draw(),
    leave() { turn = -1; },
  };
}
