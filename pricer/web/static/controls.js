// Which slice of a grid is shown: two axes, and where the others stand.

import { choice, exact, field, h, spoken } from "./dom.js";
import { named } from "./slices.js";

// What a surface is mostly looked at along.
const FIRST = ["spot", "strike"];
const SECOND = ["expiry", "vol", "strike"];

/** The axes that have more than one value. */
export const swept = (axes) => axes.filter((axis) => axis.values.length > 1);

function preferred(axes, names) {
  const found = names.map((name) => axes.find((axis) => axis.name === name)).find(Boolean);
  return found ?? [...axes].sort((a, b) => b.values.length - a.values.length)[0];
}

/** The axes that `state` shows, x and y; y is undefined where only one has several values. */
function chosen(axes, state) {
  const free = swept(axes);
  const by = (name) => free.find((axis) => axis.name === name);
  const x = by(state.x) ?? preferred(free.filter((axis) => axis.name !== state.y), FIRST) ?? axes[0];
  const rest = free.filter((axis) => axis !== x);
  return [x, rest.find((axis) => axis.name === state.y) ?? preferred(rest, SECOND)];
}

/** Where an axis stands: at the value that `text` names, else in the middle (words: at the first). */
export function standing(axis, text) {
  const there = axis.values.findIndex((value) => named(value) === text);
  if (there >= 0) return there;
  return typeof axis.values[0] === "string" ? 0 : Math.floor((axis.values.length - 1) / 2);
}

/**
 * Make the controls of a slice.
 *
 * `update(state)` brings them to a state and returns what it means: the axes `x` and `y`, the
 * measure `m`, and `at`, the values of the other axes. `go` takes what changes; `scales` offers
 * colours that span the whole run.
 */
export function controls(axes, measures, go, { scales = true } = {}) {
  const picks = h("div", { class: "fields" });
  const sliders = h("div", { class: "fields" });
  const element = h("div", { class: "controls" }, picks, sliders);
  let built = "";
  let movers = [];

  function update(state) {
    const [x, y] = chosen(axes, state);
    const m = measures.includes(state.m) ? state.m : measures[0];
    const key = JSON.stringify([x.name, y?.name, m, state.scale]);
    if (key !== built) build(key, x, y, m, state);
    const at = {};
    for (const axis of axes) {
      if (axis !== x && axis !== y) at[axis.name] = axis.values[standing(axis, state.at[axis.name])];
    }
    for (const [axis, , stand] of movers) stand(standing(axis, state.at[axis.name]));
    return { x, y, m, at };
  }

  function build(key, x, y, m, state) {
    built = key;
    const focused = document.activeElement?.dataset?.control;
    const names = swept(axes).map((axis) => axis.name);
    const step = (patch) => go(patch, { step: true });
    const axesAre = (across, up) => step({ x: across, y: up });
    const fields = [choice("Show", measures, m, (name) => step({ m: name }))];
    if (y) {
      // Taking the other's axis swaps the two.
      fields.unshift(
        choice("Across", names, x.name, (name) => axesAre(name, name === y.name ? x.name : y.name)),
        choice("Up", names, y.name, (name) => axesAre(name === x.name ? y.name : x.name, name)),
      );
    }
    if (y && scales) {
      const scale = h("input", {
        type: "checkbox", "data-control": "scale", checked: state.scale === "run",
        onchange: () => go({ scale: scale.checked ? "run" : "" }),
      });
      fields.push(h("label", { class: "check" }, scale, "Colours span the whole run"));
    }
    picks.replaceChildren(...fields);
    movers = swept(axes).filter((axis) => axis !== x && axis !== y)
      .map((axis) => [axis, ...mover(axis, (text) => go({ at: { [axis.name]: text } }))]);
    sliders.replaceChildren(...movers.map(([, one]) => one));
    if (focused) element.querySelector(`[data-control="${CSS.escape(focused)}"]`)?.focus();
  }

  return { element, update };
}

/** A slider, or a select for words; `moved` gets the value's text. Returns it and what sets it. */
export function mover(axis, moved, title = spoken(axis.name)) {
  if (typeof axis.values[0] === "string") {
    const words = choice(title, axis.values.map((value) => [value, value]), axis.values[0], moved);
    const select = words.querySelector("select");
    return [words, (at) => { select.selectedIndex = at; }];
  }
  const output = h("strong", {});
  const input = h("input", {
    type: "range", min: 0, max: axis.values.length - 1, step: 1,
    oninput: () => {
      stand(Number(input.value));
      moved(named(axis.values[Number(input.value)]));
    },
  });
  function stand(at) {
    input.value = at;
    output.textContent = exact(axis.values[at]);
    input.setAttribute("aria-valuetext", output.textContent);
  }
  return [field(title, input, output), stand];
}
