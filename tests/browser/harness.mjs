// Real databases in folders of their own, each served by a real process, and a real browser. Nothing here waits by the
// clock: processes say when they are ready, pages are asked until they show it.

import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const here = dirname(fileURLToPath(import.meta.url));
export const root = join(here, '..', '..');
const BIN = process.env.DRIFTLESS_BIN ?? join(root, 'target', 'debug', 'driftless');
const BROWSERS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const BROWSER = process.env.DRIFTLESS_CHROMIUM ?? BROWSERS.find(existsSync);
// Longer than anything takes on a busy machine.
export const PATIENCE = 60_000;

/** A browser; it ends with the test. */
export async function browser(test, ...args) {
  if (!BROWSER) throw new Error('no chromium here: name one in DRIFTLESS_CHROMIUM');
  // Chromium has no sandbox for root, who runs tests in containers.
  if (process.getuid?.() === 0) args.push('--no-sandbox');
  const opened = await chromium.launch({ executablePath: BROWSER, args });
  test.after(() => opened.close());
  return opened;
}

/** A page that fails the test for anything that goes wrong in it, and that never leaves its server. */
export async function open(test, from, address, options = {}) {
  const context = await from.newContext({ viewport: { width: 1200, height: 800 }, ...options });
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  const wrong = [];
  page.on('pageerror', (error) => wrong.push(error.message));
  page.on('dialog', (dialog) => { wrong.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on('request', (request) => { if (address && new URL(request.url()).origin !== new URL(address).origin) wrong.push(`left for ${request.url()}`); });
  page.on('console', (message) => { if (message.type() === 'error' && /Security Policy|Trusted/.test(message.text())) wrong.push(message.text()); });
  test.after(() => context.close());
  await page.addInitScript(measure);
  if (address) await page.goto(address);
  return Object.assign(page, { wrong });
}

// Runs in the page: adds up how far things jump that nobody moved.
function measure() {
  globalThis.jumped = 0;
  new PerformanceObserver((list) => {
    for (const shift of list.getEntries()) if (!shift.hadRecentInput) globalThis.jumped += shift.value;
  }).observe({ type: 'layout-shift', buffered: true });
}

/** How far things jumped on a page; below 0.1 nobody is bothered. */
export const jumped = (page) => page.evaluate(() => globalThis.jumped);

/** A database in a folder of its own. */
export class Home {
  #served = null;

  constructor(test, name) {
    this.name = name;
    this.dir = mkdtempSync(join(tmpdir(), `driftless-${name}-`));
    test.after(async () => {
      await this.stop();
      rmSync(this.dir, { recursive: true, force: true });
    });
  }

  /** One command; its lines of JSON. */
  run(...args) {
    return new Promise((resolve, reject) => execFile(BIN, ['--dir', this.dir, '--json', ...args], { maxBuffer: 1 << 27 }, (error, out, err) => {
      if (error) reject(new Error(`${args.join(' ')}: ${err}`));
      else resolve(out.trim() ? out.trim().split('\n').map((line) => JSON.parse(line)) : []);
    }));
  }

  async one(...args) {
    return (await this.run(...args))[0];
  }

  async init() {
    const made = await this.one('init', '--name', this.name);
    Object.assign(this, { author: made.author, peer: made.peer });
    return this;
  }

  /** Serves it to peers and pages; `this.ui` is the address with the token. */
  async serve(...args) {
    for (const place of ['--http', '--ui']) if (!args.includes(place)) args.push(place, '127.0.0.1:0');
    const child = spawn(BIN, ['--dir', this.dir, '--json', 'serve', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    this.#served = { child, ended };
    let said = '';
    child.stderr.on('data', (part) => { said += part; });
    const first = await Promise.race([
      new Promise((resolve) => createInterface(child.stdout).once('line', resolve)),
      ended.then(() => { throw new Error(`serve ended: ${said}`); }),
    ]);
    const line = JSON.parse(first);
    const ui = new URL(line.ui);
    return Object.assign(this, { line, addresses: line.addresses, ui: line.ui, at: ui.origin, token: ui.hash.slice('#token='.length) });
  }

  async stop() {
    const served = this.#served;
    this.#served = null;
    if (!served) return;
    served.child.kill('SIGTERM');
    await served.ended;
  }

  /** An operation over HTTP, as a program would ask for it. */
  async ask(op, args = {}, headers = {}) {
    const answer = await fetch(`${this.at}/api/1/${op}`, {
      method: 'POST', body: JSON.stringify(args), headers: { 'content-type': 'application/json', authorization: `Bearer ${this.token}`, ...headers },
    });
    const told = await answer.json();
    if (!answer.ok) throw Object.assign(new Error(told.error.message), told.error);
    return told;
  }
}

/** Two databases that share the space `notes`, not served yet. The desk admits the phone, which may write. */
export async function two(test) {
  const [desk, phone] = await Promise.all([new Home(test, 'desk').init(), new Home(test, 'phone').init()]);
  await desk.run('space', 'create', 'notes');
  return { desk, phone };
}

/** Lets the phone into the space of the desk, which is served. */
export async function letIn(desk, phone, permission = 'write') {
  const { ticket } = await desk.one('ticket', 'notes', '--permission', permission);
  return phone.one('join', ticket);
}

/** Asks until the answer is right. */
export async function until(ask, what = 'it did not happen') {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(what);
  }
}
