// Takes the pictures of docs/guide: `just pictures`. pngquant makes them small where it is there.

import { execFileSync } from 'node:child_process';
import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Home, browser, letIn, open, root, until } from './harness.mjs';

// The guide loads quickly.
const MOST_BYTES = 150_000;
const folder = join(root, 'docs', 'guide', 'images');
const ends = [];
const test = { after: (end) => ends.unshift(end) };

async function take(page, name, options = {}) {
  // What fades has faded, and fonts are there.
  await page.evaluate(() => { scrollTo(0, 0); return document.fonts.ready; });
  await page.evaluate(() => Promise.allSettled(document.getAnimations().map((one) => one.finish())));
  const path = join(folder, `${name}.png`);
  await page.screenshot({ path, ...options });
  try {
    execFileSync('pngquant', ['--force', '--skip-if-larger', '--output', path, '--quality', '60-90', '--speed', '1', '--strip', path]);
  } catch (error) {
    if (error.code !== 'ENOENT' && error.status !== 98 && error.status !== 99) throw error;
  }
  const { size } = statSync(path);
  console.log(`${name}: ${size} bytes`);
  if (size > MOST_BYTES) throw new Error(`${path} is too large`);
}

async function pictures() {
  mkdirSync(folder, { recursive: true });
  const [desk, phone] = await Promise.all([new Home(test, 'ann').init(), new Home(test, 'ben').init()]);
  await desk.run('space', 'create', 'notes');
  await desk.run('space', 'create', 'diary');
  await desk.run('insert', 'diary', 'pages', '{"title":"A day at the lake"}', '--id', 'lake');
  const things = [['milk', 2], ['bread', 1], ['coffee', 1], ['lemons', 6], ['olive-oil', 1], ['rice', 3]];
  for (const [id, count] of things) await desk.run('insert', 'notes', 'shopping', JSON.stringify({ title: id.replace('-', ' '), count, done: false }), '--id', id);
  await desk.run('import', 'notes', 'countries', join(root, 'examples', 'data', 'countries.jsonl'), '--key', 'alpha_2');
  const pages = ['--ui-pages', join(root, 'examples', 'notes-web')];
  await desk.serve(...pages);
  await letIn(desk, phone);
  const chrome = await browser(test);
  const view = { viewport: { width: 1180, height: 720 }, deviceScaleFactor: 1.5 };
  const log = await open(test, chrome, `${desk.ui}`, view);
  await log.keyboard.press('5');
  await log.getByText('Nothing went over').or(log.locator('table[aria-label="Sync log"]')).first().waitFor();
  await phone.serve(...pages);
  const page = await open(test, chrome, desk.ui, view);
  await page.locator('table[aria-label="Peers"]').getByText('connected').waitFor();
  const at = (id) => ({ space: 'notes', collection: 'shopping', id });
  await phone.ask('edit', { ...at('milk'), operators: { $set: { count: 3 } } });
  await phone.ask('edit', { ...at('milk'), operators: { $set: { done: true } } });
  await phone.ask('edit', { ...at('lemons'), operators: { $inc: { count: 2 } } });
  await until(async () => (await desk.ask('get', at('lemons'))).count === 8);
  await desk.ask('edit', { ...at('milk'), operators: { $push: { shops: 'corner' } } });
  const over = await open(test, chrome, phone.ui, view);
  await over.waitForFunction(() => [...document.querySelectorAll('td[data-name="Lag"]')].map((cell) => cell.innerText).join() === '0,0');
  await take(over, 'overview');

  await log.locator('table[aria-label="Sync log"] tbody tr').nth(3).waitFor();
  await take(log, 'log');

  await page.goto(`${desk.at}/#/documents?${new URLSearchParams({ space: 'notes', collection: 'shopping', filter: '{count: {"$gte": 2}}', sort: '-_updated', id: 'milk' })}`);
  await page.locator('.history li').nth(3).waitFor();
  await page.locator('.history input[name="from"]').last().check();
  await page.locator('.diff .json').waitFor();
  await take(page, 'documents', { fullPage: true });

  await page.goto(`${desk.at}/#/explain?${new URLSearchParams({ space: 'diary', collection: 'pages', id: 'lake', peer: phone.peer })}`);
  await page.locator('.chain li.stop').waitFor();
  await take(page, 'explain', { fullPage: true });
  await page.goto(`${desk.at}/#/members?space=notes`);
  await page.locator('table[aria-label="Rules"]').waitFor();
  await take(page, 'members');

  // Three views of a phone beside each other, in the dark.
  const small = { viewport: { width: 360, height: 700 }, deviceScaleFactor: 1.5, colorScheme: 'dark' };
  const shots = [];
  for (const place of ['/overview', '/documents?space=notes&collection=shopping&id=milk', `/explain?${new URLSearchParams({ space: 'diary', collection: 'pages', id: 'lake', peer: phone.peer })}`]) {
    const one = await open(test, chrome, desk.ui, small);
    await one.locator('table').first().waitFor();
    await one.goto(`${desk.at}/#${place}`);
    await one.locator('main table, .history li, .chain li').first().waitFor();
    if (place.includes('explain')) await one.locator('.chain li.stop').scrollIntoViewIfNeeded();
    shots.push((await one.screenshot()).toString('base64'));
  }
  await beside(chrome, shots, 360, 700, 'phone');

  // The page with notes, in two browsers.
  for (const [title, text] of [['Shopping', 'milk, bread, coffee\nlemons for the cake'], ['Lake', 'Saturday, if it does not rain.\nBen brings the boat.']]) {
    await desk.ask('insert', { space: 'notes', collection: 'notes', document: { title, text } });
  }
  const both = [];
  for (const home of [desk, phone]) {
    const one = await open(test, chrome, home.line.pages, { viewport: { width: 640, height: 330 }, deviceScaleFactor: 1.5 });
    await one.locator('article').nth(1).waitFor();
    both.push((await one.screenshot()).toString('base64'));
  }
  await beside(chrome, both, 640, 330, 'notes');
}

/** Several pictures of one size beside each other. */
async function beside(chrome, shots, width, height, name) {
  const gap = 30;
  const sheet = await open(test, chrome, null, { viewport: { width: shots.length * (width + gap) - gap, height }, deviceScaleFactor: 1.5 });
  await sheet.setContent(`<body style="margin:0;display:flex;gap:${gap}px;background:#8884">${shots.map((shot) => `<img width="${width}" height="${height}" src="data:image/png;base64,${shot}">`).join('')}`);
  await take(sheet, name);
}

try {
  await pictures();
} finally {
  for (const end of ends) await end();
}
