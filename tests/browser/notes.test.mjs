// The notes page in two browsers, each with a database of its own.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { browser, letIn, open, root, two } from './harness.mjs';

const EDITS = 20;
// From the key press in one browser to the text in the other.
const SOON_MS = 200;

async function twoPages(t) {
  const pages = join(root, 'examples', 'notes-web');
  const { desk, phone } = await two(t);
  await desk.serve('--ui-pages', pages);
  await letIn(desk, phone);
  const again = ['--ui-pages', pages, '--ui-token-file', join(phone.dir, 'token')];
  await phone.serve(...again);
  const [left, right] = await Promise.all([browser(t), browser(t)]);
  const show = (from, home) => open(t, from, `${home.at}/pages/#token=${home.token}`);
  return { desk, phone, again, left: await show(left, desk), right: await show(right, phone) };
}

const notes = (page) => page.evaluate(() => [...document.querySelectorAll('article')].map((note) =>
  [note.querySelector('input').value, note.querySelector('textarea').value]));
const has = (page, count) => page.waitForFunction((n) => document.querySelectorAll('article').length === n, count);

test('an edit made in one browser is seen in the other within a blink', async (t) => {
  const { left, right } = await twoPages(t);
  await left.getByRole('button', { name: 'New note' }).click();
  await has(left, 1);
  await has(right, 1);
  const both = [left, right];
  const took = [];
  for (let edit = 0; edit < EDITS; edit += 1) {
    const [from, to] = edit % 2 ? both.toReversed() : both;
    const word = `edit number ${edit}`;
    // The two browsers run on one machine, so their clocks are one.
    const seen = to.evaluate((text) => new Promise((resolve) => {
      const look = () => (document.querySelector('textarea').value === text ? resolve(Date.now()) : setTimeout(look, 1));
      look();
    }), word);
    const began = await from.evaluate((text) => {
      const area = document.querySelector('textarea');
      area.value = text;
      area.dispatchEvent(new Event('input', { bubbles: true }));
      return Date.now();
    }, word);
    took.push(await seen - began);
  }
  took.sort((a, b) => a - b);
  const [median, worst] = [took[EDITS / 2], took.at(-1)];
  t.diagnostic(`from one browser to the other, ${EDITS} edits: median ${median} ms, worst ${worst} ms`);
  assert.ok(median <= SOON_MS, `median ${median} ms`);
  assert.ok(worst <= SOON_MS, `worst ${worst} ms`);
  assert.deepEqual([...left.wrong, ...right.wrong], []);
});

test('both edit at once, and end with the same notes', async (t) => {
  const { desk, phone, again, left, right } = await twoPages(t);
  await left.getByRole('button', { name: 'New note' }).click();
  await has(right, 1);
  // One writes the title while the other writes the text, key by key.
  await Promise.all([
    left.locator('input').pressSequentially('Shopping list'),
    right.locator('textarea').pressSequentially('milk, bread and salt'),
  ]);
  for (const page of [left, right]) {
    await page.waitForFunction(() => document.querySelector('input').value === 'Shopping list' && document.querySelector('textarea').value === 'milk, bread and salt');
  }
  // What somebody hostile writes stays text.
  await desk.ask('insert', { space: 'notes', collection: 'notes', document: { title: '<img src=x onerror=alert(1)>', text: '</textarea><script>alert(2)</script>' } });
  await has(right, 2);
  assert.equal(await right.evaluate(() => document.querySelectorAll('main img, main script').length), 0);
  // A note deleted here goes there.
  await right.locator('article', { has: right.locator('textarea') }).first().getByRole('button', { name: 'Delete' }).click();
  await has(left, 1);
  // While the phone's database is away the page says so, and goes on when it is back.
  const { host } = new URL(phone.at);
  await phone.stop();
  await right.waitForFunction(() => document.getElementById('state').textContent !== 'live');
  await desk.ask('insert', { space: 'notes', collection: 'notes', document: { title: 'meanwhile', text: '' } });
  await has(left, 2);
  await right.locator('textarea').first().fill('written without a connection');
  await phone.serve(...again, '--ui', host);
  await has(right, 2);
  await left.waitForFunction(() => [...document.querySelectorAll('textarea')].some((box) => box.value === 'written without a connection'));
  assert.deepEqual([...left.wrong, ...right.wrong], []);
  assert.equal((await notes(left)).length, 2);
});
