// What differs between two grids, on the values that both have.

import { controls, mover, standing, swept } from "./controls.js";
import { brief, choice, download, exact, h, spoken, terms } from "./dom.js";
import { figure } from "./figure.js";
import { said } from "./plots.js";
import { Slices } from "./slices.js";

// As queries match them.
const SAME = 1e-9;
const same = (a, b) =>
  a === b || (typeof a === "number" && Math.abs(a - b) <= SAME * Math.max(Math.abs(a), Math.abs(b)));

/** What the sum of both errors, which are those of prices, is called beside measure `m`. */
const together = (m) => (m === "price" ? "errors together" : "errors of prices together");

/** Each axis of one grid with the values that the other has too; all of them where it has none. */
function common(mine, theirs) {
  return mine.map((axis) => {
    const other = theirs.find(({ name }) => name === axis.name);
    const both = axis.values.filter((a) => other?.values.some((b) => same(a, b)));
    return { ...axis, values: both.length ? both : axis.values, shared: both.length > 0 };
  });
}

/** Show the difference of `run` and the run that the state compares `with`, in `root`. */
export function compare(root, run, go, runs) {
  const note = h("p", { class: "note", role: "status" });
  const body = h("div", {});
  const picker = h("div", { class: "fields" });
  root.replaceChildren(h("div", { class: "controls" }, picker), note, body);
  let pair = null, turn = 0, offered = "", last = null;

  function offer(state) {
    const others = runs.list().filter((other) => other.run !== run.id && other.state === "complete");
    const options = [["", "choose a run"], ...others.map((other) =>
      [brief(other.run), `${other.name || "run"} · ${brief(other.run)}`])];
    const key = JSON.stringify(options);
    if (key !== offered) {
      offered = key;
      const choose = (id) => go({ with: id }, { step: true });
      picker.replaceChildren(choice("This run minus", options, "", choose));
    }
    picker.querySelector("select").value = state.with ?? "";
  }

  async function update(state) {
    const mine = ++turn;
    last = state;
    offer(state);
    if (!state.with) {
      pair = null;
      body.replaceChildren();
      note.textContent = "Choose a second run: what is shown is this run minus that one.";
      return;
    }
    try {
      if (pair?.with !== state.with) {
        const other = await runs.load(state.with);
        if (mine !== turn) return;
        pair = null;
        if (other.shape.kind !== "grid") {
          body.replaceChildren();
          note.textContent = "Only grids have axes on which they can be compared.";
          return;
        }
        pair = { with: state.with, ...difference(body, run, other, go) };
      }
      const said = await pair.update(state, () => mine === turn);
      if (mine === turn) note.textContent = said;
    } catch (error) {
      if (mine === turn) note.textContent = error.message;
    }
  }

  return {
    update,
    further() { if (pair?.refresh()) update(last); },
    redraw: () => pair?.redraw(),
    leave() { turn = -1; },
  };
}

function difference(body, run, other, go) {
  const mine = common(run.shape.axes, other.shape.axes);
  const theirs = common(other.shape.axes, run.shape.axes);
  const shared = mine.filter((axis) => axis.shared);
  const measures = run.shape.measures.filter((m) => other.shape.measures.includes(m));
  if (!swept(shared).length || !measures.length) {
    body.replaceChildren();
    const why = "These two grids have no axis with two values, or no measure, in common.";
    return { update: () => why, refresh: () => false, redraw() {} };
  }
  const slices = [new Slices(run.id, mine), new Slices(other.id, theirs)];
  const choices = controls(shared, measures, go, { scales: false });
  // An axis with no value in common stands where each run has it.
  const sides = [[mine, "at", "of this run"], [theirs, "other", "of the other"]];
  const own = sides.flatMap(([axes, place, whose]) =>
    swept(axes.filter((axis) => !axis.shared)).map((axis) => {
      const moved = (text) => go({ [place]: { [axis.name]: text } });
      const [control, stand] = mover(axis, moved, `${spoken(axis.name)} ${whose}`);
      return { control, stand: (state) => stand(standing(axis, state[place][axis.name])) };
    }));
  const cell = h("div", { class: "cell", id: "cell" });
  const pictures = figure(tell);
  const save = h("button", { type: "button", id: "csv", onclick: csv }, "CSV of the difference");
  body.replaceChildren(
    choices.element, h("div", { class: "controls fields" }, own.map(({ control }) => control)),
    pictures.element, cell, h("div", { class: "downloads" }, save, pictures.saves(() => name())),
  );
  let shown = null;

  const name = () => `${brief(run.id)}-minus-${brief(other.id)}-${shown.m}`;

  /** Draw what `state` means unless something else is, by then; return what is to be said. */
  async function update(state, isCurrent) {
    const { x, y, m, at } = choices.update(state);
    for (const { stand } of own) stand(state);
    const stands = sides.map(([axes, place]) => Object.fromEntries(axes.map((axis) =>
      [axis.name, at[axis.name] ?? axis.values[standing(axis, state[place][axis.name])]])));
    const asked = slices.map((some, k) => {
      const [across, up] = [x, y].map((axis) => some.axes.find(({ name }) => name === axis?.name));
      return [some, across, up, stands[k], [m]];
    });
    const [a, b] = await Promise.all(asked.map(([some, ...what]) => some.get(...what)));
    if (!isCurrent()) return "";
    const z = a.columns[m].map((row, j) => row.map((value, i) => {
      const less = b.columns[m][j][i];
      return value === null || less === null ? null : value - less;
    }));
    const errors = a.columns.error.map((row, j) => row.map((e, i) => {
      const more = b.columns.error[j][i];
      return e === null || more === null ? null : e + more;
    }));
    shown = { x, y, m, a, b, z, errors, stands };
    await pictures.show({
      x: { name: x.name, values: a.x }, y: y ? { name: y.name, values: a.y } : null,
      z, name: "difference", signed: true,
      text(i, j) {
        const pairs = [[x.name, a.x[i]]];
        if (y) pairs.push([y.name, a.y[j]]);
        return said([...pairs, ["difference", z[j][i]], [together(m), errors[j][i]]]);
      },
    });
    if (a.missing || b.missing) return `${differing(stands)} Not all of it is priced yet.`;
    for (const [some, ...what] of asked) some.ahead(...what);
    return differing(stands);
  }

  /** Forget what was not all priced; tell whether anything of that is shown. */
  function refresh() {
    for (const some of slices) some.refresh();
    return shown !== null && shown.a.missing + shown.b.missing > 0;
  }

  /** Say in which inputs the two differ where they stand. */
  function differing([a, b]) {
    const all = [{ ...run.shape.fixed, ...a }, { ...other.shape.fixed, ...b }];
    const names = new Set(all.flatMap(Object.keys));
    const pairs = [...names].filter((n) => !same(all[0][n], all[1][n]))
      .map((n) => `${spoken(n)} ${exact(all[0][n])} here, ${exact(all[1][n])} there`);
    const what = pairs.length ? pairs.join("; ") : "the same inputs in both";
    const [here, there] = [run, other].map(({ shape, id }) => shape.name || brief(id));
    return `${here} minus ${there}: ${what}.`;
  }

  function tell(i, j) {
    const { x, y, m, a, b, z, errors, stands } = shown;
    const inputs = [[x.name, a.x[i]]];
    if (y) inputs.push([y.name, a.y[j]]);
    for (const axis of shared) {
      if (axis !== x && axis !== y) inputs.push([axis.name, stands[0][axis.name]]);
    }
    const values = [
      ["this run", a.columns[m][j][i]], ["the other", b.columns[m][j][i]],
      ["difference", z[j][i]], [together(m), errors[j][i]],
    ];
    if (m === "price" && z[j][i] !== null) {
      const isWithin = Math.abs(z[j][i]) <= errors[j][i];
      values.push(["which is", isWithin ? "within the errors" : "beyond the errors"]);
    }
    const told = ([called, value]) => [called, exact(value)];
    cell.replaceChildren(terms(inputs.map(told), "inputs"), terms(values.map(told)));
  }

  function csv() {
    const { x, y, m, a, b, z, stands } = shown;
    const quoted = (v) => (/[",\n]/.test(v) ? `"${v.replaceAll('"', '""')}"` : v);
    const text = (v) => (v === null ? "" : quoted(String(v)));
    const rest = shared.filter((axis) => axis !== x && axis !== y);
    const head = [x, y, ...rest].filter(Boolean).map((axis) => axis.name);
    const lines = [[...head, m, `${m}_other`, "difference", "error", "error_other"].join(",")];
    z.forEach((row, j) => row.forEach((value, i) => {
      const inputs = [a.x[i], ...(y ? [a.y[j]] : []), ...rest.map((axis) => stands[0][axis.name])];
      const here = [a.columns, b.columns].map((columns) => columns[m][j][i]);
      const errors = [a.columns, b.columns].map((columns) => columns.error[j][i]);
      const values = [...here, value, ...errors];
      lines.push([...inputs, ...values].map(text).join(","));
    }));
    download(`${name()}.csv`, `${lines.join("\n")}\n`);
  }

  return { update, refresh, redraw: pictures.redraw };
}
