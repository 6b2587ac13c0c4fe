// When the chunks of a run were priced, and how many at once.

import * as api from "./api.js";
import { count, h } from "./dom.js";
import { bars, steps } from "./plots.js";

/** Show the timeline of `run` in `root`. */
export function timeline(root, run) {
  const note = h("p", { class: "note", role: "status" });
  const picture = (id, name, kind) =>
    h("div", { class: kind, id, role: "img", "aria-label": name });
  const chunks = picture("chunks", "A bar for each chunk, from when it was queued", "plot");
  const going = picture("concurrency", "How many workers were at work at each time", "plot low");
  const pictures = h("div", { class: "stack" },
    h("div", { class: "frame" }, chunks), h("div", { class: "frame" }, going));
  root.replaceChildren(note, pictures);
  let found = null, left = false;

  async function load() {
    if (!run.status.chunks_done) {
      pictures.hidden = true;
      note.textContent = "No chunk is done yet. The timeline appears with the first one.";
      return;
    }
    try {
      found = await api.timeline(run.id);
      if (left) return;
      pictures.hidden = false;
      note.textContent = told(found);
      await draw();
    } catch (error) {
      if (left) return;
      pictures.hidden = !found;
      note.textContent = error.message;
    }
  }

  function draw() {
    const pauses = pausesOf(found.chunks), at = withoutPauses(pauses);
    const again = pauses.map(({ from, to }) => [at(from), `submitted again<br>${duration(to - from)} later`]);
    return Promise.all([bars(chunks, found, at, again), steps(going, found, at, again)]);
  }

  return {
    update() { if (!found) load(); },
    further: load,
    redraw: () => found && draw(),
    leave() { left = true; },
  };
}

function told(line) {
  const counted = (n, noun) => `${count(n)} ${noun}${n === 1 ? "" : "s"}`;
  const pauses = pausesOf(line.chunks), at = withoutPauses(pauses);
  const parts = [
    `${counted(line.chunks.length, "chunk")} in ${duration(at(line.seconds))} on`
      + ` ${counted(line.workers, "worker")}, ${line.at_once} at once at most`,
    `half of them took ${duration(line.median_s)} or less`,
    line.cold_starts ? counted(line.cold_starts, "cold start") : "",
    line.stragglers
      ? `${counted(line.stragglers, "straggler")} (${line.straggler_rule})` : "no stragglers",
    pauses.length ? `${counted(pauses.length, "pause")} cut out` : "",
    line.not_done ? `${counted(line.not_done, "chunk")} not done` : "",
    line.without_times
      ? `${counted(line.without_times, "chunk")} of an earlier version without times` : "",
  ];
  return `${parts.filter(Boolean).join("; ")}.`;
}

/** A length of time as a person says it, as the command line does. */
export function duration(s) {
  if (s < 0.0995) return `${Math.round(1000 * s)} ms`;
  if (s < 59.95) return `${s.toFixed(s < 9.95 ? 1 : 0)} s`;
  const whole = Math.round(s), minutes = Math.round(s / 60);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.round(s / 86400)} days`;
}

/** The times in which nobody priced, before the run was submitted again. */
function pausesOf(chunks) {
  const pauses = [];
  let until = Infinity;
  for (const { queued, done } of [...chunks].sort((a, b) => a.queued - b.queued)) {
    if (queued > until) pauses.push({ from: until, to: queued });
    until = until === Infinity ? done : Math.max(until, done);
  }
  return pauses;
}

/** Return what says where a time is drawn: pauses are cut out. */
const withoutPauses = (pauses) => (time) =>
  pauses.reduce((at, { from, to }) => at - Math.max(0, Math.min(time, to) - from), time);
