// The rows of a run, a page at a time.

import * as api from "./api.js";
import { brief, count, exact, h, spoken } from "./dom.js";

const ROWS = 100;
// A table of more makes a browser slow; a file is better then.
const MOST_ROWS = 5000;

const text = (value) => (value === null ? "" : exact(value));

/** Show the rows of `run` in `root`, all of them one after the other. */
export function table(root, run) {
  const note = h("p", { class: "note", role: "status" });
  const head = h("thead", {});
  const rows = h("tbody", {});
  const more = h("button", { type: "button", hidden: true, onclick: () => next() }, `${ROWS} more`);
  const csv = h("a", { class: "button", download: `${brief(run.id)}.csv` }, "CSV of these rows");
  root.replaceChildren(note,
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Rows" },
      h("table", {}, head, rows)),
    h("div", { class: "downloads" }, more, csv));
  let offset = 0, going = false, left = false;

  async function next() {
    if (going) return;
    going = true;
    try {
      const { columns, total } = await api.cells(run.id, {}, { limit: ROWS, offset });
      if (left) return;
      const names = Object.keys(columns);
      const numeric = names.map((name) => columns[name].some((value) => typeof value === "number"));
      if (!offset) {
        head.replaceChildren(h("tr", {}, names.map((name, i) =>
          h("th", { scope: "col", class: numeric[i] ? "number" : null }, spoken(name)))));
      }
      const found = columns[names[0]].length;
      for (let i = 0; i < found; i += 1) {
        rows.append(h("tr", {}, names.map((name, k) =>
          h("td", { class: numeric[k] ? "number" : null }, text(columns[name][i])))));
      }
      offset += found;
      csv.href = api.cellsUrl(run.id, {}, { format: "csv", limit: offset });
      more.hidden = offset >= Math.min(total, MOST_ROWS);
      note.textContent = `${count(offset)} of ${count(total)} rows`;
    } catch (error) {
      note.textContent = error.status === 409 ? "These rows are not priced yet." : error.message;
    } finally {
      going = false;
    }
  }

  return {
    update() { if (!offset) next(); },
    further() { if (!offset) next(); },
    redraw() {},
    leave() { left = true; },
  };
}
