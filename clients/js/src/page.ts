// Where a page finds its database: in the address that `driftless serve --ui` prints.

const KEY = "driftless.token";

/**
 * The token behind the `#` of this page's address. It is kept for this tab, and removed from the address bar, so that
 * it gets into no history and no copied link.
 */
export function tokenOfPage(): string | undefined {
  if (typeof location === "undefined") return undefined;
  const shown = new URLSearchParams(location.hash.slice(1));
  const token = shown.get("token");
  if (token === null) return sessionStorage.getItem(KEY) ?? undefined;
  sessionStorage.setItem(KEY, token);
  shown.delete("token");
  const rest = shown.toString();
  history.replaceState(history.state, "", location.pathname + location.search + (rest === "" ? "" : `#${rest}`));
  return token;
}
