// A grid's surface: a heat map, curves through it, and the exact values of one cell.

import * as api from "./api.js";
import { edges } from "./boundary.js";
import { controls } from "./controls.js";
import { brief, count, errorBeside, exact, h, spoken, statusOf, terms, unpriced } from "./dom.js";
import { figure } from "./figure.js";
import { rangeOf, said } from "./plots.js";
import { named, shownValues } from "./slices.js";

/** Show the surface of `run` in `root`; `go` changes the state. */
export function surface(root, run, go) {
  const { axes, measures } = run.shape;
  const shown = [...measures, "error"];
  const choices = controls(axes, shown, go);
  const note = h("p", { class: "note", role: "status" });
  const cell = h("div", { class: "cell", id: "cell" });
  const csv = h("a", { class: "button", id: "csv", download: "" }, "CSV of this slice");
  const pictures = figure(tellCell);
  root.replaceChildren(choices.element, note, pictures.element, cell,
    h("div", { class: "downloads" }, csv, pictures.saves(() => called("slice"))));

  let state, x, y, m, at, slice, edgesOf, turn = 0, asked = 0;

  const called = (what) =>
    `${run.shape.name || brief(run.id)} ${m} ${what}`.replaceAll(/[^\w.]+/g, "-");

  function update(next) {
    state = next;
    ({ x, y, m, at } = choices.update(state));
    const limit = shownValues(x, y).reduce((size, some) => size * some.length, 1);
    csv.href = api.cellsUrl(run.id, run.slices.selection(x, y, at), { format: "csv", limit });
    csv.download = `${called("slice")}.csv`;
    draw();
  }

  async function draw() {
    const mine = ++turn;
    const needed = measures.includes("price") ? ["price"] : [];
    if (m !== "error" && m !== "price") needed.push(m);
    if (!needed.length) needed.push(measures[0]);
    if (spreadOf(m)) needed.push(spreadOf(m));
    try {
      const found = await run.slices.get(x, y, at, needed);
      // A slider that has moved on meanwhile draws what it stands at now.
      if (mine !== turn) return;
      slice = found;
      const isEmpty = slice.missing === slice.x.length * slice.y.length;
      pictures.element.hidden = cell.hidden = isEmpty;
      if (isEmpty) {
        note.textContent = "Nothing of this slice is priced yet. It appears as soon as it is.";
        return;
      }
      edgesOf = boundary();
      note.textContent = remarks();
      await show();
      if (!slice.missing) run.slices.ahead(x, y, at, needed);
    } catch (error) {
      if (mine !== turn) return;
      slice = null;
      pictures.element.hidden = cell.hidden = true;
      note.textContent = error.message;
    }
  }

  function remarks() {
    const parts = [];
    for (const [axis, some] of [[x, slice.x], [y, slice.y]]) {
      const all = axis?.values.length;
      if (some.length < all) {
        parts.push(`${count(some.length)} of ${count(all)} values of ${spoken(axis.name)} are shown.`);
      }
    }
    const statuses = slice.columns.status.flat();
    const bad = statuses.filter((status) => status !== null && status !== "ok").length;
    if (slice.missing) parts.push(unpriced(slice.missing, statuses.length));
    if (bad) parts.push(`${count(bad)} of ${count(statuses.length)} cells are not ok.`);
    if (edgesOf) {
      parts.push("The white line is the exercise boundary: beyond it, price is intrinsic value.");
    }
    return parts.join(" ");
  }

  /** The measure that is the standard error of `name`, of a simulated greek. */
  function spreadOf(name) {
    const spread = `${name}_standard_error`;
    return measures.includes(spread) ? spread : null;
  }

  /** Half the width of the band around curve `j`, where it can be seen. */
  function band(j) {
    const { error } = slice.columns;
    const spread = slice.columns[spreadOf(m)];
    const half = m === "price" ? error[j] : spread?.[j].map((one) => 2 * one);
    const [low, high] = rangeOf(slice.columns[m]);
    // Narrower than this a band would lie under its curve.
    return half && Math.max(...half) > 0.003 * (high - low) ? half : null;
  }

  /** An input's value in a cell of the slice. */
  function input(name, i, j) {
    if (name === x.name) return slice.x[i];
    if (name === y?.name) return slice.y[j];
    return name in at ? at[name] : run.shape.fixed[name];
  }

  function boundary() {
    if (run.shape.type !== "vanilla" || !slice.columns.price) return null;
    if (x.name !== "spot" && y?.name !== "spot") return null;
    const spotIsX = x.name === "spot";
    const found = edges(slice, spotIsX, (name, line) =>
      input(name, spotIsX ? 0 : line, spotIsX ? line : 0));
    return found.some(Boolean) ? found : null;
  }

  function show() {
    const spotIsX = x.name === "spot";
    const { error, status } = slice.columns;
    const spread = state.scale === "run" ? run.status.measures[m] : null;
    return pictures.show({
      x: { name: x.name, values: slice.x },
      y: y ? { name: y.name, values: slice.y } : null,
      z: slice.columns[m], name: m,
      range: spread ? [spread.min, spread.max] : null,
      line: edgesOf?.map((edge, k) =>
        spotIsX ? { x: edge?.at ?? null, y: slice.y[k] } : { x: slice.x[k], y: edge?.at ?? null }),
      text(i, j) {
        const pairs = [[x.name, slice.x[i]]];
        if (y) pairs.push([y.name, slice.y[j]]);
        if (m !== "error") pairs.push([m, slice.columns[m][j][i]]);
        const spreadName = spreadOf(m);
        if (spreadName) pairs.push([spreadName, slice.columns[spreadName][j][i]]);
        pairs.push([errorBeside(m), error[j][i]]);
        if (status[j][i] !== "ok") pairs.push(["status", statusOf(status[j][i])]);
        return said(pairs);
      },
      band,
      edge(j) {
        const edge = m === "price" && spotIsX && edgesOf?.[j];
        return edge ? { x: edge.at, y: Math.abs(edge.at - input("strike", 0, j)) } : null;
      },
    });
  }

  /** Tell a cell's inputs and values: what the slice has at once, the rest when it comes. */
  async function tellCell(i, j) {
    const inputs = axes.map((axis) => [axis.name, input(axis.name, i, j)]);
    const known = Object.entries(slice.columns).map(([name, rows]) => [name, rows[j][i]]);
    fill(inputs, Object.fromEntries(known));
    const mine = ++asked;
    // A pointer passes over many cells on its way.
    await new Promise((resume) => { setTimeout(resume, 60); });
    if (mine !== asked) return;
    try {
      const selection = Object.fromEntries(inputs.map(([name, value]) => [name, named(value)]));
      const { columns } = await api.cells(run.id, selection, { limit: 1 });
      if (mine !== asked) return;
      fill(inputs, Object.fromEntries(Object.entries(columns).map(([name, [value]]) => [name, value])));
    } catch (error) {
      if (mine === asked) note.textContent = error.message;
    }
  }

  function told(row, name) {
    if (!(name in row)) return "…";
    return name === "status" ? statusOf(row[name]) : exact(row[name]);
  }

  function fill(inputs, row) {
    cell.replaceChildren(
      terms(inputs.map(([name, value]) => [name, exact(value)]), "inputs"),
      terms([...measures, "error", "status"].map((name) => [name, told(row, name)])),
    );
  }

  return {
    update,
    /** The run has got further: what was not priced may be there now. */
    further() {
      if (!state || (slice && !slice.missing)) return;
      run.slices.refresh();
      draw();
    },
    redraw: pictures.redraw,
    leave() { turn = asked = -1; },
  };
}
