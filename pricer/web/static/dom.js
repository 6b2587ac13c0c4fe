// Elements and numbers, as the page writes them.

/** Make an element; `on…` properties are listeners, others attributes, null ones are left out. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

let fields = 0;

/** A control under its label, and beside that what `more` says. */
export function field(label, control, more) {
  fields += 1;
  control.id = `field-${fields}`;
  control.dataset.control = label;
  return h("div", { class: "field" },
    h("div", {}, h("label", { for: control.id }, label), more ? [" ", more] : ""), control);
}

/** A select in a field; `options` are values, or pairs of a value and its text. */
export function choice(label, options, value, onchange) {
  const pairs = options.map((option) => (Array.isArray(option) ? option : [option, spoken(option)]));
  const select = h(
    "select",
    { onchange: () => onchange(select.value) },
    pairs.map(([of, text]) => h("option", { value: of }, text)),
  );
  select.value = value;
  return field(label, select);
}

/** A name as people read it. */
export const spoken = (name) => String(name).replaceAll("_", " ");

/** All digits: reading it back gives the same float. */
export function exact(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return value;
  // Small ones with an exponent, as Python writes them.
  return value && Math.abs(value) < 1e-4
    ? value.toExponential().replace(/e-(\d)$/, "e-0$1") : String(value);
}

/** What the status of a cell is called; one that is not priced yet has none. */
export const statusOf = (status) => status ?? "not priced yet";

/** The digits that matter on a label. */
export function short(value) {
  return typeof value === "number" ? exact(Number(value.toPrecision(6))) : exact(value);
}

/** What the error, which is that of measure `of`, is called beside measure `m`. */
export const errorBeside = (m, of = "price") =>
  (m === of || m === "error" ? "error" : `error of ${spoken(of)}`);

/** What of a slice or a page is not priced yet, in a sentence; empty where all of it is. */
export const unpriced = (missing, all) =>
  (missing ? `${count(missing)} of ${count(all)} cells are not priced yet.` : "");

/** An error is known to two digits at best. */
export const rough = (value) =>
  typeof value === "number" ? exact(Number(value.toPrecision(2))) : exact(value);

/** The first characters of a run's id, which name it as well. */
export const brief = (id) => id.slice(0, 12);

/** Names and their texts, a list of terms; a third part says how the name is called. */
export const terms = (triples, kind = null) =>
  h("dl", { class: kind }, triples.map(([name, text, called = name]) =>
    h("div", { "data-name": name }, h("dt", {}, spoken(called)), h("dd", {}, text))));

export const count = (value) => value.toLocaleString("en");

/** The time of a submit, to the minute. */
export const minute = (iso) => `${iso.slice(0, 16).replace("T", " ")} UTC`;

/** Hand `text` to the browser as a file. */
export function download(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
