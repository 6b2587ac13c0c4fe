// Pictures: the colours and type of the page, on Plotly.

import { exact, spoken } from "./dom.js";

const SEQUENTIAL = [
  [0, "#440154"], [0.13, "#472f7d"], [0.25, "#3b528b"], [0.38, "#2c728e"], [0.5, "#21918c"],
  [0.63, "#28ae80"], [0.75, "#5ec962"], [0.88, "#addc30"], [1, "#fde725"],
];
const UNITS = {
  expiry: "years", vol: "per √year", rate: "per year", dividend_yield: "per year",
  vega: "per 1.00 of vol", theta: "per year", rho: "per 1.00 of rate",
  dividend_rho: "per 1.00 of yield", horizon: "years", asset_vol: "per √year", drift: "per year",
};
// Beyond this ratio a linear axis puts what is small in one place.
const WIDE = 100;
const FEW_DOTS = 80;

let library;

/** Load Plotly, once. */
export function plotly() {
  library ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "assets/plotly.min.js";
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => {
      library = undefined;
      reject(new Error("the plotting library is missing: pip install plotly"));
    };
    document.head.append(script);
  });
  return library;
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    text: of("text"), muted: of("muted"), line: of("line"), panel: of("panel"),
    low: of("low"), high: of("high"), font: of("font"),
    from: Number(of("shade-from")), to: Number(of("shade-to")),
    series: [1, 2, 3, 4, 5, 6, 7, 8].map((i) => of(`series-${i}`)),
  };
}

// Plotly reads tags and entities in all that it writes.
const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

export const label = (name) =>
  UNITS[name] ? `${spoken(name)} (${UNITS[name]})` : spoken(name);

/** Whether the order of a measure's size says more than the size: as of errors. */
const isOrder = (name) =>
  ["error", "default_probability"].includes(name) || name.endsWith("standard_error");

/** How large or small numbers are written on an axis. */
const exponentOf = (name) => (isOrder(name) || name === "asset_value" ? "e" : "none");

function typeOf(name, values) {
  if (name === "date") return "date";
  return values && typeof values[0] === "string" ? "category" : "linear";
}

/** The layout that every picture starts from. */
function layoutOf(colour, x, y, rest = {}) {
  const axis = (name, values) => ({
    title: { text: escaped(label(name)), standoff: 8 },
    type: typeOf(name, values),
    gridcolor: colour.line, linecolor: colour.line, tickcolor: colour.line, ticks: "outside",
    zeroline: false, automargin: true, exponentformat: exponentOf(name),
  });
  return {
    paper_bgcolor: colour.panel, plot_bgcolor: colour.panel,
    font: { family: colour.font, size: 12, color: colour.text },
    margin: { l: 56, r: 16, t: 14, b: 46 },
    hoverlabel: {
      bgcolor: colour.panel, bordercolor: colour.muted, align: "left",
      font: { family: colour.font, size: 12, color: colour.text },
    },
    hovermode: "closest", showlegend: false,
    // A finger scrolls the page; a mouse may zoom.
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    xaxis: axis(x.name, x.values), yaxis: axis(y.name, y.values),
    ...rest,
  };
}

/** Draw into `element`; nothing is animated, and a zoom stays while `uirevision` does. */
async function draw(element, traces, layout) {
  const Plotly = await plotly();
  await Plotly.react(element, traces, layout, { displayModeBar: false, responsive: true });
}

/** The colour scale of values: diverging around 0 where they have both signs, or may have. */
function scaleOf(colour, low, high, signed) {
  if (signed || (low < 0 && high > 0)) {
    const most = Math.max(-low, high);
    return {
      colorscale: [[0, colour.low], [0.5, colour.panel], [1, colour.high]],
      zmin: -most, zmax: most,
    };
  }
  return { colorscale: SEQUENTIAL, zmin: low, zmax: high };
}

export function rangeOf(rows) {
  let [low, high] = [Infinity, -Infinity];
  for (const row of rows) {
    for (const value of row) {
      if (value === null || value === undefined) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return low <= high ? [low, high] : [0, 0];
}

/** Whether a measure spans so many orders that only its logarithm shows them. */
const isLogarithmic = (name, low, high) =>
  isOrder(name) && low > 0 && high / low > WIDE;

/**
 * Draw a heat map.
 *
 * `picture` has `x` and `y` (`{name, values}`), `z` (rows), `name` of what it shows, `texts` of
 * each cell for the pointer, `range` of the colours, `signed` where 0 is their middle, and `line`,
 * points `{x, y}` of a boundary.
 */
export async function heatMap(element, picture) {
  const colour = colours();
  const { x, y, z } = picture;
  const [low, high] = picture.range ?? rangeOf(z);
  const log = isLogarithmic(picture.name, low, high);
  const shown = log ? z.map((row) => row.map((v) => (v > 0 ? Math.log10(v) : null))) : z;
  const scale = log ? scaleOf(colour, 0, 1) : scaleOf(colour, low, high, picture.signed);
  if (log) [scale.zmin, scale.zmax] = [Math.log10(low), Math.log10(high)];
  const powers = [];
  for (let p = Math.ceil(Math.log10(low)); log && p <= Math.log10(high); p += 1) powers.push(p);
  const traces = [{
    type: "heatmap", x: x.values, y: y.values, z: shown, text: picture.texts, ...scale,
    hovertemplate: "%{text}<extra></extra>", hoverongaps: true,
    colorbar: {
      // The empty line keeps the title off the highest number.
      title: { text: `${spoken(picture.name)}<br>&nbsp;`, side: "top" }, thickness: 12,
      outlinewidth: 0, tickcolor: colour.line, exponentformat: exponentOf(picture.name),
      ...(log ? { tickvals: powers, ticktext: powers.map((p) => `1e${p}`) } : {}),
    },
  }];
  if (picture.line?.length) {
    const path = {
      type: "scatter", mode: "lines", x: picture.line.map((p) => p.x),
      y: picture.line.map((p) => p.y), hoverinfo: "skip", connectgaps: false,
    };
    // Dark under light: it shows on every colour.
    traces.push({ ...path, line: { color: "#000000", width: 4 } });
    traces.push({ ...path, line: { color: "#ffffff", width: 2 } });
  }
  await draw(element, traces, layoutOf(colour, x, y, { uirevision: `${x.name} ${y.name}` }));
}

/** A colour of the sequential scale for the place, 0 to 1, of a line among others. */
function shade(colour, among) {
  // The end of the scale that the paper is like cannot be seen on it.
  const place = colour.from + among * (colour.to - colour.from);
  const at = SEQUENTIAL.findLastIndex(([stop]) => stop <= place);
  if (at === SEQUENTIAL.length - 1) return SEQUENTIAL[at][1];
  const [[from, a], [to, b]] = SEQUENTIAL.slice(at, at + 2);
  const part = (place - from) / (to - from);
  const mixed = [1, 3, 5].map((i) => {
    const [low, high] = [a, b].map((hex) => parseInt(hex.slice(i, i + 2), 16));
    return Math.round(low + part * (high - low));
  });
  return `rgb(${mixed})`;
}

/** The edge of the band around a curve: there along the top and back, for each piece without a gap. */
export function around({ x, y, band }) {
  const edge = { x: [], y: [] };
  let piece = [];
  const end = () => {
    const back = piece.toReversed();
    edge.x.push(...[...piece, ...back].map((i) => x[i]), null);
    edge.y.push(...piece.map((i) => y[i] + band[i]), ...back.map((i) => y[i] - band[i]), null);
    piece = [];
  };
  y.forEach((value, i) => {
    if (value !== null) piece.push(i);
    else if (piece.length) end();
  });
  if (piece.length) end();
  return edge;
}

/**
 * Draw curves.
 *
 * `lines` are `{name, x, y, texts, place, strong, band, edge}`: `place` from 0 to 1 is its
 * colour, `band` half its width at each point, `edge` a point to mark.
 */
export async function curves(element, { x, y, by, lines }) {
  const colour = colours();
  const [bands, traces] = [[], []];
  // Between two windows of days there is nothing.
  const hasDots = x.name === "date" && x.values.length <= FEW_DOTS;
  for (const line of lines) {
    const stroke = line.strong ? colour.text : shade(colour, line.place);
    if (line.band) {
      bands.push({
        type: "scatter", mode: "none", fill: "toself", fillcolor: colour.line, ...around(line),
        hoverinfo: "skip", showlegend: false,
      });
    }
    traces.push({
      type: "scatter", name: escaped(line.name), marker: { size: 5 },
      mode: line.x.length > 1 ? `lines${hasDots ? "+markers" : ""}` : "markers",
      x: line.x, y: line.y, text: line.texts, customdata: line.x.map(() => line.row),
      hovertemplate: "%{text}<extra></extra>",
      line: { color: stroke, width: line.strong ? 2.5 : 1.5 },
    });
    if (line.edge) {
      traces.push({
        type: "scatter", mode: "markers", x: [line.edge.x], y: [line.edge.y], hoverinfo: "skip",
        marker: { size: 8, color: colour.panel, line: { color: stroke, width: 2 } }, showlegend: false,
      });
    }
  }
  const layout = layoutOf(colour, x, { name: y }, {
    uirevision: `${x.name} ${y}`, ...(lines.length > 1 ? legendOf(by) : {}),
  });
  if (isLogarithmic(y, ...rangeOf(lines.map((line) => line.y)))) layout.yaxis.type = "log";
  // A band covers no curve.
  await draw(element, [...bands, ...traces], layout);
}

/** A legend above the picture, and room for it. */
const legendOf = (by) => ({
  showlegend: true, margin: { l: 56, r: 16, t: 34, b: 48 },
  legend: {
    orientation: "h", x: 0, y: 1.02, yanchor: "bottom", tracegroupgap: 0, title: { text: by ? `${escaped(spoken(by))} ` : "" },
  },
});

/**
 * Draw points.
 *
 * `groups` are `{name, x, y, texts, rows, colour, symbol, joined, above, below}`: those of a name
 * have a colour, and an entry of the legend for it; `symbol` is 1 for open diamonds, `joined` draws
 * a line through them, `above` and `below` are the lengths of whiskers.
 */
export async function points(element, { x, y, by, groups }) {
  const colour = colours();
  const strokeOf = (group) => colour.series[group.colour % colour.series.length];
  const traces = groups.map((group) => {
    const stroke = strokeOf(group);
    return {
      type: "scatter", mode: group.joined ? "lines+markers" : "markers", name: group.name,
      legendgroup: group.name, showlegend: false, x: group.x, y: group.y, text: group.texts,
      hovertemplate: "%{text}<extra></extra>", customdata: group.rows,
      line: { color: stroke, width: 1.5, dash: group.symbol ? "dot" : "solid" },
      marker: { color: stroke, size: 7, symbol: group.symbol ? "diamond-open" : "circle" },
      error_y: group.above && {
        type: "data", symmetric: false, array: group.above, arrayminus: group.below,
        color: stroke, thickness: 1, width: 3,
      },
    };
  });
  if (by) {
    // An entry says a colour, whatever the symbols that have it.
    const named = new Map(groups.map((group) => [group.name, strokeOf(group)]));
    traces.push(...[...named].map(([name, stroke]) => ({
      type: "scatter", mode: "markers", name: escaped(name), legendgroup: name, x: [null], y: [null],
      marker: { color: stroke, size: 9, symbol: "square" }, customdata: [],
    })));
  }
  const layout = layoutOf(colour, x, y, {
    uirevision: `${x.name} ${y.name}`, ...(by ? legendOf(by) : {}),
  });
  const [low, high] = rangeOf(groups.map((group) => group.x));
  // As the strikes of a book of several underlyings.
  if (low > 0 && high > WIDE * low) {
    const isNarrow = element.clientWidth < 500;
    Object.assign(layout.xaxis, { type: "log", dtick: isNarrow ? 1 : "D2" });
  }
  await draw(element, traces, layout);
}

/** Dashed lines where a run was submitted again; `again` are their places and what they say. */
const linesOf = (colour, again) => ({
  shapes: again.map(([x]) => ({
    type: "line", yref: "paper", x0: x, x1: x, y0: 0, y1: 1,
    line: { color: colour.text, width: 1, dash: "dash" },
  })),
});

/**
 * Draw a bar for each chunk of a timeline, from its queueing until it is done.
 *
 * `at` says where a time is, `again` where a later submit begins and what to say there.
 */
export async function bars(element, line, at, again) {
  const colour = colours();
  const { chunks } = line;
  const place = chunks.map((_, i) => i + 1);
  const texts = chunks.map((c) => said([
    ["chunk", c.chunk], ["cells", c.cells], ["worker", c.worker], ["attempt", c.attempt],
    ["queued s", c.queued], ["started s", c.started], ["init s", c.init_s],
    ["kernel s", c.kernel_s], ["write s", c.write_s], ["freed s", c.freed], ["done s", c.done],
    ...(c.cold ? [["cold start", "yes"]] : []), ...(c.straggler ? [["straggler", "yes"]] : []),
  ]));
  const part = (name, fill, from, to) => ({
    type: "bar", orientation: "h", name, y: place, base: chunks.map((c) => at(from(c))), text: texts,
    textposition: "none",
    x: chunks.map((c) => Math.max(0, to(c) - from(c))), marker: { color: fill },
    hovertemplate: "%{text}<extra></extra>",
  });
  const marks = (name, symbol, some) => ({
    type: "scatter", mode: "markers", name, hoverinfo: "skip",
    x: chunks.filter(some).map((c) => at(c.started)), y: place.filter((_, i) => some(chunks[i])),
    marker: { symbol, size: 8, color: colour.text, line: { color: colour.panel, width: 1 } },
  });
  const traces = [
    part("queued", colour.line, (c) => c.queued, (c) => c.started - c.init_s),
    part("init", colour.series[4], (c) => c.started - c.init_s, (c) => c.started),
    part("kernel", colour.series[0], (c) => c.started, (c) => c.started + c.kernel_s),
    part("write", colour.series[1], (c) => c.started + c.kernel_s, (c) => c.done),
    marks("cold start", "triangle-right", (c) => c.cold),
    marks("straggler", "x", (c) => c.straggler),
  ].filter((trace) => trace.y.length);
  const axes = [{ name: "seconds" }, { name: "chunks, in the order of their starts" }];
  const layout = layoutOf(colour, ...axes, {
    barmode: "overlay", bargap: chunks.length > 100 ? 0 : 0.2, uirevision: "chunks", ...legendOf(""),
    ...linesOf(colour, again),
  });
  const end = 1.02 * at(line.seconds);
  layout.annotations = again.map(([x, text]) => {
    const side = x < end / 3 ? "left" : "right";
    return { x, text, xanchor: side, align: side, yref: "paper", y: 0, yanchor: "bottom", showarrow: false };
  });
  layout.xaxis.range = [0, end];
  layout.yaxis.range = [chunks.length + 0.5, 0.5];
  await draw(element, traces, layout);
}

/** Draw how many workers are at work at each time of a timeline. */
export async function steps(element, line, at, again) {
  const colour = colours();
  const found = line.concurrency;
  const trace = {
    type: "scatter", mode: "lines", x: found.map((s) => at(s.at)), y: found.map((s) => s.workers),
    customdata: found.map((s) => s.at),
    // Without a line: the moments between two chunks would be all that one sees.
    line: { shape: "hv", color: colour.series[0], width: 0 }, fill: "tozeroy",
    fillcolor: colour.series[0],
    hovertemplate: "%{customdata:.3f} s: %{y} at work<extra></extra>",
  };
  const axes = [{ name: "seconds" }, { name: "workers at work" }];
  const layout = layoutOf(colour, ...axes, {
    uirevision: "concurrency", ...linesOf(colour, again),
  });
  layout.xaxis.range = [0, 1.02 * at(line.seconds)];
  layout.yaxis.rangemode = "tozero";
  // There are no halves of a worker.
  if (found.every((s) => s.workers <= 5)) layout.yaxis.dtick = 1;
  await draw(element, [trace], layout);
}

/** Have `heard` told, instead of who was before, what a pointer is over or a finger taps. */
export function onPoint(element, heard) {
  // A tap shows a point's label without the event of a hover.
  for (const event of ["plotly_hover", "plotly_click"]) {
    element.removeAllListeners(event);
    element.on(event, heard);
  }
}

/** Put the pointer's label on a value of a picture. */
export async function point(element, x, y) {
  const Plotly = await plotly();
  Plotly.Fx.hover(element, { xval: x, yval: y }, "xy");
}

/** Put the pointer's label on a point of the curve that is called `row`. */
export async function pointOnLine(element, row, at) {
  const Plotly = await plotly();
  const curve = element.data.findIndex((trace) => trace.customdata?.[0] === row);
  if (curve >= 0) Plotly.Fx.hover(element, [{ curveNumber: curve, pointNumber: at }]);
}

/** Put the pointer's label on the point of a row, if it has one. */
export async function pointAtRow(element, row) {
  const Plotly = await plotly();
  const curve = element.data.findIndex((trace) => trace.customdata.includes(row));
  if (curve < 0) return;
  const at = element.data[curve].customdata.indexOf(row);
  Plotly.Fx.hover(element, [{ curveNumber: curve, pointNumber: at }]);
}

/** Save what `element` shows as a PNG. */
export async function save(element, filename) {
  const Plotly = await plotly();
  await Plotly.downloadImage(element, {
    format: "png", filename, scale: 2, width: element.clientWidth, height: element.clientHeight,
  });
}

/** What the pointer's label says: names and all digits of their values, a pair a line. */
export const said = (pairs) =>
  pairs.map(([name, value]) => escaped(`${spoken(name)}  ${exact(value)}`)).join("<br>");

/** The same read aloud. */
export const aloud = (label) =>
  label.replaceAll("<br>", ", ").replaceAll("&lt;", "<").replaceAll("&amp;", "&");
