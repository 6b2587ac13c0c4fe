// Where an American option is exercised now: its price is its intrinsic value, within its error.

/**
 * Find the edge of exercise along one line of spots.
 *
 * Returns `{at, exercised, held}`: the two neighbouring spots between which the edge lies, and
 * where between them; null where no spot is exercised or none is held.
 */
export function edge(spots, prices, errors, strike, right) {
  const sign = right === "put" ? -1 : 1;
  const payoff = (i) => sign * (spots[i] - strike);
  // From where the option is out of the money, inwards.
  const order = spots.map((_, i) => (sign < 0 ? spots.length - 1 - i : i));
  const isExercised = (i) =>
    prices[i] !== null && payoff(i) > 0 && prices[i] - payoff(i) <= errors[i];
  const first = order.findIndex(isExercised);
  // What is not priced on the way may be exercised too.
  if (first < 1 || order.slice(0, first).some((i) => prices[i] === null)) return null;
  const [exercised, held, next] = [order[first], order[first - 1], order[first - 2]];
  return { at: between(), exercised: spots[exercised], held: spots[held] };

  function between() {
    const known = [held, next].every((i) => i !== undefined && payoff(i) > 0 && prices[i] !== null);
    const middle = (spots[exercised] + spots[held]) / 2;
    if (!known) return middle;
    // Time value grows with the square of the distance from the edge, so its root is straight.
    const [near, far] = [held, next].map((i) => Math.sqrt(Math.max(0, prices[i] - payoff(i))));
    if (!(far > near)) return middle;
    const at = spots[held] - (near * (spots[next] - spots[held])) / (far - near);
    const ends = [spots[exercised], spots[held]].sort((a, b) => a - b);
    return Math.min(Math.max(at, ends[0]), ends[1]);
  }
}

/**
 * The edges of a slice that has the spot on one of its axes, one for each value of the other.
 *
 * `input(name, line)` gives an input's value on a line of the slice, or undefined.
 */
export function edges(slice, spotIsX, input) {
  const { price, error } = slice.columns;
  const spots = spotIsX ? slice.x : slice.y;
  const others = spotIsX ? slice.y : slice.x;
  return others.map((_, line) => {
    const along = (rows) => spots.map((_, i) => (spotIsX ? rows[line][i] : rows[i][line]));
    if (input("exercise", line) !== "american") return null;
    return edge(spots, along(price), along(error), input("strike", line), input("right", line));
  });
}
