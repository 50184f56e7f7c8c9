/**
 * The token behind the `#` of this page's address. It is kept for this tab, and removed from the address bar, so that
 * it gets into no history and no copied link.
 */
export declare function tokenOfPage(): string | undefined;
