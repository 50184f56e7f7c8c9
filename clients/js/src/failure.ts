// Why something was not done.

/**
 * An operation that did not do its work. `code` is a stable word: those of the command line (`not_found`,
 * `not_permitted`, `invalid_filter`, ..), those of the front (`wrong_token`, `too_large`, ..), and of this client
 * `connection_lost` (a write may have been done or not), `closed` and `no_websocket`.
 */
export class DriftlessError extends Error {
  override readonly name = "DriftlessError";
  readonly code: string;
  /** What can be done now. */
  readonly hint: string;

  constructor(code: string, message: string, hint: string) {
    super(message);
    this.code = code;
    this.hint = hint;
  }

  /** Out of what the front says under `error`. */
  static from(error: unknown): DriftlessError {
    const { code, message, hint } = (error ?? {}) as Record<string, unknown>;
    return new DriftlessError(String(code ?? "failed"), String(message ?? "it failed"), String(hint ?? ""));
  }
}
