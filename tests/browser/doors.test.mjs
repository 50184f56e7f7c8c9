// Who is not let in, seen from a browser: other pages, other names, nobody's pages, and whoever has no token.

import assert from 'node:assert/strict';
import { createServer, request } from 'node:http';
import { test } from 'node:test';
import { Home, browser, open } from './harness.mjs';

/** A page of somebody else, on another port and so of another origin. */
async function foreign(test, body = 'somebody else') {
  const server = createServer((request, response) => response.writeHead(200, { 'content-type': 'text/html' }).end(body));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  test.after(() => { server.closeAllConnections(); server.close(); });
  return `http://127.0.0.1:${server.address().port}`;
}

async function served(test, ...args) {
  const desk = await new Home(test, 'desk').init();
  await desk.run('space', 'create', 'notes');
  return desk.serve(...args);
}

// Both ways in, tried by the page that this runs in.
function attempt([at, token]) {
  const post = fetch(`${at}/api/1/spaces`, {
    method: 'POST', body: '{}', headers: { 'content-type': 'application/json', ...(token ? { authorization: `Bearer ${token}` } : {}) },
  }).then(async (answer) => ({ status: answer.status, code: (await answer.json()).error?.code ?? 'ok' }), () => 'blocked');
  const socket = new Promise((resolve) => {
    const tried = new WebSocket(`${at.replace('http', 'ws')}/api/1/ws`, token ? ['driftless.1', `bearer.${token}`] : ['driftless.1']);
    tried.onopen = () => resolve('open');
    tried.onclose = () => resolve('blocked');
  });
  return Promise.all([post, socket]);
}

// What a page may send to anybody without being asked first.
const simple = (at) => fetch(`${at}/api/1/spaces`, { method: 'POST', mode: 'no-cors', body: '{}' }).then((answer) => answer.type, () => 'blocked');

/** What a browser sends for a page of that origin, and what comes back, which no browser shows to such a page. */
function told(home, origin) {
  return new Promise((resolve, reject) => {
    const headers = { origin, authorization: `Bearer ${home.token}`, 'content-type': 'application/json' };
    const asked = request(`${home.at}/api/1/spaces`, { method: 'POST', headers }, async (answer) => {
      let body = '';
      for await (const part of answer) body += part;
      resolve([answer.statusCode, JSON.parse(body).error?.code ?? 'ok']);
    });
    asked.on('error', reject).end('{}');
  });
}

test('a page of another origin is refused, even with the token, unless it was let in', async (t) => {
  const other = await foreign(t);
  const desk = await served(t);
  const chrome = await browser(t);
  const page = await open(t, chrome);
  await page.goto(other);
  assert.deepEqual(await page.evaluate(attempt, [desk.at, desk.token]), ['blocked', 'blocked']);
  // A form or an image of that page gets no further: these send no token, and nothing is told to them.
  assert.equal(await page.evaluate(simple, desk.at), 'blocked');
  assert.deepEqual(await told(desk, other), [403, 'wrong_origin']);

  const friendly = await served(t, '--ui-origin', other);
  assert.deepEqual(await page.evaluate(attempt, [friendly.at, friendly.token]), [{ status: 200, code: 'ok' }, 'open']);
  assert.deepEqual(await page.evaluate(attempt, [friendly.at, null]), [{ status: 401, code: 'wrong_token' }, 'blocked']);
});

test('a page of no origin is refused', async (t) => {
  const desk = await served(t);
  const page = await open(t, await browser(t));
  const inner = `<iframe sandbox="allow-scripts" srcdoc="<p>nobody</p>"></iframe>`;
  await page.goto(await foreign(t, inner));
  const frame = page.frames().find((one) => one !== page.mainFrame());
  assert.equal(await frame.evaluate(() => self.origin), 'null');
  assert.deepEqual(await frame.evaluate(attempt, [desk.at, desk.token]), ['blocked', 'blocked']);
  assert.equal(await frame.evaluate(simple, desk.at), 'blocked');
  assert.deepEqual(await told(desk, 'null'), [403, 'wrong_origin']);
});

test('a foreign name that leads here reaches nothing', async (t) => {
  const desk = await served(t);
  const { port } = new URL(desk.at);
  const known = await browser(t);
  const rebound = await browser(t, '--host-resolver-rules=MAP evil.example 127.0.0.1');
  const page = await (await rebound.newContext()).newPage();
  for (const path of ['/', '/assets/inspector.js', '/openapi.json']) {
    assert.equal((await page.goto(`http://evil.example:${port}${path}`)).status(), 421, path);
  }
  assert.deepEqual(await page.evaluate(attempt, [`http://evil.example:${port}`, desk.token]), [{ status: 421, code: 'wrong_host' }, 'blocked']);
  assert.equal((await (await open(t, known)).goto(`http://localhost:${port}/`)).status(), 200);
});

test('without the token even an own page gets nothing', async (t) => {
  const desk = await served(t);
  const page = await open(t, await browser(t), `${desk.at}/`);
  await page.getByRole('button', { name: 'Open' }).waitFor();
  const wrong = 'a'.repeat(52);
  for (const token of [null, wrong]) {
    assert.deepEqual(await page.evaluate(attempt, [desk.at, token]), [{ status: 401, code: 'wrong_token' }, 'blocked']);
  }
  assert.deepEqual(await page.evaluate(attempt, [desk.at, desk.token]), [{ status: 200, code: 'ok' }, 'open']);
});

test('the inspector is shown in no frame of another page', async (t) => {
  const desk = await served(t);
  const page = await open(t, await browser(t));
  await page.goto(await foreign(t, `<iframe src="${desk.at}/"></iframe>`));
  const frame = page.frames().find((one) => one !== page.mainFrame());
  await frame.waitForLoadState();
  assert.equal(await frame.locator('#main').count(), 0);
});
