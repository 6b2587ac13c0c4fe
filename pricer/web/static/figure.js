// A heat map and curves through it, with one cell that the pointer or the arrow keys choose.

import { h, short } from "./dom.js";
import { aloud, curves, heatMap, onPoint, point, pointOnLine, save } from "./plots.js";

const LINES = 6;
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

/**
 * Make the two pictures; `moved(i, j)` is told which cell is chosen.
 *
 * `show(data)` draws `x` and `y` (`{name, values}`; no y: curves alone), `z` (rows) of what is
 * called `name`, `text(i, j)` for the pointer, and where there are any `line` (points on the
 * map), `range` (of the colours; `signed` where 0 is their middle), `band(j)` (errors along a
 * curve) and `edge(j)` (a point on it). Without a map there are curves alone.
 */
export function figure(moved, { hasMap = true } = {}) {
  const map = h("div", { class: "plot", id: "map", "aria-hidden": "true" });
  const lines = h("div", { class: "plot", id: "curves", "aria-hidden": "true" });
  const frame = h("div", { class: "frame" }, map);
  const announced = h("p", { class: "unseen", "aria-live": "polite" });
  const element = h("div", {
    class: "pictures", id: "figure", tabindex: 0, role: "application", onkeydown: step,
    "aria-label": "Pictures. Arrow keys go from cell to cell; its values are below.",
  }, frame, h("div", { class: "frame" }, lines), announced);
  let data, here = null, waiting = 0;
  const mapped = () => hasMap && data.y;

  async function show(next) {
    data = next;
    const [nx, ny] = [data.x.values.length, data.z.length];
    if (!here || here.i >= nx || here.j >= ny) here = { i: nx >> 1, j: ny >> 1 };
    frame.hidden = !mapped();
    element.classList.toggle("single", !mapped());
    moved(here.i, here.j);
    await Promise.all([drawMap(), drawCurves()]);
  }

  async function drawMap() {
    if (!mapped()) return;
    const texts = data.z.map((row, j) => row.map((_, i) => data.text(i, j)));
    await heatMap(map, { ...data, texts });
    onPoint(map, ({ points: [found] }) => {
      const [j, i] = found.pointIndex ?? found.pointNumber;
      move(i, j);
    });
  }

  async function drawCurves() {
    const { x, y, z } = data;
    const last = z.length - 1;
    const some = last < LINES ? z.map((_, j) => j)
      : Array.from({ length: LINES }, (_, k) => Math.round((k * last) / (LINES - 1)));
    const picked = [...new Set([...some, here.j])].sort((a, b) => a - b);
    await curves(lines, {
      x, y: data.name, by: y?.name,
      lines: picked.map((j) => ({
        name: y ? short(y.values[j]) : "", row: j, x: x.values, y: z[j],
        place: last ? j / last : 0.5, strong: last > 0 && j === here.j,
        texts: x.values.map((_, i) => data.text(i, j)),
        band: data.band?.(j), edge: data.edge?.(j),
      })),
    });
    onPoint(lines, ({ points: [found] }) => move(found.pointNumber, found.customdata));
  }

  function move(i, j) {
    if (i === undefined || j === undefined || (here.i === i && here.j === j)) return;
    const another = here.j !== j;
    here = { i, j };
    moved(i, j);
    if (another && data.y) {
      cancelAnimationFrame(waiting);
      waiting = requestAnimationFrame(drawCurves);
    }
  }

  function step(event) {
    const by = STEPS[event.key];
    if (!by || !data || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const within = (value, length) => Math.min(Math.max(value, 0), length - 1);
    const i = within(here.i + by[0], data.x.values.length);
    const j = within(here.j + by[1], data.z.length);
    move(i, j);
    announced.textContent = aloud(data.text(i, j));
    if (mapped()) point(map, data.x.values[i], data.y.values[j]);
    else pointOnLine(lines, j, i);
  }

  /** Buttons that save the pictures under what `name()` gives. */
  function saves(name) {
    const button = (text, picture, what) =>
      h("button", { type: "button", onclick: () => save(picture, `${name()}-${what}`) }, text);
    const ofLines = button("PNG of the curves", lines, "curves");
    return hasMap ? [button("PNG of the map", map, "map"), ofLines] : [ofLines];
  }

  return { element, show, saves, redraw: () => data && Promise.all([drawMap(), drawCurves()]) };
}
