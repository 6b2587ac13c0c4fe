// A book as points: the smile of its vols, or any column against another.

import * as api from "./api.js";
import { choice, count, exact, h, spoken } from "./dom.js";
import { pointAtRow, points, said, save } from "./plots.js";

const MOST_ROWS = 5000;
const MOST_GROUPS = 24;

const numberOf = (value) => {
  if (typeof value === "number") return value;
  return typeof value === "string" && value.trim() !== "" && Number.isFinite(Number(value)) ? Number(value) : null;
};

/** Show the rows of a book in `root`, as points. */
export function book(root, run, go) {
  const { columns, measures } = run.shape;
  const column = (name) => columns.find((one) => one.name === name);
  // Quotes may stand in columns that pass through as text.
  const isNumber = ({ kind, values }) => kind === "number" || (kind !== "word" && values?.some((v) => numberOf(v) !== null));
  const numeric = columns.filter(isNumber).map(({ name }) => name);
  const several = (name) => {
    const one = column(name);
    return one && (one.kind === "number" ? one.min < one.max : one.values.length > 1);
  };
  const hasSmile = numeric.includes("strike") && numeric.includes("vol") && several("strike") && several("vol");
  const results = [...measures, "error"];
  const ups = [...numeric.filter((name) => name !== "row"), ...results];
  const groupers = columns.filter(({ name }) => name !== "row").map(({ name }) => name);
  // What is another text in every row, as an id, narrows nothing.
  const filters = columns.filter(({ kind, values, distinct }) => kind !== "number"
    && values.length === distinct && distinct <= Math.max(2, run.shape.cells / 4)
    && values.filter((text) => text !== "" && numberOf(text) === null).length > 1);

  const picks = h("div", { class: "fields" });
  const note = h("p", { class: "note", role: "status" });
  const plot = h("div", { class: "plot tall", id: "points" });
  const frame = h("div", {
    class: "frame", id: "figure", tabindex: 0, role: "group", onkeydown: step,
    "aria-label": "Picture. Arrow keys go from row to row; its values are below.",
  }, plot);
  const cell = h("div", { class: "cell", id: "cell", "aria-live": "polite" });
  const csv = h("a", { class: "button", id: "csv", download: `${run.id.slice(0, 12)}.csv` }, "CSV of these rows");
  const png = h("button", { type: "button", onclick: () => save(plot, run.id.slice(0, 12)) }, "PNG");
  root.replaceChildren(h("div", { class: "controls" }, picks), note, frame, cell, h("div", { class: "downloads" }, csv, png));
  let turn = 0, built = "", drawn = null, here = 0, state;

  function chosen() {
    const pick = (name, among, otherwise) => (among.includes(name) ? name : otherwise);
    return {
      x: pick(state.x, numeric, several("strike") ? "strike" : numeric[0]),
      m: pick(state.m, ups, hasSmile ? "vol" : results[0]),
      by: state.by === "none" ? "" : pick(state.by, groupers, several("expiry") ? "expiry" : ""),
    };
  }

  function selection() {
    const kept = filters.filter(({ name, values }) => values.includes(state.at[name]));
    return Object.fromEntries(kept.map(({ name }) => [name, state.at[name]]));
  }

  function build({ x, m, by }) {
    const key = JSON.stringify([x, m, by, state.at]);
    if (key === built) return;
    built = key;
    const focused = document.activeElement?.dataset?.control;
    const step = (patch) => go(patch, { step: true });
    picks.replaceChildren(
      choice("Across", numeric, x, (name) => step({ x: name })),
      choice("Up", ups, m, (name) => step({ m: name })),
      choice("Colour by", [["none", "nothing"], ...groupers], by || "none", (name) => step({ by: name })),
      ...filters.map(({ name, values }) => choice(
        `Only ${spoken(name)}`, [["", "all"], ...values.filter(Boolean).map((v) => [v, v])], selection()[name] ?? "",
        (value) => step({ at: { [name]: value } }),
      )),
    );
    if (focused) picks.querySelector(`[data-control="${CSS.escape(focused)}"]`)?.focus();
  }

  async function update(next) {
    state = next;
    const view = chosen();
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
      note.textContent = error.status === 409 ? "Not all of these rows are priced yet." : error.message;
    }
  }

  async function draw() {
    const { x, m, by, answer } = drawn;
    const { columns: table, total, rows: found } = answer;
    const groups = new Map();
    const whiskers = m === "vol" && table.bid && table.ask && table.vega && table.price;
    const names = [...new Set(by ? table[by] : [])];
    const bySize = names.every((v) => typeof v === "number") ? names.sort((a, b) => a - b) : names.sort();
    const order = new Map(bySize.map((value, i) => [value, i]));
    const few = order.size <= MOST_GROUPS;
    let missing = 0;
    for (let i = 0; i < found; i += 1) {
      const [across, up] = [numberOf(table[x][i]), numberOf(table[m][i])];
      if (across === null || up === null) { missing += 1; continue; }
      const value = by && few ? table[by][i] : "";
      const second = table.right?.[i] === "put" ? 1 : 0;
      // Only one underlying's points are one line.
      const key = JSON.stringify([value, second, table.spot?.[i], table.underlying?.[i]]);
      if (!groups.has(key)) groups.set(key, { name: by && few ? exact(value) : "rows", colour: order.get(value) ?? 0, symbol: second, points: [] });
      groups.get(key).points.push({ across, up, i });
    }
    const drawnGroups = [...groups.values()].sort((a, b) => a.colour - b.colour).map(({ points: some, ...group }) => {
      some.sort((a, b) => a.across - b.across);
      const vols = (name, sign) => some.map(({ i }) => {
        const quote = numberOf(table[name][i]);
        if (quote === null || table.price[i] === null || !(table.vega[i] > 0)) return 0;
        return Math.max(0, (sign * (quote - table.price[i])) / table.vega[i]);
      });
      return {
        ...group, joined: x === "strike" && m === "vol" && some.length > 1,
        x: some.map((p) => p.across), y: some.map((p) => p.up), rows: some.map((p) => p.i),
        texts: some.map(({ i }) => said([["row", table.row[i]], [x, table[x][i]], ...(by ? [[by, table[by][i]]] : []), [m, table[m][i]], ["error", table.error[i]]])),
        ...(whiskers ? { above: vols("ask", 1), below: vols("bid", -1) } : {}),
      };
    });
    note.textContent = remarks({ missing, total, found, few, by, whiskers, hasPuts: table.right?.includes("put") && table.right.includes("call") });
    await points(plot, { x: { name: x }, y: { name: m }, by: few ? by : "", groups: drawnGroups });
    plot.removeAllListeners("plotly_hover");
    plot.on("plotly_hover", ({ points: [hovered] }) => tell(hovered.customdata));
    if (found) tell(Math.min(here, found - 1));
    else cell.replaceChildren();
  }

  function remarks({ missing, total, found, few, by, whiskers, hasPuts }) {
    const parts = [];
    if (!hasSmile) parts.push("This book has no smile: that takes a strike and a vol that differ from row to row.");
    parts.push(found < total ? `The first ${count(found)} of ${count(total)} rows; narrow them above.` : `${count(found)} rows.`);
    if (missing) parts.push(`${count(missing)} of them ${missing === 1 ? "has" : "have"} no such value.`);
    if (by && !few) parts.push(`${spoken(by)} has too many values for colours.`);
    if (hasPuts) parts.push("Calls are dots, puts open diamonds.");
    if (whiskers) parts.push("Whiskers reach to bid and ask: their distance from the price, divided by vega.");
    return parts.join(" ");
  }

  function step(event) {
    const by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    if (!by || !drawn || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    tell(Math.min(Math.max(here + by, 0), drawn.answer.rows - 1));
    pointAtRow(plot, here);
  }

  /** Tell all of a row. */
  function tell(i) {
    here = i;
    const table = drawn.answer.columns;
    const of = (names) => names.filter((name) => table[name]).map((name) =>
      h("div", { "data-name": name }, h("dt", {}, spoken(name)), h("dd", {}, exact(table[name][i]))));
    cell.replaceChildren(
      h("dl", { class: "inputs" }, of(columns.map(({ name }) => name))),
      h("dl", {}, of([...measures, "error", "status"])),
    );
  }

  return {
    update,
    further() { if (!drawn && state) update(state); },
    redraw: () => drawn && draw(),
    leave() { turn = -1; },
  };
}
