// The inspector, against two databases that sync.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { Home, browser, jumped, letIn, open, root, two, until } from './harness.mjs';

// What somebody hostile would write.
const HOSTILE = ['<img src=x onerror=alert(1)>', '"><script>alert(2)</script>', 'javascript:alert(3)', '</pre><svg/onload=alert(4)>', 'a\u202egnp.exe', '{{7*7}}'];

const row = (page, table, name) => page.locator(`table[aria-label="${table}"] tbody tr`, { hasText: name });
const cell = (line, name) => line.locator(`td[data-name="${name}"]`);
const text = async (page, selector) => (await page.locator(selector).innerText()).trim();

test('the inspector shows two databases syncing', async (t) => {
  const { desk, phone } = await two(t);
  await desk.run('insert', 'notes', 'shopping', '{"title":"Milk"}', '--id', 'milk');
  await desk.serve();
  await letIn(desk, phone);
  await phone.serve();
  const chrome = await browser(t);
  const page = await open(t, chrome, phone.ui);
  await row(page, 'Peers', 'connected').waitFor();
  assert.equal(await text(page, '#line'), 'connected');
  assert.equal(new URL(page.url()).hash, '#/overview', 'the token does not stay in the address bar');
  assert.equal(await page.evaluate(() => Object.keys(localStorage).length), 0);

  // A commit made at the desk arrives: the count on the page follows without anybody reloading it.
  const before = Number(await cell(row(page, 'Spaces', 'notes'), 'Documents').innerText());
  await desk.ask('insert', { space: 'notes', collection: 'shopping', document: { title: 'Bread' } });
  await page.waitForFunction((more) => document.querySelector('table[aria-label="Spaces"] td[data-name="Documents"]')?.innerText === String(more), before + 1);

  assert.ok(await jumped(page) < 0.1, `things jumped by ${await jumped(page)}`);

  // The log tells of it as it happens.
  await page.keyboard.press('5');
  await desk.ask('insert', { space: 'notes', collection: 'shopping', document: { title: 'Salt' } });
  await row(page, 'Sync log', /[1-9]\d* received/).first().waitFor();
  await phone.ask('insert', { space: 'notes', collection: 'shopping', document: { title: 'Tea' } });
  await row(page, 'Sync log', /[1-9]\d* sent/).first().waitFor();

  // The desk goes away, and comes back at the same place.
  const place = new URL(desk.addresses[0]).host;
  await desk.stop();
  await row(page, 'Sync log', 'went away').first().waitFor();
  await page.keyboard.press('1');
  await row(page, 'Peers', 'away').waitFor();
  await desk.serve('--http', place);
  await desk.ask('insert', { space: 'notes', collection: 'shopping', document: { title: 'Rice' } });
  // Whoever does not want to wait for the next attempt says so.
  await page.getByRole('button', { name: 'Sync now' }).click();
  await page.waitForFunction((all) => document.querySelector('table[aria-label="Spaces"] td[data-name="Documents"]')?.innerText === String(all), before + 4);
  assert.deepEqual(page.wrong, []);
});

test('the page finds back to a database that was started anew, and says when its token is not the right one', async (t) => {
  const desk = await new Home(t, 'desk').init();
  await desk.run('space', 'create', 'notes');
  const file = join(desk.dir, 'token');
  await desk.serve('--ui-token-file', file);
  const page = await open(t, await browser(t), desk.ui);
  await row(page, 'Spaces', 'notes').waitFor();
  const { host } = new URL(desk.at);
  await desk.stop();
  await page.waitForFunction(() => document.getElementById('line').dataset.state === 'away');
  await desk.serve('--ui', host, '--ui-token-file', file);
  await page.waitForFunction(() => document.getElementById('line').dataset.state === 'open');
  await desk.run('insert', 'notes', 'shopping', '{"title":"Milk"}');
  await page.waitForFunction(() => document.querySelector('td[data-name="Documents"]')?.innerText === '1');
  // Another token: it is asked for, and not tried for ever.
  await desk.stop();
  await desk.serve('--ui', host);
  await page.waitForFunction(() => document.getElementById('line').dataset.state === 'refused');
  await page.getByLabel('The address that it printed').fill(desk.ui);
  await page.getByRole('button', { name: 'Open' }).click();
  await row(page, 'Spaces', 'notes').waitFor();
  assert.deepEqual(page.wrong, []);
});

test('it explains why a peer lacks a document of a space it may not read', async (t) => {
  const { desk, phone } = await two(t);
  await desk.run('space', 'create', 'diary');
  await desk.run('insert', 'diary', 'pages', '{"title":"Dear diary"}', '--id', 'one');
  await desk.run('insert', 'notes', 'shopping', '{"title":"Milk"}', '--id', 'milk');
  await desk.serve();
  await letIn(desk, phone);
  await phone.serve();
  const page = await open(t, await browser(t), desk.ui);
  await page.keyboard.press('3');
  await page.getByLabel('Space').selectOption({ label: 'diary' });
  await page.getByLabel('Document', { exact: true }).fill('one');
  await page.getByLabel('Peer').fill(phone.peer);
  await page.getByRole('button', { name: 'Explain' }).click();
  const stop = page.locator('.chain li.stop');
  await stop.waitFor();
  const steps = await page.locator('.chain li').evaluateAll((list) => list.map((one) => ({
    step: one.querySelector('.step').firstChild.textContent, ok: one.dataset.ok === 'true', stop: one.classList.contains('stop') })));
  assert.deepEqual(steps.filter((one) => one.stop).length, 1);
  assert.equal(steps.find((one) => !one.ok).stop, true, 'the first that is not well is the one that is marked');
  assert.equal(steps.find((one) => one.step === 'document').ok, true);
  assert.equal(steps.find((one) => one.step === 'permission').ok, false, JSON.stringify(steps));
  assert.match(await stop.innerText(), /To do: .*join/);
  // The same for a document that the peer has.
  await page.goto(`${desk.at}/#/explain?${new URLSearchParams({ space: 'notes', collection: 'shopping', id: 'milk', peer: phone.peer })}`);
  await page.getByText('Nothing stands in the way.').waitFor();
  assert.equal(await page.locator('.chain li.stop').count(), 0);
  assert.deepEqual(page.wrong, []);
});

test('it explains that a commit is void, and the overview counts it', async (t) => {
  const { desk, phone } = await two(t);
  await desk.serve();
  await letIn(desk, phone);
  await desk.stop();
  await desk.run('revoke', 'notes', phone.author, '--yes');
  await phone.run('insert', 'notes', 'shopping', '{"title":"Late"}', '--id', 'late');
  const file = join(phone.dir, 'late.bundle');
  await phone.run('bundle', 'export', 'notes', file);
  await desk.run('bundle', 'import', file);
  await desk.serve();
  const page = await open(t, await browser(t), desk.ui);
  await page.getByText('Something needs a look').waitFor();
  assert.equal(await cell(row(page, 'Spaces', 'notes'), 'Void').innerText(), '1');
  await row(page, 'void', 'notes').waitFor();
  await page.goto(`${desk.at}/#/explain?space=notes&collection=shopping&id=late`);
  await page.locator('.chain li.stop').waitFor();
  assert.match(await page.locator('.chain li.stop').innerText(), /^.?\s*commit\s*here it stops[\s\S]*is void/);
  // Who was removed is named, and what decided it.
  await page.keyboard.press('4');
  await row(page, 'Members', 'nothing').waitFor();
  assert.deepEqual(page.wrong, []);
});

test('documents are queried, live, with their history and what differs', async (t) => {
  const desk = await new Home(t, 'desk').init();
  await desk.serve();
  const page = await open(t, await browser(t), desk.ui);
  // Where there is nothing, the page says what to do, and follows when it is done.
  await page.getByText('driftless space create notes').waitFor();
  await page.keyboard.press('2');
  await page.getByText('driftless space create notes').waitFor();
  await desk.run('space', 'create', 'notes');
  await page.reload();
  await page.getByText('No document is in this space yet.').waitFor();
  for (const n of [1, 2, 3]) await desk.run('insert', 'notes', 'shopping', JSON.stringify({ title: `Thing ${n}`, n }), '--id', `t${n}`);
  await page.locator('.found a', { hasText: 't3' }).waitFor();
  await desk.run('insert', 'notes', 'shopping', '{"title":"five"}', '--id', '5');
  await desk.run('insert', 'notes', 'shopping', '{"title":"text five"}', '--id', '"5"');
  const found = () => page.locator('.found .name').allInnerTexts();
  const shown = (count) => page.waitForFunction((n) => document.querySelectorAll('.found li').length === n, count);
  await page.keyboard.press('/');
  await page.waitForFunction(() => document.activeElement?.id === 'query');
  await shown(5);
  await page.keyboard.type('{n: {"$gte": 2}}');
  await page.getByLabel('Sort').fill('-n');
  await page.keyboard.press('Enter');
  await shown(2);
  assert.deepEqual(await found(), ['t3', 't2']);
  await page.getByText('live', { exact: true }).waitFor();
  // What comes to match appears by itself, in its place; what matches no more goes.
  await desk.ask('insert', { space: 'notes', collection: 'shopping', id: 't9', document: { n: 9, title: 'Nine' } });
  await shown(3);
  assert.deepEqual(await found(), ['t9', 't3', 't2']);
  await desk.ask('edit', { space: 'notes', collection: 'shopping', id: 't3', operators: { $set: { n: 0 } } });
  await shown(2);
  // One document: its history grows while it is looked at, and two of its commits are compared.
  await page.locator('.found a', { hasText: 't9' }).click();
  await page.locator('.document .json', { hasText: 'Nine' }).waitFor();
  await desk.ask('edit', { space: 'notes', collection: 'shopping', id: 't9', operators: { $set: { title: 'Neun' } } });
  await page.locator('.document .json', { hasText: 'Neun' }).waitFor();
  await page.waitForFunction(() => document.querySelectorAll('.history li').length === 2);
  // The newer end of the comparison stays where it was; it is moved by hand.
  await page.locator('.history input[name="to"]').first().check();
  await page.locator('.history input[name="from"]').last().check();
  await page.locator('.diff .json').waitFor();
  assert.deepEqual(JSON.parse(await page.locator('.diff .json').innerText()), { $set: { title: 'Neun' } });
  await page.locator('.history button.link').last().click();
  await page.getByText('As of').waitFor();
  await page.locator('.document .body .json', { hasText: 'Nine' }).waitFor();
  // An integer and its text are two documents.
  await page.goto(`${desk.at}/#/documents?space=notes&collection=shopping&id=5`);
  await page.locator('.document .json', { hasText: 'five' }).waitFor();
  assert.match(await page.locator('.document .json').innerText(), /"_id": 5,/);
  await page.goto(`${desk.at}/#/documents?space=notes&collection=shopping&id=%225%22`);
  await page.locator('.document .json', { hasText: 'text five' }).waitFor();
  // A wrong filter says what is wrong with it.
  await page.goto(`${desk.at}/#/documents?space=notes&collection=shopping&filter=%7Bn`);
  await page.getByRole('alert').getByText('invalid_json').waitFor();
  await page.goto(`${desk.at}/#/documents?space=notes&collection=shopping&filter=%7B%22%24nonsense%22%3A1%7D`);
  await page.getByRole('alert').filter({ hasText: 'nonsense' }).waitFor();
  assert.deepEqual(page.wrong, []);
});

test('a large collection is shown a page at a time, and looked at again when something changed', async (t) => {
  const desk = await new Home(t, 'desk').init();
  await desk.run('space', 'create', 'world');
  await desk.run('import', 'world', 'places', join(root, 'examples', 'data', 'subdivisions.jsonl'), '--key', 'code');
  const { count } = await desk.one('count', 'world', 'places');
  await desk.serve();
  const page = await open(t, await browser(t), desk.ui);
  await page.goto(`${desk.at}/#/documents?space=world&collection=places&sort=code`);
  await page.getByText('by signal').waitFor();
  const range = (text) => page.waitForFunction((wanted) => document.querySelector('.pager span').innerText.replace(/\u2009/g, '') === wanted, text);
  await range(`1 to 50 of ${count}`);
  assert.equal(await page.locator('.found li').count(), 50);
  await page.getByRole('link', { name: 'The next page' }).click();
  await range(`51 to 100 of ${count}`);
  await page.goBack();
  await range(`1 to 50 of ${count}`);
  await desk.ask('insert', { space: 'world', collection: 'places', id: 'first', document: { code: 'A', name: 'The first' } });
  await range(`1 to 50 of ${count + 1}`);
  await page.locator('.found li').first().getByText('The first').waitFor();
  assert.deepEqual(page.wrong, []);
});

test('what somebody hostile wrote stays text', async (t) => {
  const desk = await new Home(t, 'desk').init();
  await desk.run('space', 'create', HOSTILE[0]);
  const [{ space }] = await desk.run('space', 'list');
  await desk.serve();
  for (const bad of HOSTILE) {
    const document = { [bad.replaceAll('.', ' ')]: bad, list: [bad, { deep: bad }] };
    await desk.ask('insert', { space, collection: HOSTILE[1], id: bad, document });
  }
  const page = await open(t, await browser(t), desk.ui);
  const elements = () => page.evaluate(() => document.querySelectorAll('main script, main img, main svg, main iframe, main object, main embed').length);
  await row(page, 'Spaces', HOSTILE[0]).waitFor();
  assert.equal(await elements(), 0);
  for (const view of ['2', '3', '4', '5']) {
    await page.keyboard.press(view);
    await page.waitForFunction(() => document.querySelector('main h1'));
    assert.equal(await elements(), 0);
  }
  for (const bad of HOSTILE) {
    await page.goto(`${desk.at}/#/documents?${new URLSearchParams({ space, collection: HOSTILE[1], id: bad })}`);
    const seen = bad.replace('\u202e', '\\u{202e}');
    await page.waitForFunction((word) => document.querySelector('.document h2')?.innerText === word, seen);
    await page.locator('.document .json').waitFor();
    await page.locator('.history li').first().waitFor();
    assert.equal(await elements(), 0);
    assert.ok(!(await page.locator('main').innerText()).includes('\u202e'), 'nothing turns the reading direction');
    await page.goto(`${desk.at}/#/explain?${new URLSearchParams({ space, collection: HOSTILE[1], id: bad, peer: bad })}`);
    await page.locator('.trouble, .chain').first().waitFor();
    assert.equal(await elements(), 0);
  }
  // Even a script on the page has no way to write markup.
  const blocked = await page.evaluate(() => { try { document.createElement('p').innerHTML = '<b>'; return false; } catch { return true; } });
  assert.ok(blocked);
  page.wrong = page.wrong.filter((line) => !line.includes('Trusted'));
  assert.deepEqual(page.wrong, []);
});

test('everything is reached from the keyboard', async (t) => {
  const desk = await new Home(t, 'desk').init();
  await desk.run('space', 'create', 'notes');
  for (const n of [1, 2, 3]) await desk.run('insert', 'notes', 'shopping', `{"n":${n}}`, '--id', `t${n}`);
  await desk.serve();
  const page = await open(t, await browser(t), desk.ui);
  await row(page, 'Spaces', 'notes').waitFor();
  const focus = () => page.evaluate(() => document.activeElement?.innerText?.trim() || document.activeElement?.id);
  // The first stop leads past the head of the page, and can be seen.
  await page.keyboard.press('Tab');
  assert.equal(await focus(), 'Skip to the content');
  assert.ok(await page.evaluate(() => document.activeElement.getBoundingClientRect().top >= 0));
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
  // Each stop is visible, has a name and an outline.
  const seen = new Set();
  for (let stops = 0; stops < 40; stops += 1) {
    await page.keyboard.press('Tab');
    const at = await page.evaluate(() => {
      const one = document.activeElement;
      if (!one || one === document.body) return null;
      const style = getComputedStyle(one);
      return { name: one.getAttribute('aria-label') || one.innerText || one.title, outline: style.outlineStyle, width: one.getBoundingClientRect().width };
    });
    if (!at) break;
    assert.ok(at.name, 'a stop without a name');
    assert.notEqual(at.outline, 'none', `${at.name} shows no focus`);
    assert.ok(at.width > 0);
    seen.add(at.name);
  }
  assert.ok(seen.has('Sync now'));
  // Views by their numbers, the list by arrows, a document by Enter, back by Esc.
  await page.keyboard.press('2');
  await page.waitForFunction(() => document.querySelectorAll('.found li').length === 3);
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('End');
  assert.match(await focus(), /^t3/);
  await page.keyboard.press('Home');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await page.locator('.document h2', { hasText: 't2' }).waitFor();
  assert.equal(await focus(), 't2', 'who opens a document by hand reads it next');
  await page.keyboard.press('Escape');
  await page.waitForFunction(() => document.querySelector('.document').hidden);
  assert.match(await focus(), /^t2/, 'and comes back to where they were');
  await page.keyboard.press('/');
  assert.equal(await focus(), 'query');
  await page.keyboard.press('Escape');
  assert.notEqual(await focus(), 'query');
  await page.keyboard.press('?');
  assert.ok(await page.locator('#help').evaluate((dialog) => dialog.open));
  await page.keyboard.press('Escape');
  assert.ok(!(await page.locator('#help').evaluate((dialog) => dialog.open)));
  // What is pressed has a name for those who do not see it.
  for (const view of ['1', '2', '3', '4', '5']) {
    await page.keyboard.press(view);
    await page.waitForFunction(() => document.querySelector('main h1'));
    const bare = await page.evaluate(() => [...document.querySelectorAll('button, a[href], input, select')].filter((one) =>
      !(one.innerText?.trim() || one.getAttribute('aria-label') || one.labels?.length)).map((one) => one.outerHTML));
    assert.deepEqual(bare, []);
  }
  assert.deepEqual(page.wrong, []);
});

test('it fits a phone, in light and in dark', async (t) => {
  const desk = await new Home(t, 'desk').init();
  await desk.run('space', 'create', 'notes');
  await desk.run('insert', 'notes', 'shopping', JSON.stringify({ title: 'word'.repeat(300), deep: { a: { b: ['x'.repeat(200)] } } }), '--id', 'k'.repeat(120));
  await desk.serve();
  const chrome = await browser(t);
  for (const colorScheme of ['light', 'dark']) {
    const page = await open(t, chrome, desk.ui, { viewport: { width: 360, height: 740 }, colorScheme });
    for (const view of ['1', '2', '3', '4', '5']) {
      await page.keyboard.press(view);
      await page.waitForFunction(() => document.querySelector('main h1') && document.querySelector('main table, main .empty, main .found li'));
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `view ${view} is ${wide} px too wide`);
    }
    await page.goto(`${desk.at}/#/documents?${new URLSearchParams({ space: 'notes', collection: 'shopping', id: 'k'.repeat(120) })}`);
    await page.locator('.history li').waitFor();
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
    assert.ok(await jumped(page) < 0.1, `things jumped by ${await jumped(page)}`);
    // Text can be read on its ground: at least 4.5 to 1.
    assert.deepEqual(await page.evaluate(faint), []);
    // The choice of colours holds against that of the system, and over a reload.
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const system = await ground();
    const other = colorScheme === 'dark' ? 'light' : 'dark';
    await until(async () => {
      await page.locator('#theme').click();
      return (await page.locator('#theme').getAttribute('aria-label')).endsWith(other);
    });
    const chosen = await ground();
    assert.notEqual(chosen, system);
    await page.reload();
    assert.equal(await ground(), chosen);
    assert.deepEqual(page.wrong, []);
  }
});

// Runs in the page: texts whose contrast is too low.
function faint() {
  const parse = (color) => color.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const one of document.querySelectorAll('body *')) {
    const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || one.closest('[aria-disabled], :disabled, noscript, dialog:not([open]), option') || !one.getClientRects().length) continue;
    const [a, b] = [light(parse(getComputedStyle(one).color)), light(ground(one))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push(`${one.textContent.slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return found;
}
