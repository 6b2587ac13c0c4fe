// What is shown, kept in the address: it can be shared, and the back button works.

const PLAIN = ["run", "view", "x", "y", "m", "by", "with", "scale"];

/** Read the address: `at` holds axes' values by name, `other` those of the run compared with. */
export function read() {
  const state = { at: {}, other: {} };
  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
    const [place, ...axis] = name.split(".");
    if (axis.length && (place === "at" || place === "other")) state[place][axis.join(".")] = value;
    else if (PLAIN.includes(name)) state[name] = value;
  }
  return state;
}

/** The address of a state. */
export function address(state) {
  const query = new URLSearchParams();
  for (const name of PLAIN) if (state[name]) query.set(name, state[name]);
  for (const place of ["at", "other"]) {
    for (const [axis, value] of Object.entries(state[place] ?? {})) {
      query.set(`${place}.${axis}`, value);
    }
  }
  return `#${query}`;
}

let waiting = 0;

/** Write the address; `step` makes a place to come back to, without it the place is replaced. */
export function write(state, step) {
  clearTimeout(waiting);
  const url = address(state);
  if (url === location.hash) return;
  if (step) history.pushState(null, "", url);
  // Browsers limit how often this may be called, and a slider moves more often.
  else waiting = setTimeout(() => history.replaceState(null, "", url), 200);
}
