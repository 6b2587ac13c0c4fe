// Two-dimensional slices of a grid, each fetched once.

import * as api from "./api.js";

// A picture has some 900 pixels a side; a slice is thinned to what can be seen.
const MOST_CELLS = 40000;
const MOST_KEPT = 4e6;
const PREFETCHED_CELLS = 400000;

/** The text by which a query names a value. */
export const named = (value) => String(value);

/** Every n-th value, the last included, so that no more than `most` are left. */
function thinned(values, most) {
  if (values.length <= most) return values;
  const step = (values.length - 1) / (most - 1);
  return Array.from({ length: most }, (_, i) => values[Math.round(i * step)]);
}

/** The values that a slice shows of its axes. */
export function shownValues(x, y) {
  let most = [x.values.length, y ? y.values.length : 1];
  if (most[0] * most[1] > MOST_CELLS) {
    const side = Math.floor(Math.sqrt(MOST_CELLS));
    if (most[0] <= side) most = [most[0], Math.floor(MOST_CELLS / most[0])];
    else if (most[1] <= side) most = [Math.floor(MOST_CELLS / most[1]), most[1]];
    else most = [side, side];
  }
  return [thinned(x.values, most[0]), y ? thinned(y.values, most[1]) : [null]];
}

/**
 * The slices of one run; the least recently used are dropped.
 *
 * `axes` are `{name, values, count}`; `values` may be some of the `count` that the run has.
 */
export class Slices {
  #kept = new Map();
  #held = 0;
  #ahead = 0;

  constructor(run, axes) {
    this.run = run;
    this.axes = axes;
  }

  /** What a query of the slice would be given: `x` and `y` run, other axes stand at `at`. */
  selection(x, y, at) {
    const [xs, ys] = shownValues(x, y);
    const selection = {};
    for (const axis of this.axes) {
      if (axis === x || axis === y) {
        const shown = axis === x ? xs : ys;
        if (shown.length < axis.count) selection[axis.name] = shown.map(named).join(",");
      } else if (axis.count > 1) {
        selection[axis.name] = named(at[axis.name]);
      }
    }
    return selection;
  }

  /**
   * Fetch `{x, y, columns, missing}`; each column is a list of rows, one for a value of y, with null
   * in each of the `missing` cells, which are not priced yet.
   */
  get(x, y, at, measures) {
    const selection = this.selection(x, y, at);
    const key = JSON.stringify([x.name, y?.name, selection, measures]);
    let slice = this.#kept.get(key);
    if (slice) {
      this.#kept.delete(key);
      this.#kept.set(key, slice);
      return slice;
    }
    const [xs, ys] = shownValues(x, y);
    const size = xs.length * ys.length * (measures.length + 2);
    slice = this.#fetch(x, y, xs, ys, selection, measures);
    this.#kept.set(key, slice);
    this.#held += size;
    slice.size = size;
    slice.then(({ missing }) => { slice.isPartial = missing > 0; }, () => {});
    slice.catch(() => this.#drop(key, slice));
    for (const [oldest, other] of this.#kept) {
      if (this.#held <= MOST_KEPT || other === slice) break;
      this.#drop(oldest, other);
    }
    return slice;
  }

  /** Forget what was not all priced when it was fetched. */
  refresh() {
    for (const [key, slice] of this.#kept) if (slice.isPartial) this.#drop(key, slice);
  }

  #drop(key, slice) {
    if (this.#kept.get(key) !== slice) return;
    this.#kept.delete(key);
    this.#held -= slice.size;
  }

  async #fetch(x, y, xs, ys, selection, measures) {
    const limit = xs.length * ys.length;
    const answer = await api.cells(this.run, selection, { measures: measures.join(","), limit });
    // Rows come in the order of the file's axes, the last one fastest.
    const across = y && this.axes.indexOf(x) < this.axes.indexOf(y);
    const columns = {};
    for (const name of [...measures, "error", "status"]) {
      const flat = answer.columns[name];
      columns[name] = ys.map((_, j) =>
        xs.map((_, i) => flat[across ? i * ys.length + j : j * xs.length + i]),
      );
    }
    return { x: xs, y: ys, columns, missing: answer.missing };
  }

  /** Fetch the slices around `at`, nearest first, until something else is asked for. */
  async ahead(x, y, at, measures) {
    const turn = ++this.#ahead;
    const [xs, ys] = shownValues(x, y);
    let budget = Math.floor(PREFETCHED_CELLS / (xs.length * ys.length));
    const around = [];
    for (const axis of this.axes) {
      if (axis === x || axis === y) continue;
      const here = axis.values.findIndex((value) => named(value) === named(at[axis.name]));
      axis.values.forEach((value, i) => {
        if (i !== here) around.push([Math.abs(i - here), { ...at, [axis.name]: value }]);
      });
    }
    around.sort(([a], [b]) => a - b);
    for (const [, there] of around) {
      if (turn !== this.#ahead || budget-- <= 0) return;
      try {
        await this.get(x, y, there, measures);
      } catch {
        return;
      }
    }
  }
}
