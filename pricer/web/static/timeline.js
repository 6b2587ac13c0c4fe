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

  const draw = () => Promise.all([bars(chunks, found), steps(going, found)]);

  return {
    update() { if (!found) load(); },
    further: load,
    redraw: () => found && draw(),
    leave() { left = true; },
  };
}

function told(line) {
  const counted = (n, noun) => `${count(n)} ${noun}${n === 1 ? "" : "s"}`;
  const parts = [
    `${counted(line.chunks.length, "chunk")} in ${seconds(line.seconds)} on`
      + ` ${counted(line.workers, "worker")}, ${line.at_once} at once at most`,
    `half of them took ${seconds(line.median_s)} or less`,
    line.cold_starts ? counted(line.cold_starts, "cold start") : "",
    line.stragglers
      ? `${counted(line.stragglers, "straggler")} (${line.straggler_rule})` : "no stragglers",
    line.not_done ? `${counted(line.not_done, "chunk")} not done` : "",
    line.without_times
      ? `${counted(line.without_times, "chunk")} of an earlier version without times` : "",
  ];
  return `${parts.filter(Boolean).join("; ")}.`;
}

export const seconds = (s) => (s < 1 ? `${Math.round(1000 * s)} ms` : `${Number(s.toPrecision(3))} s`);
