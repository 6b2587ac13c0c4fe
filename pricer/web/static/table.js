// The rows of a run, a page at a time.

import * as api from "./api.js";
import { brief, count, exact, h, spoken, statusOf, unpriced } from "./dom.js";

const ROWS = 100;
// A table of more makes a browser slow; a file is better then.
const MOST_ROWS = 5000;

/** Show the rows of `run` in `root`, all of them one after the other. */
export function table(root, run) {
  const note = h("p", { class: "note", role: "status" });
  const head = h("thead", {});
  const rows = h("tbody", {});
  const more = h("button", { type: "button", hidden: true, onclick: () => next() }, `${ROWS} more`);
  const csv = h("a", { class: "button", download: `${brief(run.id)}.csv` }, "CSV of these rows");
  root.replaceChildren(note,
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of rows" },
      h("table", {}, head, rows)),
    h("div", { class: "downloads" }, more, csv));
  let shown = 0, missing = 0, going = false, left = false;

  /** Show the next rows; `again`, those that are shown, once more. */
  async function next(again = false) {
    if (going) return;
    going = true;
    const offset = again ? 0 : shown;
    try {
      const limit = again ? Math.max(shown, ROWS) : ROWS;
      const answer = await api.cells(run.id, {}, { limit, offset });
      if (left) return;
      if (!offset) {
        rows.replaceChildren();
        missing = 0;
      }
      missing += answer.missing;
      shown = offset + answer.rows;
      fill(answer.columns, answer.rows);
      csv.href = api.cellsUrl(run.id, {}, { format: "csv", limit: shown });
      more.hidden = shown >= Math.min(answer.total, MOST_ROWS);
      const counted = `${count(shown)} of ${count(answer.total)} rows.`;
      note.textContent = `${counted} ${unpriced(missing, shown)}`;
    } catch (error) {
      note.textContent = error.message;
    } finally {
      going = false;
    }
  }

  function fill(columns, found) {
    const names = Object.keys(columns);
    const kinds = names.map((name) =>
      (columns[name].some((value) => typeof value === "number") ? "number" : null));
    head.replaceChildren(h("tr", {}, names.map((name, i) =>
      h("th", { scope: "col", class: kinds[i] }, spoken(name)))));
    const text = (name, i) => {
      const value = columns[name][i];
      if (value === null) return name === "status" ? statusOf(value) : "";
      return exact(value);
    };
    for (let i = 0; i < found; i += 1) {
      rows.append(h("tr", {}, names.map((name, k) =>
        h(k ? "td" : "th", { class: kinds[k], scope: k ? null : "row" }, text(name, i)))));
    }
  }

  return {
    update() { if (!shown) next(); },
    further() { if (!shown || missing) next(true); },
    redraw() {},
    leave() { left = true; },
  };
}
