// What the page asks of the server. No other module knows a route.

/** An answer that is no success; `status` is HTTP's, 0 where no server answers. */
export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function get(url) {
  let response;
  try {
    response = await fetch(url, { headers: { accept: "application/json" } });
  } catch {
    throw new ApiError("the server does not answer; is `pricer serve` still running?", 0);
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new ApiError(body.error ?? response.statusText, response.status);
  return body;
}

const of = (run) => `api/runs/${encodeURIComponent(run)}`;

/** The address of the cells that `selection` means, `{axis: text}`; those not priced are null. */
export function cellsUrl(run, selection, options = {}) {
  const query = new URLSearchParams({ ...selection, partial: true });
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined) query.set(name, value);
  }
  return `${of(run)}/cells?${query}`;
}

export const runs = (limit) => get(`api/runs?limit=${limit}`);
export const status = (run) => get(of(run));
export const axes = (run) => get(`${of(run)}/axes`);
export const cells = (run, selection, options) => get(cellsUrl(run, selection, options));
export const timeline = (run) => get(`${of(run)}/timeline`);
