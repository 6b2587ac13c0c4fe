// A firm of a panel: what was estimated of it, window after window, at each horizon.

import * as api from "./api.js";
import {
  brief, choice, count, errorBeside, exact, field, h, spoken, statusOf, terms, unpriced,
} from "./dom.js";
import { figure } from "./figure.js";
import { rangeOf, said } from "./plots.js";

// What the error is of.
const ESTIMATED = "asset_vol";
const FIRST = "distance_to_default";
const NAMES = ["firm", "date", "horizon"];
// A firm of 30 years, looked at each day, at five horizons, has some 40,000.
const MOST_ROWS = 100000;
const MOST_OFFERED = 50;
const WAIT_MS = 60;

/** Show a firm of `run` in `root`; `go` changes the state. */
export function firm(root, run, go) {
  const { measures, columns } = run.shape;
  const firms = columns.find(({ name }) => name === "firm");
  const shown = [...measures, "error"];
  const offered = h("datalist", { id: "firms" });
  const typed = h("input", {
    type: "text", list: "firms", autocomplete: "off", spellcheck: "false",
    oninput: offer, onchange: choose, onfocus: () => typed.select(),
  });
  const pick = choice("Show", shown, shown[0], (m) => go({ m }, { step: true }));
  const measure = pick.querySelector("select");
  const note = h("p", { class: "note", role: "status" });
  const cell = h("div", { class: "cell", id: "cell" });
  const csv = h("a", { class: "button", id: "csv", download: "" }, "CSV of this firm");
  const pictures = figure(tell, { hasMap: false });
  // Windows whole, with all their horizons.
  const limit = MOST_ROWS - (MOST_ROWS % columns.find(({ name }) => name === "horizon").values.length);
  const among = `of ${count(firms.distinct)}`;
  root.replaceChildren(h("div", { class: "controls" }, field("Firm", typed, among), offered, pick),
    note, pictures.element, cell,
    h("div", { class: "downloads" }, csv, pictures.saves(() => `${name}-${m}`)));
  let state, name, m, series, turn = 0, asked = 0;

  /** Offer the names that have in them what is typed. */
  function offer() {
    const text = typed.value.trim().toLowerCase();
    const found = [];
    for (const one of firms.values) {
      if (one.toLowerCase().includes(text) && found.push(one) === MOST_OFFERED) break;
    }
    offered.replaceChildren(...found.map((value) => h("option", { value })));
    return found;
  }

  function choose() {
    const text = typed.value.trim();
    const found = offer();
    const wanted = firms.values.includes(text) || firms.distinct > firms.values.length ? text
      : found.find((one) => one.toLowerCase() === text.toLowerCase()) ?? (found.length === 1 && found[0]);
    if (wanted) go({ at: { firm: wanted } }, { step: true });
    else note.textContent = `There is no firm ${text} in this panel.`;
  }

  function update(next) {
    state = next;
    name = state.at.firm ?? firms.values[0];
    m = shown.includes(state.m) ? state.m : shown.includes(FIRST) ? FIRST : shown[0];
    typed.value = name;
    measure.value = m;
    csv.href = api.cellsUrl(run.id, { firm: name }, { format: "csv", limit: MOST_ROWS });
    csv.download = `${name}.csv`;
    offer();
    draw();
  }

  async function draw() {
    const mine = ++turn;
    try {
      const options = { measures: m === "error" ? measures[0] : m, limit };
      const answer = await api.cells(run.id, { firm: name }, options);
      if (mine !== turn) return;
      series = laidOut(answer);
      pictures.element.hidden = cell.hidden = false;
      note.textContent = remarks();
      await show();
    } catch (error) {
      if (mine !== turn) return;
      series = null;
      pictures.element.hidden = cell.hidden = true;
      note.textContent = error.message;
    }
  }

  /** Rows by horizon; they come by date, and by horizon within a date. */
  function laidOut({ columns: table, missing, total }) {
    const horizons = [...new Set(table.horizon)];
    const dates = table.date.filter((_, i) => i % horizons.length === 0);
    const rows = (column) => horizons.map((_, j) =>
      dates.map((_, i) => column[i * horizons.length + j]));
    return {
      horizons, dates, missing, windows: total / horizons.length,
      values: rows(table[m]), errors: rows(table.error), statuses: rows(table.status),
    };
  }

  function remarks() {
    const statuses = series.statuses.flat();
    const bad = statuses.filter((status) => status !== null && status !== "ok").length;
    const [some, all] = [series.dates.length, series.windows].map(count);
    const windows = some === all ? all : `The first ${some} of ${all}`;
    const parts = [`${windows} windows of ${count(run.shape.window)} days.`];
    if (series.missing) parts.push(unpriced(series.missing, statuses.length));
    if (bad) parts.push(`${count(bad)} of ${count(statuses.length)} estimates are not ok.`);
    return parts.join(" ");
  }

  /** Half the width of the band around curve `j`, where it can be seen. */
  function band(j) {
    const half = m === ESTIMATED ? series.errors[j] : null;
    const [low, high] = rangeOf(series.values);
    return half && Math.max(...half) > 0.003 * (high - low) ? half : null;
  }

  function show() {
    const { horizons, dates, values, errors, statuses } = series;
    return pictures.show({
      x: { name: "date", values: dates }, y: { name: "horizon", values: horizons },
      z: values, name: m, band,
      text(i, j) {
        const pairs = [["date", dates[i]], ["horizon", horizons[j]], [m, values[j][i]]];
        if (m !== "error") pairs.push([errorBeside(m, ESTIMATED), errors[j][i]]);
        if (statuses[j][i] !== "ok") pairs.push(["status", statusOf(statuses[j][i])]);
        return said(pairs);
      },
    });
  }

  /** Tell all that was estimated of a window at a horizon. */
  async function tell(i, j) {
    const at = [name, series.dates[i], series.horizons[j]];
    const inputs = NAMES.map((one, k) => [one, at[k]]);
    const known = { [m]: series.values[j][i], error: series.errors[j][i] };
    fill(inputs, { ...known, status: series.statuses[j][i] });
    const mine = ++asked;
    // A pointer passes over many points on its way.
    await new Promise((resume) => { setTimeout(resume, WAIT_MS); });
    if (mine !== asked) return;
    try {
      const found = await api.cells(run.id, Object.fromEntries(inputs), { limit: 1 });
      if (mine !== asked) return;
      fill(inputs, Object.fromEntries(
        Object.entries(found.columns).map(([column, [value]]) => [column, value])));
    } catch (error) {
      if (mine === asked) note.textContent = error.message;
    }
  }

  function fill(inputs, row) {
    const told = (one) => {
      if (!(one in row)) return "…";
      return one === "status" ? statusOf(row[one]) : exact(row[one]);
    };
    const called = (one) => (one === "error" ? errorBeside("", ESTIMATED) : one);
    cell.replaceChildren(
      terms(inputs.map(([one, value]) => [one, exact(value)]), "inputs"),
      terms([...shown, "status"].map((one) => [one, told(one), called(one)])),
    );
  }

  return {
    update,
    further() { if (state && (!series || series.missing)) draw(); },
    redraw: pictures.redraw,
    leave() { turn = asked = -1; },
  };
}
